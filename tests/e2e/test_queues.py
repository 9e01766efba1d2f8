"""The page of queues in a real browser: numbers are those of the frame, choices are in the address, nothing jumps."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from headrace.events import AlertView
from headrace.settings import Settings
from headrace.testing import wait_until
from tests.e2e.acting import PATIENCE_S, live, script
from tests.e2e.conftest import Opens
from tests.unit.frames import Story, StoryBus, StoryPage

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(90)]

TALL = 3200
"""A window in which the whole page is in view: what is not is not drawn."""


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def served() -> AsyncIterator[StoryPage]:
    """A dashboard with ninety seconds of a story behind it."""
    async with StoryPage(StoryBus(Settings(), Story.steady(time.time()), past_s=90)) as page:
        yield page


async def drawn(page: Page, shown: str, meant: str, description: str) -> None:
    """Wait until the text of an element is what the newest section says; a frame is drawn a moment after it came."""
    text = f"[document.querySelector({shown!r}).textContent, headrace.format.{meant}]"

    async def same() -> bool:
        here, there = await script(page, f"(() => {{ const now = headrace.store.sections.queues; return {text}; }})()")
        return bool(here == there)

    await wait_until(same, PATIENCE_S, description)


async def test_every_card_is_filled_with_the_numbers_of_the_frame(served: StoryPage, opened: Opens) -> None:
    page = await opened(served.url + "queues", height=TALL)
    await live(page)
    for name, count in {"groups": 3, "crew": 5, "rooms": 5, "alerts": 2}.items():
        await expect(page.locator(f"#rows-{name} tr")).to_have_count(count)
    await expect(page.locator("#rows-released tr").first).to_contain_text("all that waited")
    for chart in ("group-depth", "group-rates", "group-age", "group-trouble", "memory"):
        await expect(page.locator(f"#chart-{chart} .scatterlayer path.js-line").first).to_be_attached()
    await expect(page.locator('.card[data-empty="yes"]')).to_have_count(0)
    group, worker, room = "now.groups[0]", "now.workers[0]", "now.channels[0]"
    await drawn(page, "#rows-groups td:nth-child(2)", f"count({group}.lag + {group}.in_flight)", "the depth")
    await drawn(page, "#rows-groups td:nth-child(7)", f"number({group}.committed_s) + '/s'", "the rate of commits")
    await drawn(page, "#law-depth", f"number({group}.little.depth)", "the depth of the law")
    await drawn(page, "#law-expected", f"number({group}.little.expected)", "arrivals by wait")
    await drawn(page, "#rows-crew td:nth-child(2)", f"number({worker}.rate)", "the rate of a worker")
    await drawn(page, "#rows-crew td:nth-child(5) span:last-child", f"percent({worker}.busy, 0)", "its busy share")
    await drawn(page, "#rows-rooms td:nth-child(6)", f"bytes({room}.memory_bytes)", "the memory of a channel")
    shares = await page.locator("#rows-released td:nth-child(2)").all_text_contents()
    assert sum(float(share.rstrip(" %")) for share in shares) == pytest.approx(100, abs=2)


async def test_batches_are_dots_that_say_what_they_were(served: StoryPage, opened: Opens) -> None:
    page = await opened(served.url + "queues", height=TALL)
    await live(page)
    inked = """(() => { const drawn = document.querySelector("#batching canvas");
        const copy = Object.assign(document.createElement("canvas"), { width: drawn.width, height: drawn.height });
        const pen = copy.getContext("2d", { willReadFrequently: true });
        if (drawn.width) pen.drawImage(drawn, 0, 0);
        return new Set(new Uint32Array(pen.getImageData(0, 0, copy.width, copy.height).data.buffer)).size; })()"""

    async def dots() -> bool:
        return int(await script(page, inked)) > 20

    await wait_until(dots, PATIENCE_S, "dots of several shades")
    box = await page.locator("#batching").bounding_box()
    assert box is not None
    tip = page.locator("#batching .tip")
    for step in range(2, 40):
        await page.mouse.move(box["x"] + 68, box["y"] + box["height"] * step / 42)
        if await tip.is_visible():
            break
    await expect(tip).to_contain_text(re.compile(r"1 entry · \w"))
    await expect(tip).to_contain_text(re.compile(r"waited [\d.]+ (ms|s|µs) · model"))
    await expect(tip).to_contain_text(re.compile(r"scorer-\d"))


async def test_a_choice_is_in_the_address_and_rows_stay_under_the_pointer(served: StoryPage, opened: Opens) -> None:
    page = await opened(served.url + "queues", height=TALL)
    await live(page)
    await page.locator("#rows-groups tr", has_text="labels → aggregators").click()
    await expect(page).to_have_url(re.compile("group=labels%2Faggregators"))
    await expect(page.locator("#title-group-depth-card")).to_have_text("Depth of labels → aggregators")
    await expect(page.locator("#law-missing")).to_contain_text("not measured")
    await page.locator("#rows-rooms button", has_text="results").press("Enter")
    await page.click("#own")
    await expect(page.locator("#rows-rooms tr")).to_have_count(7)
    await page.reload()
    await live(page)
    await expect(page.locator("#rows-groups tr[data-chosen=yes] button")).to_have_text("labels → aggregators")
    await expect(page.locator("#rows-rooms tr[data-chosen=yes] button")).to_have_text("results")
    await expect(page.locator("#own")).to_have_attribute("aria-pressed", "true")
    await script(page, "document.querySelectorAll('#rows-groups tr')[1].marked = true")
    number = await script(page, "headrace.store.number")

    async def went_on() -> bool:
        return bool(await script(page, f"headrace.store.number > {number + 8}"))

    await wait_until(went_on, PATIENCE_S)
    assert await script(page, "document.querySelectorAll('#rows-groups tr')[1].marked === true")


async def test_an_alert_stands_in_strip_and_list_and_markup_is_only_text(served: StoryPage, opened: Opens) -> None:
    page = await opened(served.url + "queues", height=TALL)
    await live(page)
    await expect(page.locator("#queues-alerts")).to_have_text("No alerts")
    text = "requests is full in 90 s <img src=x onerror=alert(1)>"
    since = await script(page, "headrace.store.time") - 42
    served.bus.story.alerts = [AlertView(name="time to full", subject="requests", text=text, since=since)]
    await expect(page.locator("#queues-alerts")).to_have_text(text)
    await expect(page.locator("#queues-alerts")).to_have_attribute("data-kind", "warning")
    first = page.locator("#rows-alerts tr").first
    await expect(first).to_contain_text("time to full")
    await expect(first).to_contain_text(re.compile(r"4\d s so far"))
    await expect(page.locator("#rows-alerts tr")).to_have_count(3)
    await expect(page.locator("#webhook")).to_contain_text("https://alerts.example.org")
    served.bus.story.alerts = []
    await expect(page.locator("#queues-alerts")).to_have_text("No alerts")


async def test_a_page_without_data_says_what_to_run(opened: Opens) -> None:
    bus = StoryBus(Settings(), Story(), past_s=0)
    bus.silent = True
    async with StoryPage(bus) as empty:
        page = await opened(empty.url + "queues", height=TALL, outage=True)  # the dashboard ends before the page
        await expect(page.locator("#pill")).to_contain_text("no data")
        for card, command in (
            ("groups-card", "headrace scorer"),
            ("batching-card", "headrace demo"),
            ("crew-card", "headrace aggregator"),
        ):
            await expect(page.locator(f"#{card} code", has_text=command)).to_be_visible()
