"""What an open page costs: nothing piles up, slow machines and long outages are endured, glass is reached soon.

`HEADRACE_DEEP=1` changes pages fifty times instead of twelve, and slows every page down, not only the overview.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import CDPSession, Page, expect

from headrace.dashboard.pages import PAGES
from headrace.settings import Settings
from headrace.testing import wait_until
from tests.e2e.acting import PATIENCE_S, live, missing, place, script, show, until
from tests.e2e.conftest import Opens
from tests.unit.frames import Story, StoryBus, StoryPage

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

NAMES = [page.name for page in PAGES]
DEEP = "HEADRACE_DEEP" in os.environ
CHANGES = 50 if DEEP else 12
PICTURES = 1_000
"""Nodes that the last pictures of pages may hold, more than before; they go with the next ones."""
IN_VIEW = """(() => {
  const all = document.createNodeIterator(document);
  let n = 0;
  while (all.nextNode()) n += 1;
  return n;
})()"""
TALL = 2600


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def served() -> AsyncIterator[StoryPage]:
    """A dashboard with ninety seconds of a story behind it."""
    async with StoryPage(StoryBus(Settings(), Story.steady(time.time()), past_s=90)) as page:
        yield page


@pytest_asyncio.fixture(loop_scope="session")
async def mortal() -> AsyncIterator[StoryPage]:
    """A dashboard that a test may end and start."""
    async with StoryPage(StoryBus(Settings(), Story.steady(time.time()), past_s=10)) as page:
        yield page


async def held(page: Page, tools: CDPSession) -> dict[str, float]:
    """Listeners and heap of the page, and nodes beside those of its document, whose tables fill up; without garbage."""
    await tools.send("HeapProfiler.collectGarbage")
    found = {metric["name"]: metric["value"] for metric in (await tools.send("Performance.getMetrics"))["metrics"]}
    kept = {name: found[name] for name in ("JSEventListeners", "JSHeapUsedSize")}
    return {**kept, "Nodes": found["Nodes"] - await script(page, IN_VIEW)}


async def tour(page: Page, changes: int) -> None:
    """Go from page to page."""
    for n in range(changes):
        await show(page, NAMES[(n + 1) % len(NAMES)])
    await show(page, "overview")


async def test_page_changes_leave_one_socket_and_nothing_behind(served: StoryPage, opened: Opens) -> None:
    page = await opened(served.url, own=True, height=600)
    await live(page)
    await until(page, "headrace.store.sections.status.viewers === 1")
    tools = await page.context.new_cdp_session(page)
    await tools.send("Performance.enable")
    await tour(page, 2 * len(NAMES))
    before = await held(page, tools)
    await tour(page, CHANGES)
    await live(page)
    await until(page, "headrace.store.sections.status.viewers === 1")
    after: dict[str, float] = {}

    async def nothing_left() -> bool:
        after.update(await held(page, tools))
        return (
            after["JSEventListeners"] <= 1.15 * before["JSEventListeners"] + 20
            and after["Nodes"] <= before["Nodes"] + PICTURES
            and after["JSHeapUsedSize"] <= 1.25 * before["JSHeapUsedSize"] + 2e6
        )

    # What the last picture of a page holds goes with the next one; what leaks stays.
    await wait_until(nothing_left, PATIENCE_S, lambda: f"what pages left behind to go: {before} to {after}")


@pytest.mark.skipif(not DEEP, reason="HEADRACE_DEEP is not set; test_overview.py slows the overview down")
async def test_a_page_stays_live_without_gaps_on_a_machine_four_times_slower(served: StoryPage, opened: Opens) -> None:
    page = await opened(served.url, own=True)
    await live(page)
    tools = await page.context.new_cdp_session(page)
    await tools.send("Emulation.setCPUThrottlingRate", {"rate": 4})
    begin = await place(page)
    await until(page, f"headrace.store.number > {begin[0] + 8}")
    for name in (*NAMES[1:], "overview"):
        await show(page, name)
    number = await script(page, "headrace.store.number")
    await until(page, f"headrace.store.number > {number + 4}")
    age = await script(page, "headrace.connection.now() - headrace.store.time")
    await tools.send("Emulation.setCPUThrottlingRate", {"rate": 1})
    assert age < 2
    assert await missing(page, begin) == 0


async def test_a_long_outage_ends_without_a_reload(mortal: StoryPage, opened: Opens) -> None:
    """More tries than any that gives up would make; the longest delay is shortened."""
    page = await opened(mortal.url, outage=True)
    await live(page)
    tries: list[str] = []
    page.on("websocket", lambda one: tries.append(one.url))
    await script(page, "[window.sameDocument = true, headrace.Connection.DELAYS_S[1] = 0.1]")
    port = int(mortal.url.rstrip("/").rpartition(":")[2])
    await mortal.stop()
    await expect(page.locator("#pill")).to_have_attribute("data-state", "gone")
    await wait_until(lambda: tries.count(mortal.socket) >= 25, 2 * PATIENCE_S, "25 tries")
    await expect(page.locator("#pill")).to_contain_text("disconnected")
    await mortal.start(port)
    await live(page)
    assert await script(page, "window.sameDocument") is True
    number = await script(page, "headrace.store.number")
    await until(page, f"headrace.store.number > {number}")


async def test_numbers_are_there_with_the_first_paint(served: StoryPage, opened: Opens) -> None:
    page = await opened(served.url, own=True)
    await until(page, "headrace.glass.first !== null")
    await expect(page.locator("#tile-in .value b")).not_to_have_text("–")


async def test_time_to_glass_is_measured_span_by_span(served: StoryPage, opened: Opens) -> None:
    page = await opened(served.url, height=TALL)
    await live(page)
    await until(page, "headrace.glass.summary().total.count >= 3 && headrace.glass.summary().frames.charts.count >= 3")
    found: dict[str, Any] = await script(page, "headrace.glass.summary()")
    spans = {span["name"]: span for span in found["spans"]}
    assert list(spans) == ["publish", "wait", "model", "commit", "frame", "push", "paint"]
    assert all(0 <= span["p50"] <= span["p95"] for span in spans.values())
    assert spans["model"]["p50"] == pytest.approx(0.0011, abs=2e-4)
    assert found["total"]["p50"] >= spans["commit"]["p50"]
    assert 0 < found["frames"]["push"]["p50"] <= found["frames"]["tiles"]["p50"] <= found["frames"]["charts"]["p50"]
    assert 0 < found["tolerance"] < 10
    rows = page.locator("#rows-glass tr")
    await expect(rows).to_have_count(11)
    await expect(page.locator("#glass-clocks")).to_contain_text("clocks known to ±")


async def test_no_span_is_negative_however_the_clocks_differ(served: StoryPage, opened: Opens) -> None:
    page = await opened(served.url)
    for times, spans, short in (
        ([1, 2, 3, 4], [1, 1, 1], 0),
        ([5, 2, 3, 6], [0, 0, 1], 2),
        ([0, 2, 3, 4], [None, 1, 1], 0),
        ([1, 2, 0, 4], [1, None, None], 0),
    ):
        found = await page.evaluate("(times) => headrace.glass.spans(times)", times)
        assert (found["spans"], found["short"]) == (spans, short)
        known = [span for span in found["spans"] if span is not None]
        assert all(span >= 0 for span in known)


async def test_what_waited_while_nobody_looked_is_not_measured(served: StoryPage, opened: Opens) -> None:
    page = await opened(served.url)
    await live(page)
    await until(page, "headrace.glass.ways.tiles.length >= 3")
    await page.click("#pause")
    number, begin = await place(page)
    await wait_until(lambda: served.bus.number > number + 12, PATIENCE_S)
    end = await script(page, "headrace.connection.now()")
    await page.click("#pause")
    await until(page, f"headrace.store.number > {number + 12}")
    count = await script(page, "headrace.glass.ways.tiles.length")
    await until(page, f"headrace.glass.ways.tiles.length >= {count} + 3")
    made: list[float] = await script(page, "headrace.glass.ways.tiles.map((one) => one.at - one.value)")
    assert [time for time in made if begin + 0.01 < time < end] == []
    assert any(time >= end for time in made)
