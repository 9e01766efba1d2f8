"""The overview in a real browser: numbers move, silence shows, a restart heals, nothing comes from elsewhere."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from headrace.events import AlertView
from headrace.settings import Settings
from headrace.testing import wait_until
from tests.e2e.acting import PATIENCE_S, live, missing, place, script, until
from tests.e2e.conftest import Opens
from tests.unit.frames import Story, StoryBus, StoryPage

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(90)]

ROWS = {"predictions": 10, "workers": 5, "models": 3}
TALL = 2600
"""A window in which the whole page is in view: what is not is not drawn."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def served() -> AsyncIterator[StoryPage]:
    """A dashboard with ninety seconds of a story behind it."""
    async with StoryPage(StoryBus(Settings(), Story.steady(time.time()), past_s=90)) as page:
        yield page


@pytest_asyncio.fixture(loop_scope="session")
async def mortal() -> AsyncIterator[StoryPage]:
    """A dashboard with a shorter story, which a test may change, silence and end."""
    async with StoryPage(StoryBus(Settings(), Story.steady(time.time()), past_s=10)) as page:
        yield page


async def range_of(page: Page, chart: str) -> list[Any]:
    found: list[Any] = await script(
        page, f"[...document.querySelector('#chart-{chart} .js-plotly-plot').layout.xaxis.range]"
    )
    return found


async def test_numbers_move_and_are_those_of_the_frame(served: StoryPage, opened: Opens) -> None:
    page = await opened(served.url)
    await live(page)
    tile = page.locator("#tile-in .value b")
    await expect(tile).to_have_text(re.compile(r"\d"))
    seen = set()

    async def moved() -> bool:
        seen.add(await tile.text_content())
        return len(seen) >= 3

    await wait_until(moved, PATIENCE_S)

    async def drawn() -> bool:
        """A frame is drawn a moment after it has come, so the two may differ for that moment."""
        shown, meant = await script(
            page, "[document.querySelector('#tile-depth .value b').textContent, headrace.store.values.depth]"
        )
        return int(shown.replace(",", "")) == int(meant)

    await wait_until(drawn, description="the depth shown to be the depth of the frame")
    await expect(page.locator("#tile-accuracy .note")).to_have_text(re.compile(r"\d+\.\d–\d+\.\d % · n \d"))


async def test_every_part_of_the_page_is_filled(served: StoryPage, opened: Opens) -> None:
    page = await opened(served.url, height=TALL)
    await live(page)
    for table, count in ROWS.items():
        await expect(page.locator(f"#rows-{table} tr")).to_have_count(count)
    await expect(page.locator("#rows-runs tr").first).to_contain_text("digits sgd")
    await expect(page.locator("#matrix td.right.full")).to_have_count(10)
    await expect(page.locator("#confidence .bar")).to_have_count(20)
    for chart in ("throughput", "depth", "latency", "training"):
        await expect(page.locator(f"#chart-{chart} .scatterlayer path.js-line").first).to_be_attached()
        await expect(page.locator(f"#legend-{chart} .entry").first).to_be_visible()
    await expect(page.locator("#server-product")).to_have_text("Valkey 9.1.2")
    await expect(page.locator('.card[data-empty="yes"]')).to_have_count(0)
    shades = await script(
        page,
        """(() => { const canvas = document.querySelector("#rows-predictions canvas");
        return [...new Set(canvas.getContext("2d").getImageData(0, 0, 8, 8).data)].length; })()""",
    )
    assert shades > 5
    await expect(page.locator('#rows-predictions .truth:not([data-right=""])').first).to_be_attached()


async def test_pause_holds_the_page_and_resume_misses_nothing(served: StoryPage, opened: Opens) -> None:
    page = await opened(served.url)
    await live(page)
    begin = await place(page)
    await page.click("#pause")
    await expect(page.locator("#pill")).to_have_attribute("data-state", "paused")
    held = await page.locator("#tile-in .value").text_content(), await script(page, "headrace.store.number")
    number = served.bus.number
    skipped = await script(page, "headrace.store.skipped")

    async def went_on() -> bool:
        return served.bus.number >= number + 8

    await wait_until(went_on, PATIENCE_S)
    assert (await page.locator("#tile-in .value").text_content(), await script(page, "headrace.store.number")) == held
    await page.click("#pause")
    await until(page, f"headrace.store.number > {number}")
    assert await missing(page, begin) == 0
    assert await script(page, "headrace.store.skipped") < skipped + 8, "what waited was not late by mistake"


async def test_silence_shows_and_ends(mortal: StoryPage, opened: Opens) -> None:
    page = await opened(mortal.url)
    await live(page)
    mortal.bus.silent = True
    await expect(page.locator("#pill")).to_have_attribute("data-state", "stale")
    await expect(page).to_have_title(re.compile("stale"))
    await expect(page.locator("#said")).to_contain_text("aggregator")
    mortal.bus.silent = False
    await live(page)


