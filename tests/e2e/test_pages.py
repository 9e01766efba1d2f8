"""Every page: readable by everybody, in both themes and at every width; one leads to the other with what was chosen."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from importlib.resources import files
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from headrace.dashboard.pages import PAGES
from headrace.settings import Settings
from tests.e2e.acting import live, script, show, until
from tests.e2e.conftest import Opens
from tests.unit.frames import Story, StoryBus, StoryPage

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(90)]

NAMES = [page.name for page in PAGES]
WIDTHS = (320, 390, 768, 1024, 1280)
TALL = 2600
CONTRAST = ["color-contrast", "link-in-text-block"]
"""Rules that what a theme changes can break: its colours. All others hold in both themes or in none."""
ALL_CARDS = "Object.values(headrace.pages.PAGE.cards ?? {}).map((card) => card(true)).length"
GROUND = "getComputedStyle(document.body).backgroundColor"
AUDIT = """async (rules) => {
  const only = rules ? { runOnly: { type: "rule", values: rules } } : {};
  const { violations } = await axe.run(document, { resultTypes: ["violations"], ...only });
  const where = ({ target, any }) => `${target}: ${any.map(({ message }) => message)}`;
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, nodes }) => `${id} at ${nodes.slice(0, 4).map(where).join(" | ")}`);
}"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def served() -> AsyncIterator[StoryPage]:
    """A dashboard with ninety seconds of a story behind it."""
    async with StoryPage(StoryBus(Settings(), Story.steady(time.time()), past_s=90)) as page:
        yield page


async def settled(page: Page) -> None:
    """Wait until what is in view was drawn: two pictures a second, one card in each animation frame."""
    number = await script(page, "headrace.store.number")
    await until(page, f"headrace.store.number > {number + 3}")


async def test_every_page_is_accessible_in_both_themes_and_as_wide_as_the_window(
    served: StoryPage, opened: Opens
) -> None:
    """By the rules of axe-core, https://github.com/dequelabs/axe-core, and scrolling sideways at no width."""
    page = await opened(served.url, height=TALL, own=True)
    await live(page)
    tools = await page.context.new_cdp_session(page)
    await tools.send("Page.setBypassCSP", {"enabled": True})
    await page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8"))
    found: dict[tuple[str, str | int], Any] = {}
    cards: dict[str, int] = {}
    for name in NAMES:
        await show(page, name)
        await settled(page)
        # A card that a choice hides may be drawn once more before it goes.
        cards[name] = await script(page, ALL_CARDS.replace("PAGE", name))
        found[name, "dark"] = await page.evaluate(AUDIT)
        ground = await script(page, GROUND)
        await page.emulate_media(color_scheme="light")
        await until(page, f"{GROUND} !== {ground!r} && headrace.theme.isDark() === false")
        found[name, "light"] = await page.evaluate(AUDIT, CONTRAST)
        for width in WIDTHS:
            await page.set_viewport_size({"width": width, "height": TALL})
            await until(page, f"innerWidth === {width}")
            found[name, width] = max(0, await script(page, "document.documentElement.scrollWidth") - width)
        await page.emulate_media(color_scheme="dark")
        await page.set_viewport_size({"width": 1440, "height": TALL})
    assert {where: what for where, what in found.items() if what} == {}
    assert {name for name, drawn in cards.items() if drawn > 3} == {"overview", "training", "models", "queues"}


async def test_the_page_that_is_up_is_in_view_in_the_navigation_of_a_phone(served: StoryPage, opened: Opens) -> None:
    page = await opened(served.url + NAMES[-1], width=390, height=800)
    await live(page)
    for name in (NAMES[-1], NAMES[0]):
        await show(page, name)
        await until(
            page,
            f"(() => {{ const link = document.getElementById('to-{name}').getBoundingClientRect(); "
            "const strip = document.getElementById('nav').getBoundingClientRect(); "
            "return link.left >= strip.left - 1 && link.right <= strip.right + 1; })()",
        )
        await expect(page.locator(f"#to-{name}")).to_have_attribute("aria-current", "page")


async def test_tiles_cards_and_rows_lead_to_their_pages_with_what_was_chosen(served: StoryPage, opened: Opens) -> None:
    page = await opened(served.url + "?window=300", height=TALL)
    await live(page)
    await script(page, "window.sameDocument = true")
    for leading, held in (
        ("#tile-depth h2 a", r"(^|/)queues$"),
        ("#tile-errors h2 a", r"(^|/)dead$"),
        ("#title-training a", r"training\?metric=loss"),
        ("#title-models a", r"models\?model=digits%403"),
        ("#rows-models tr:nth-child(2) a", r"models\?model="),
        ("#rows-runs tr:first-child a", r"training\?run="),
    ):  # a card is drawn once it is in view
        await expect(page.locator(leading)).to_have_attribute("href", re.compile(held))
    await page.locator("#tile-depth h2 a").click()
    await expect(page).to_have_url(re.compile(r"/queues\?window=300$"))
    await show(page, "overview")
    await page.locator("#rows-runs tr:first-child a").click()
    await expect(page).to_have_url(re.compile(r"/training\?(?=.*run=)(?=.*window=300)"))
    await show(page, "overview")
    await expect(page.locator("#title-models a")).to_have_attribute("href", re.compile("model="))
    await page.locator("#title-models a").click()
    await expect(page).to_have_url(re.compile(r"/models\?(?=.*model=digits%403)(?=.*window=300)"))
    assert await script(page, "window.sameDocument") is True


async def test_what_was_chosen_is_there_again_after_going_back(served: StoryPage, opened: Opens) -> None:
    page = await opened(served.url + "?window=300")
    await live(page)
    await page.locator("#tile-errors h2 a").click()
    await expect(page.locator("#page-dead")).to_be_attached()
    await page.go_back()
    await expect(page.locator("#page-overview")).to_be_attached()
    await expect(page.locator("[data-do=window][aria-pressed=true]")).to_have_text("5 m")
    await live(page)
