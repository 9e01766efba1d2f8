"""Time travel in a real browser: the same page, of an earlier moment; and back, missing nothing."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from headrace.channels import ALERTS, FRAMES
from headrace.codec import decode, encode
from headrace.dashboard.series import values
from headrace.events import Alert, Frame
from headrace.positions import Entry, Position
from headrace.settings import Settings
from headrace.testing import wait_until
from tests.e2e.acting import PATIENCE_S
from tests.e2e.conftest import Opens
from tests.unit.frames import Story, StoryBus, StoryPage

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(90)]

PILL = "#pill"
TRACK = "#time-track"
PAST = re.compile(r"past · \d\d:\d\d:\d\d\s*\(\d.* ago\)")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def served() -> AsyncIterator[StoryPage]:
    """A dashboard with four minutes of a story behind it, and an alert in them."""
    bus = StoryBus(Settings(), Story.steady(time.time()), past_s=240)
    alert = Alert(name="lag", subject="requests", state="raised", severity="critical", text="requests wait")
    bus.logs[ALERTS] = [Entry(Position(int((time.time() - 100) * 1000), 1), encode(alert))]
    async with StoryPage(bus) as page:
        yield page


async def state(page: Page, wanted: str) -> None:
    await expect(page.locator(PILL)).to_have_attribute("data-state", wanted)


async def shown(page: Page) -> int | None:
    found: int | None = await page.evaluate("headrace.store.at")
    return found


async def arrived(page: Page, ms: int | None = None) -> int:
    """Wait for a moment of the past to be shown: which one."""

    async def there() -> bool:
        at = await shown(page)
        wanted = await page.evaluate("headrace.connection.wanted")
        return at is not None and at == wanted and ms in (None, at)

    await wait_until(there, PATIENCE_S, f"the moment {ms} to be shown")
    at = await shown(page)
    assert at is not None
    return at


def frame_at(bus: StoryBus, ms: int) -> Frame:
    entry = max(entry for entry in bus.logs[FRAMES] if entry.position.ms <= ms)
    frame = decode(entry.payload)
    assert isinstance(frame, Frame)
    return frame


async def test_an_address_shows_its_moment_with_the_numbers_of_then(served: StoryPage, opened: Opens) -> None:
    at = int((time.time() - 120) * 1000) // 1000 * 1000
    page = await opened(f"{served.url}?at={at}&window=300")
    await arrived(page, at)
    await state(page, "past")
    await expect(page.locator(PILL)).to_have_text(PAST)
    await expect(page).to_have_title(re.compile("past · "))
    wanted = values(frame_at(served.bus, at))
    await expect(page.locator("#tile-depth .value b")).to_have_text(f"{wanted['depth']:,.0f}")
    await expect(page.locator("#chart-throughput .scatterlayer path.js-line").first).to_be_attached()
    end = await page.evaluate(
        "document.querySelector('#chart-throughput .js-plotly-plot').layout.xaxis.range[1] - headrace.charts.local(0)"
    )
    times: list[float] = await page.evaluate("headrace.store.tiers[0].times")
    assert abs(times[-1] - at / 1000) < 0.5
    assert await page.evaluate("headrace.clock.end()") == at / 1000
    assert end is not None
    number = await page.evaluate("headrace.store.number")
    newest = served.bus.number
    await wait_until(lambda: served.bus.number >= newest + 6, PATIENCE_S)
    assert await page.evaluate("headrace.store.number") == number
    await expect(page.locator("#tile-depth .value b")).to_have_text(f"{wanted['depth']:,.0f}")


async def test_live_is_one_press_away_and_the_address_forgets_the_moment(served: StoryPage, opened: Opens) -> None:
    at = int((time.time() - 60) * 1000) // 1000 * 1000
    page = await opened(f"{served.url}?at={at}")
    await arrived(page, at)
    await page.click("#time-live")
    await state(page, "live")
    assert await shown(page) is None
    assert "at=" not in page.url
    number = await page.evaluate("headrace.store.number")
    await wait_until(lambda: served.bus.number > number + 4, PATIENCE_S)

    async def moves() -> bool:
        return bool(await page.evaluate(f"headrace.store.number > {number} && headrace.store.time > {at / 1000 + 30}"))

    await wait_until(moves, PATIENCE_S)


async def test_keys_go_by_a_second_and_by_ten_to_the_oldest_and_back(served: StoryPage, opened: Opens) -> None:
    page = await opened(served.url)
    await state(page, "live")
    track = page.locator(TRACK)
    await track.focus()
    await expect(track).to_have_attribute("aria-valuetext", "live")
    await page.keyboard.press("Shift+ArrowLeft")
    first = await arrived(page)
    await page.keyboard.press("ArrowLeft")
    assert await arrived(page, first - 1_000) == first - 1_000
    await page.keyboard.press("ArrowRight")
    await arrived(page, first)
    await expect(track).to_have_attribute("aria-valuetext", re.compile(r"\d\d:\d\d:\d\d, \d.* ago"))
    await page.keyboard.press("Home")
    oldest = served.bus.logs[FRAMES][0].position.ms

    async def at_the_oldest() -> bool:
        at = await shown(page)
        return at is not None and 0 <= at - oldest <= 3_000

    await wait_until(at_the_oldest, PATIENCE_S)
    await page.keyboard.press("End")
    await state(page, "live")
    await page.keyboard.press("Space")
    await state(page, "paused")
    await page.keyboard.press("Space")
    await state(page, "live")


async def test_dragging_shows_moments_on_the_way_and_keeps_zoom(served: StoryPage, opened: Opens) -> None:
    page = await opened(served.url)
    await state(page, "live")
    await expect(page.locator("#time-track .flowed path").first).to_have_attribute("d", re.compile("M"))
    await expect(page.locator("#chart-throughput .scatterlayer path.js-line").first).to_be_attached()
    chart = await page.locator("#chart-throughput").bounding_box()
    assert chart is not None
    await page.mouse.move(chart["x"] + 200, chart["y"] + 80)
    await page.mouse.down()
    await page.mouse.move(chart["x"] + 330, chart["y"] + 84, steps=5)
    await page.mouse.up()
    await expect(page.locator("#traffic")).to_have_attribute("data-held", re.compile("zoomed|held"))
    zoomed: list[Any] = await page.evaluate(RANGE)
    box = await page.locator(TRACK).bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    await page.mouse.move(box["x"] + 0.8 * box["width"], y)
    await page.mouse.down()
    await page.mouse.move(box["x"] + 0.6 * box["width"], y, steps=6)
    await expect(page.locator("#time-track .bubble")).to_be_visible()
    on_the_way = await arrived(page)
    await page.mouse.move(box["x"] + 0.4 * box["width"], y, steps=6)
    await page.mouse.up()
    end = await arrived(page)
    assert end < on_the_way
    assert f"at={end}" in page.url
    assert await page.evaluate(RANGE) == zoomed


RANGE = "[...document.querySelector('#chart-throughput .js-plotly-plot').layout.xaxis.range]"


async def test_the_moment_goes_along_to_other_pages(served: StoryPage, opened: Opens) -> None:
    at = int((time.time() - 90) * 1000) // 1000 * 1000
    page = await opened(f"{served.url}?at={at}")
    await arrived(page, at)
    await page.click("#to-models")
    await expect(page.locator("[data-page=models]")).to_be_attached()
    assert await arrived(page, at) == at
    await expect(page).to_have_url(re.compile(f"at={at}"))


async def test_what_is_not_kept_any_more_is_said_with_a_way_out(served: StoryPage, opened: Opens) -> None:
    page = await opened(f"{served.url}?at=1763800000000")
    await expect(page.locator("#time-note")).to_contain_text("oldest moment")
    await expect(page.locator(PILL)).to_contain_text("not kept")
    await expect(page.locator(".page")).to_be_hidden()
    await page.click("#time-note button")
    await arrived(page)
    await expect(page.locator("#time-note")).to_be_hidden()
    await expect(page.locator("#tile-in .value b")).to_have_text(re.compile(r"\d"))


async def test_the_bar_marks_alerts(served: StoryPage, opened: Opens) -> None:
    page = await opened(served.url)
    await expect(page.locator("#time-track .marks i")).to_have_attribute("data-kind", "critical")
    await expect(page.locator("#time-track .marks i")).to_have_attribute("title", re.compile("requests wait"))


async def test_a_phone_has_no_horizontal_scroll_in_the_past(served: StoryPage, opened: Opens) -> None:
    at = int((time.time() - 90) * 1000)
    page = await opened(f"{served.url}?at={at}", width=320, height=800, theme="light")
    await arrived(page, at)
    assert await page.evaluate("document.documentElement.scrollWidth") <= 320


async def test_what_was_looked_up_is_there_in_the_past(served: StoryPage, opened: Opens) -> None:
    at = int((time.time() - 60) * 1000) // 1000 * 1000
    page = await opened(f"{served.url}models?at={at}", height=2600)
    await arrived(page, at)
    await expect(page.locator("#rows-worst tr").first).to_be_attached(timeout=20_000)
    await page.click("#to-training")
    await arrived(page, at)

    async def old_runs() -> bool:
        return bool(await page.evaluate("[...headrace.runs.all().keys()].some((run) => run.startsWith('past'))"))

    await wait_until(old_runs, 20, "runs that are in no frame")
    await expect(page.locator("#time-note")).to_be_hidden()