async def test_an_open_page_survives_a_restart_of_the_dashboard(mortal: StoryPage, opened: Opens) -> None:
    page = await opened(mortal.url, outage=True)
    await live(page)
    await script(page, "window.sameDocument = true")
    port = int(mortal.url.rstrip("/").rpartition(":")[2])
    await mortal.stop()
    await expect(page.locator("#pill")).to_have_attribute("data-state", "gone")
    await mortal.start(port)
    await live(page)
    assert await script(page, "window.sameDocument") is True
    number = await script(page, "headrace.store.number")
    await until(page, f"headrace.store.number > {number}")


async def test_the_theme_follows_the_system_until_one_is_chosen(served: StoryPage, opened: Opens) -> None:
    page = await opened(served.url, theme="light")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = await script(page, ground)
    await page.emulate_media(color_scheme="dark")
    dark = await script(page, ground)
    assert light != dark
    await page.click("#theme")
    assert await script(page, ground) == light
    await page.reload()
    assert await script(page, ground) == light


async def test_zoom_stays_while_frames_come_and_a_double_click_ends_it(served: StoryPage, opened: Opens) -> None:
    page = await opened(served.url)
    await live(page)
    await expect(page.locator("#chart-throughput .scatterlayer path.js-line").first).to_be_attached()
    box = await page.locator("#chart-throughput").bounding_box()
    assert box is not None
    x, y = box["x"] + 250, box["y"] + 90
    await page.mouse.move(x, y)
    await page.mouse.down()
    await page.mouse.move(x + 150, y + 4, steps=6)
    await page.mouse.up()
    await page.mouse.move(5, 5)
    await expect(page.locator("#traffic")).to_have_attribute("data-held", "zoomed")
    zoomed = await range_of(page, "throughput")
    moving = await range_of(page, "latency")
    await page.wait_for_function(
        "was => document.querySelector('#chart-latency .js-plotly-plot').layout.xaxis.range[0] !== was", arg=moving[0]
    )
    assert await range_of(page, "throughput") == zoomed
    await page.mouse.dblclick(x, y)
    await page.mouse.move(5, 5)
    await expect(page.locator("#traffic")).to_have_attribute("data-held", "")
    await page.wait_for_function(
        "was => document.querySelector('#chart-throughput .js-plotly-plot').layout.xaxis.range[0] !== was",
        arg=zoomed[0],
    )


async def test_a_chart_is_held_while_a_reader_points_at_it(served: StoryPage, opened: Opens) -> None:
    page = await opened(served.url)
    await live(page)
    await expect(page.locator("#chart-throughput .scatterlayer path.js-line").first).to_be_attached()
    await page.hover("#chart-throughput")
    held = await range_of(page, "throughput")
    moving = await range_of(page, "latency")
    await page.wait_for_function(
        "was => document.querySelector('#chart-latency .js-plotly-plot').layout.xaxis.range[0] !== was", arg=moving[0]
    )
    assert await range_of(page, "throughput") == held


async def test_the_window_is_in_the_address(served: StoryPage, opened: Opens) -> None:
    page = await opened(served.url)
    await live(page)
    await page.click("[data-do=window][data-value='300']")
    await expect(page).to_have_url(re.compile("window=300"))
    await page.reload()
    await live(page)
    await expect(page.locator("[data-do=window][aria-pressed=true]")).to_have_text("5 m")


async def test_an_alert_is_seen_and_heard(mortal: StoryPage, opened: Opens) -> None:
    page = await opened(mortal.url)
    await live(page)
    await expect(page.locator("#alerts")).to_have_text("No alerts")
    mortal.bus.story.alerts = [AlertView(name="lost", severity="critical", text="3 events are lost")]
    await expect(page.locator("#alerts")).to_have_text("3 events are lost")
    await expect(page.locator("#alerts")).to_have_attribute("data-kind", "critical")


async def test_a_page_without_data_says_what_to_run(opened: Opens) -> None:
    bus = StoryBus(Settings(), Story(), past_s=0)
    bus.silent = True
    async with StoryPage(bus) as empty:
        page = await opened(empty.url, height=TALL, outage=True)  # the dashboard ends before the page
        await expect(page.locator("#pill")).to_contain_text("no data")
        for card, command in (
            ("traffic", "headrace demo"),
            ("serving", "headrace models train digits"),
            ("workers", "headrace aggregator"),
        ):
            await expect(page.locator(f"#{card} code", has_text=command)).to_be_visible()
        bus.silent = False
        await live(page)
        await expect(page.locator("#traffic code").first).to_be_hidden()


async def test_a_slow_browser_stays_live_without_gaps(served: StoryPage, opened: Opens) -> None:
    page = await opened(served.url, own=True)
    await live(page)
    tools = await page.context.new_cdp_session(page)
    await tools.send("Emulation.setCPUThrottlingRate", {"rate": 4})
    begin = await place(page)
    await until(page, f"headrace.store.number > {begin[0] + 12}")
    age = await script(page, "headrace.connection.now() - headrace.store.time")
    await tools.send("Emulation.setCPUThrottlingRate", {"rate": 1})
    assert age < 2
    assert await missing(page, begin) == 0
    await live(page)
