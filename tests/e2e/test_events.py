"""The events page in a real browser: its rows are the log's, a search finds, one event is followed to its end."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from headrace.channels import REQUESTS, RESULTS
from headrace.codec import decode
from headrace.events import RunAlive
from headrace.testing import wait_until
from tests.e2e.acting import PATIENCE_S, live
from tests.e2e.conftest import Opens
from tests.unit.frames import StoryPage
from tests.unit.logs import LogBus, asked, fake_bus, gave_up, happen, labelled, scored

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(90)]

FIRST = 20


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def served() -> AsyncIterator[StoryPage]:
    """A dashboard over logs with twenty requests in them."""
    bus = LogBus(fake_bus(), past_s=10)
    for number in range(FIRST):
        await happen(bus, number)
    async with StoryPage(bus) as page:
        yield page


async def places(page: Page) -> list[str]:
    found: list[str] = await page.evaluate(
        "[...document.querySelectorAll('#rows-tail tr')].map((row) => row.dataset.value)"
    )
    return found


async def in_log(served: StoryPage, channel: str) -> list[str]:
    """Handles of all entries, newest first."""
    return [f"0-{entry.position}" for entry in await served.bus.read(channel, count=2000)][::-1]


async def test_the_rows_are_the_newest_entries_of_the_log(served: StoryPage, opened: Opens) -> None:
    page = await opened(f"{served.url}events")
    await live(page)
    await expect(page.locator("#rows-tail tr")).to_have_count(FIRST)
    assert await places(page) == await in_log(served, REQUESTS)
    await expect(page.locator("#tail-shown")).to_contain_text(f"shown {FIRST} of {FIRST} appended")
    for number in range(FIRST, FIRST + 5):
        await happen(served.bus, number)
    await expect(page.locator("#rows-tail tr")).to_have_count(FIRST + 5)
    assert await places(page) == await in_log(served, REQUESTS)
    first = page.locator("#rows-tail tr").first
    await expect(first).to_contain_text(f"q-{FIRST + 4}")
    await expect(first).to_contain_text("model=digits inputs=1×64 <f8")


async def test_of_a_flood_it_shows_a_part_and_says_so(served: StoryPage, opened: Opens) -> None:
    page = await opened(f"{served.url}events?channel=floods")
    await live(page)
    for _ in range(3):
        await served.bus.publish("floods", [RunAlive(run=f"r{n}") for n in range(300)])
        known = len(await places(page))

        async def grown(known: int = known) -> bool:
            return len(await places(page)) > known

        await wait_until(grown, PATIENCE_S)
    shown = len(await places(page))
    assert shown <= 200
    text = await page.locator("#tail-shown").text_content() or ""
    told = re.match(r"shown (\d+) of ([\d,]+) appended", text)
    assert told, text
    positions = [int(place.rpartition("-")[2]) for place in await places(page)]
    assert int(told[1]) == shown
    assert int(told[2].replace(",", "")) == max(positions) - min(positions) + 1
    skipped = await page.evaluate(
        "[...document.querySelectorAll('#rows-tail td:last-child')].map((cell) => cell.textContent)"
    )
    gaps = [positions[i] - positions[i + 1] - 1 for i in range(len(positions) - 1)]
    assert [int(text.strip("+") or 0) for text in skipped[:-1]] == gaps


async def test_filters_hold_and_are_in_the_address(served: StoryPage, opened: Opens) -> None:
    page = await opened(f"{served.url}events?channel=results")
    await live(page)
    await expect(page.locator("#rows-tail tr").first).to_be_attached()
    await page.fill("#tail-field", "positions")
    everything = len(await in_log(served, RESULTS))
    await expect(page.locator("#rows-tail tr")).to_have_count(everything)
    newest = (await in_log(served, RESULTS))[0]
    await page.fill("#tail-field", newest)
    await expect(page.locator("#rows-tail tr")).to_have_count(1)
    await expect(page.locator("#tail-shown")).to_contain_text("1 of them match")
    await expect(page).to_have_url(re.compile(f"text={newest}"))
    await page.fill("#tail-field", "")
    await expect(page.locator("#rows-tail tr")).to_have_count(everything)
    await page.click("#tail-hold")
    held = await places(page)
    await happen(served.bus, 101)
    await expect(page.locator("#tail-shown")).to_contain_text("held: 1 newer")
    assert await places(page) == held
    await page.click("#tail-hold")
    await page.mouse.move(5, 5)
    await expect(page.locator("#rows-tail tr")).to_have_count(everything + 1)


async def test_a_row_opens_the_whole_event(served: StoryPage, opened: Opens) -> None:
    page = await opened(f"{served.url}events")
    await live(page)
    await page.locator("#rows-tail .open").first.click()
    drawer = page.locator("dialog.drawer")
    await expect(drawer.locator("pre")).to_contain_text('"shape": [1, 64]')
    [newest] = await served.bus.read(REQUESTS, newest_first=True, count=1)
    shown = json.loads(await drawer.locator("pre").text_content() or "")
    event: Any = decode(newest.payload)
    assert (shown["id"], shown["model"], shown["inputs"]["bytes"]) == (event.id, "digits", 512)
    await expect(drawer.locator("canvas")).to_be_visible()
    assert await page.evaluate("document.querySelector('dialog.drawer canvas').width") == 8
    await page.keyboard.press("Escape")
    await expect(drawer).to_be_hidden()


async def test_what_events_say_is_text_and_nothing_else(served: StoryPage, opened: Opens) -> None:
    evil = "<img src=x onerror=window.hacked=1>"
    await served.bus.publish("evil", [RunAlive(id=evil, source=evil, run=evil)])
    page = await opened(f"{served.url}events?channel=evil")
    await live(page)
    await expect(page.locator("#rows-tail tr")).to_contain_text(evil)
    await page.locator("#rows-tail .open").click()
    await expect(page.locator("dialog.drawer pre")).to_contain_text(evil)
    assert await page.evaluate("document.querySelectorAll('main img, dialog img').length + (window.hacked || 0)") == 0


async def test_a_search_finds_what_is_and_what_names_it_and_follows_it(served: StoryPage, opened: Opens) -> None:
    page = await opened(f"{served.url}events")
    await live(page)
    await page.fill("#search-field", "q-15")
    await page.press("#search-field", "Enter")
    await expect(page.locator("#search-hits li")).to_have_count(2)
    await expect(page.locator("#search-said")).to_contain_text("2 found; looked at")
    await expect(page.locator("#search-said")).to_contain_text("all there are")
    await expect(page.locator("#journey-head b")).to_have_text("scored")
    await expect(page.locator("#journey-head")).to_contain_text("5, in truth 5 · digits@3")
    names = await page.locator("#journey li b").all_text_contents()
    assert names == ["created", "appended", "received", "scored", "committed", "pushed", "labelled", "joined"]
    await expect(page).to_have_url(re.compile("trace=0-"))
    await page.fill("#search-field", "nobody")
    await page.click("#search-go")
    await expect(page.locator("#search-said")).to_contain_text("nothing found")


async def test_one_event_is_followed_from_waiting_to_painted(served: StoryPage, opened: Opens) -> None:
    handle = await asked(served.bus, 777)
    page = await opened(f"{served.url}events?channel=results&trace={handle}")
    await live(page)
    await expect(page.locator("#journey-head b")).to_have_text("waiting")
    assert await page.locator("#journey li b").all_text_contents() == ["created", "appended"]
    await expect(page.locator("#rows-tail tr").first).to_be_attached()
    await scored(served.bus, 777, handle)
    await labelled(served.bus, 777, handle)
    await expect(page.locator("#journey-head b")).to_have_text("scored")
    await expect(page.locator("#journey li", has_text="painted")).to_be_attached()
    steps = "headrace.journey.steps({stamps: [{name: 'a', at: 1}, {name: 'b', at: 3}]}, new Map())"
    spans = await page.evaluate(f"{steps}.map((one) => one.span)")
    assert spans == [None, 2]
    await expect(page.locator("#journey-clocks")).to_contain_text("known to ±")


async def test_a_dead_one_and_one_that_is_gone_say_so(served: StoryPage, opened: Opens) -> None:
    handle = await asked(served.bus, 888)
    await gave_up(served.bus, 888, handle, "row 0 holds nan")
    page = await opened(f"{served.url}events?trace={handle}")
    await live(page)
    await expect(page.locator("#journey-head b")).to_have_text("dead letter")
    await expect(page.locator("#journey-head")).to_contain_text(
        "row 0 holds nan · given up by scorers after 4 attempts"
    )


async def test_a_narrow_window_has_no_horizontal_scroll(served: StoryPage, opened: Opens) -> None:
    handle = (await in_log(served, REQUESTS))[0]
    page = await opened(f"{served.url}events?trace={handle}", width=320, height=2400, theme="light")
    await live(page)
    await expect(page.locator("#journey li").first).to_be_attached()
    await expect(page.locator("#rows-tail tr").first).to_be_attached()
    for width in (320, 390, 768, 1024):
        await page.set_viewport_size({"width": width, "height": 1000})
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
