"""What stands still while numbers move: no part of any page changes its place because a frame came.

Phones are watched with `HEADRACE_DEEP=1`.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from headrace.dashboard.pages import PAGES
from tests.e2e.acting import live, script, show, until
from tests.e2e.conftest import Opens
from tests.unit.frames import Story, StoryPage
from tests.unit.logs import LogBus, asked, fake_bus, flowing, gave_up, happen

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

LISTS = "#rows-tail, #rows-letters, #rows-candidates"
PICTURES = ".spark, .trend-box, .meter, .bars, .bar, .stage .parts, .way, .balance, #time-track"
UNITS = ".value span"
"""What comes takes its place in a list, and what was there moves on; the marks of a picture say by their place what the
number is; a unit follows its number. These are there to move."""
BOXES = """[...document.querySelectorAll(".card, .tile, .strip")].map((part) => {
  const { x, y, width, height } = part.getBoundingClientRect();
  const grows = part.querySelector(LISTS) !== null;
  return [part.id, ...[x, y, width, grows ? 0 : height].map(Math.round)].join(" ");
})""".replace("LISTS", repr(LISTS))
WATCH = """window.watching ??= (() => {
  const name = (node) => {
    const at = node?.nodeType === Node.TEXT_NODE ? node.parentElement : node;
    const home = at?.closest("[id]");
    return at && [home && `#${home.id}`, home !== at && `${at.tagName} ${at.className}`].filter(Boolean).join(" ");
  };
  const box = ({ x, y, width, height }) => [x, y, width, height].map(Math.round).join(" ");
  const observer = new PerformanceObserver((list) => {
    for (const { hadRecentInput, sources } of list.getEntries()) {
      const moved = sources.filter(({ node }) => {
        const at = node?.nodeType === Node.TEXT_NODE ? node.parentElement : node;
        return at && !at.closest(MOVING);
      });
      if (hadRecentInput || !moved.length) continue;
      window.shifts.push(moved.map((one) => `${name(one.node)}: ${box(one.previousRect)} -> ${box(one.currentRect)}`));
    }
  });
  observer.observe({ type: "layout-shift" });
  return observer;
})();
window.watching.takeRecords();
window.shifts = [];"""
TALL = 2600
"""A window in which the whole page is in view, three times as long on a phone: what is not is not drawn."""
FILLED = {
    "overview": ("#rows-predictions tr:nth-child(10)", "#chart-throughput .scatterlayer path.js-line"),
    "training": ("#rows-all-runs tr:nth-child(8)", "#plots canvas", "#rows-candidates tr:nth-child(3)"),
    "models": ("#rows-worst tr:nth-child(12)", "#chart-model-mix .scatterlayer path.js-line"),
    "queues": ("#rows-rooms tr:nth-child(5)", "#chart-memory .scatterlayer path.js-line"),
    "events": ("#rows-tail tr:nth-child(20)",),
    "dead": ("#rows-letters tr:nth-child(3)", "#reasons li"),
}
"""What is there once a page has all that it shows."""
LETTERS = 50
PERIOD_S = 0.1
LOOKS = 20
SETTLED, WATCHED = 13, 12
"""Frames between two looks at a page that has just been opened, more than the second in which all is looked up once,
and frames through which it must stand still."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def served() -> AsyncIterator[StoryPage]:
    """A dashboard with ninety seconds of a story behind it, over logs in which things happen."""
    bus = LogBus(fake_bus(), Story.steady(time.time()), past_s=90, every_s=PERIOD_S)
    for number in range(LETTERS):  # as many as the page of dead letters lists
        await gave_up(bus, number, await asked(bus, number))
    for number in range(40):
        await happen(bus, number)
    async with flowing(bus, 40, every_s=0.2), StoryPage(bus) as page:
        yield page


@pytest.mark.parametrize(
    "width",
    [
        1440,
        pytest.param(
            390, marks=pytest.mark.skipif("HEADRACE_DEEP" not in os.environ, reason="HEADRACE_DEEP is not set")
        ),
    ],
)
async def test_nothing_on_any_page_moves_while_frames_come(served: StoryPage, opened: Opens, width: int) -> None:
    page = await opened(served.url, width=width, height=TALL if width > 1000 else 3 * TALL)
    await live(page)
    moved: dict[tuple[str, str], object] = {}
    for name in [one.name for one in PAGES]:
        await show(page, name)
        for place in FILLED[name]:
            await expect(page.locator(place).first).to_be_attached()
        before: list[str] = []
        begun: list[str] = await script(page, BOXES)
        for _ in range(LOOKS):  # what is filled for the first time may still move the rest
            if begun == before:
                break
            await after(page, SETTLED)
            before, begun = begun, await script(page, BOXES)
        assert len(begun) >= 3
        await script(page, WATCH.replace("MOVING", repr(f"{LISTS}, {PICTURES}, {UNITS}")))
        await after(page, WATCHED)
        now = await script(page, BOXES)
        if now != begun:
            moved[name, "boxes"] = [pair for pair in zip(begun, now, strict=True) if pair[0] != pair[1]]
        if shifts := await script(page, "window.shifts"):
            moved[name, "shifts"] = shifts
    assert moved == {}, "\n".join(f"{where}: {what}" for where, what in moved.items())


async def after(page: Page, frames: int) -> None:
    """Let so many frames come."""
    number = await script(page, "headrace.store.number")
    await until(page, f"headrace.store.number > {number + frames}")
