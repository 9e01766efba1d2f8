"""What stands still while numbers move: no part of a page changes its place because a frame came."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from headrace.settings import Settings
from tests.e2e.acting import live, script, until
from tests.e2e.conftest import Opens
from tests.unit.frames import Story, StoryBus, StoryPage

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

BOXES = """[...document.querySelectorAll(".card, .tile")].map((part) => {
  const { x, y, width, height } = part.getBoundingClientRect();
  return [part.id, ...[x, y, width, height].map(Math.round)].join(" ");
})"""
TALL = 2600
"""A window in which the whole page is in view, three times as long on a phone: what is not is not drawn."""
FRAMES = 12
SETTLED = 4
"""Frames after which a page that has just been opened has everything in its place."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def served() -> AsyncIterator[StoryPage]:
    """A dashboard with ninety seconds of a story behind it."""
    async with StoryPage(StoryBus(Settings(), Story.steady(time.time()), past_s=90)) as page:
        yield page


@pytest.mark.parametrize("width", [1440, 390])
async def test_tiles_and_cards_keep_their_places_while_frames_come(
    served: StoryPage, opened: Opens, width: int
) -> None:
    page = await opened(served.url, width=width, height=TALL if width > 1000 else 3 * TALL)
    await live(page)
    await expect(page.locator("#chart-throughput .scatterlayer path.js-line").first).to_be_attached()
    await expect(page.locator("#rows-predictions tr")).to_have_count(10)
    before: list[str] = []
    begun: list[str] = await script(page, BOXES)
    while begun != before:  # what is filled for the first time may still move the rest
        await after(page, SETTLED)
        before, begun = begun, await script(page, BOXES)
    assert len(begun) > 10
    await after(page, FRAMES)
    assert await script(page, BOXES) == begun


async def after(page: Page, frames: int) -> None:
    """Let so many frames come."""
    number = await script(page, "headrace.store.number")
    await until(page, f"headrace.store.number > {number + frames}")
