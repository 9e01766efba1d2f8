"""The page of dead letters in a real browser: it shows what died and why, asks before it acts, and acts once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from headrace.channels import ACTIONS, DEAD, REQUESTS
from headrace.codec import decode
from headrace.events import ActionTaken, EntryDead
from tests.e2e.conftest import Opens
from tests.unit.frames import StoryPage
from tests.unit.logs import LogBus, asked, fake_bus, gave_up

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(90)]

LETTERS = 12


@pytest_asyncio.fixture(loop_scope="session")
async def served() -> AsyncIterator[StoryPage]:
    """A dashboard over a log of twelve dead letters: eight of one reason, and of the others one that came too late."""
    bus = LogBus(fake_bus(), past_s=10)
    for number in range(LETTERS):
        handle = await asked(bus, number, deadline=1.0 if number == LETTERS - 1 else 0.0)
        await gave_up(bus, number, handle, f"row {number} holds nan" if number < 8 else "the model failed")
    async with StoryPage(bus) as page:
        yield page


async def shown(served: StoryPage, opened: Opens, query: str = "", **options: int) -> Page:
    page = await opened(f"{served.url}dead{query}", **options)
    await expect(page.locator("#rows-letters tr").first).to_be_attached()
    return page


async def order(page: Page, title: str, yes: str) -> None:
    """Answer the question with yes, by the button's own words."""
    question = page.locator("#question")
    await expect(question.locator("h2")).to_have_text(title)
    await question.get_by_role("button", name=yes, exact=True).click()
    await expect(question).to_be_hidden()
    await page.mouse.move(5, 5)


async def test_letters_are_those_of_the_log_with_their_reasons_counted(served: StoryPage, opened: Opens) -> None:
    page = await shown(served, opened)
    entries = await served.bus.read(DEAD)
    places = [f"0-{entry.position}" for entry in entries][::-1]
    listed = await page.evaluate("[...document.querySelectorAll('#rows-letters tr')].map((row) => row.dataset.letter)")
    assert listed == places
    reasons = []
    for entry in entries[::-1]:
        event = decode(entry.payload)
        assert isinstance(event, EntryDead)
        reasons.append(event.reason)
    assert await page.locator("#rows-letters td.reason b").all_text_contents() == reasons
    assert await page.locator("#reasons span").all_text_contents() == ["row … holds nan", "the model failed"]
    assert await page.locator("#reasons b").all_text_contents() == ["8", "4"]
    await expect(page.locator("#rows-letters tr").first).to_contain_text("deadline passed")
    await expect(page.locator("#dead-shown")).to_contain_text("12 shown of 12 letters that wait")


async def test_one_is_requeued_once_after_a_question(served: StoryPage, opened: Opens) -> None:
    page = await shown(served, opened)
    row = page.locator("#rows-letters tr").nth(5)
    name = await row.get_attribute("data-letter")
    await row.get_by_role("button", name="Requeue").click()
    await page.locator("#question").get_by_role("button", name="Cancel").click()
    assert await served.bus.under.length(REQUESTS) == LETTERS  # type: ignore[attr-defined]
    await row.get_by_role("button", name="Requeue").click()
    await order(page, "Requeue 1 dead letter?", "Requeue 1")
    await expect(page.locator("#dead-said")).to_have_text("Requeued 1 dead letter")
    await expect(page.locator("#rows-letters tr")).to_have_count(LETTERS - 1)
    requests = await served.bus.read(REQUESTS)
    assert len(requests) == LETTERS + 1
    assert requests[-1].payload == requests[6].payload
    [told] = [decode(entry.payload) for entry in await served.bus.read(ACTIONS)]
    assert isinstance(told, ActionTaken)
    assert (told.action, told.count, str(name) in told.text) == ("requeue", 1, True)
    await expect(page.locator("#history li")).to_have_count(1)
    await expect(page.locator("#history li")).to_contain_text("Requeued")
    await page.click("#dead-done")
    await expect(page.locator("#rows-letters tr[data-state=requeue]")).to_have_count(1)


async def test_all_of_a_reason_are_discarded_and_nothing_else(served: StoryPage, opened: Opens) -> None:
    page = await shown(served, opened)
    await page.locator("#reasons button").first.click()
    await expect(page.locator("#rows-letters tr")).to_have_count(8)
    await page.get_by_role("button", name="Discard these 8").click()
    await expect(page.locator("#question-text")).to_contain_text("reason “row … holds nan”")
    late = await asked(served.bus, 50)
    await gave_up(served.bus, 50, late, "row 50 holds nan")
    await order(page, "Discard 8 dead letters?", "Discard 8")
    await expect(page.locator("#dead-said")).to_have_text("Discarded 8 dead letters")
    await expect(page.locator("#rows-letters tr")).to_have_count(1)
    await page.click("#dead-clear")
    await expect(page.locator("#rows-letters tr")).to_have_count(5)
    assert await served.bus.under.length(REQUESTS) == LETTERS + 1  # type: ignore[attr-defined]


async def test_a_letter_that_comes_shows_by_itself_and_its_payload_opens(served: StoryPage, opened: Opens) -> None:
    page = await shown(served, opened)
    handle = await asked(served.bus, 60)
    await gave_up(served.bus, 60, handle, "something new")
    await expect(page.locator("#rows-letters tr").first).to_contain_text("something new")
    await page.locator("#rows-letters .payload button").first.click()
    drawer = page.locator("dialog.drawer")
    await expect(drawer.locator("pre")).to_contain_text('"id": "q-60"')
    await expect(drawer.locator("canvas")).to_be_visible()
    await drawer.get_by_role("link", name="Follow this prediction").click()
    await expect(page.locator("#journey-head b")).to_have_text("dead letter")
    await expect(page.locator("#journey-head")).to_contain_text("something new")


async def test_a_snapshot_has_the_letters_that_were_shown_and_each_whole(
    served: StoryPage, opened: Opens, tmp_path: Path
) -> None:
    page = await shown(served, opened, "?text=holds", own=True)
    await expect(page.locator("#rows-letters tr")).to_have_count(8)
    wanted = await page.locator("#rows-letters td.reason b").all_text_contents()
    async with page.expect_download() as coming:
        await page.click("#snapshot")
    file = tmp_path / "letters.html"
    await (await coming.value).save_as(file)
    alone = await opened(file.as_uri())
    await expect(alone.locator("#rows-letters tr")).to_have_count(8)
    assert await alone.locator("#rows-letters td.reason b").all_text_contents() == wanted
    assert await alone.locator("#reasons b").all_text_contents() == ["8", "4"]
    await expect(alone.locator("#dead-shown")).to_contain_text("8 shown of 8 letters that wait · only reason “holds”")
    await expect(alone.locator("#rows-letters .acts button").first).to_be_hidden()
    await alone.locator("#rows-letters .payload button").first.click()
    await expect(alone.locator("dialog.drawer pre")).to_contain_text('"reason": "row 7 holds nan"')
    await expect(alone.locator("dialog.drawer canvas")).to_be_visible()


async def test_no_letters_is_good_news(opened: Opens) -> None:
    async with StoryPage(LogBus(fake_bus(), past_s=5)) as empty:
        page = await opened(f"{empty.url}dead", outage=True)  # the dashboard ends before the page
        await expect(page.locator("#letters-card .empty")).to_be_visible()
        await expect(page.locator("#letters-card .empty")).to_contain_text("every entry was processed")


async def test_a_narrow_window_has_no_horizontal_scroll(served: StoryPage, opened: Opens) -> None:
    page = await shown(served, opened, width=320)
    for width in (320, 390, 768, 1024):
        await page.set_viewport_size({"width": width, "height": 1000})
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
