"""Signing in with a real browser; and no page asks for more than its policy allows: the console stays silent."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Page, expect

from headrace.access import Role, Secret
from headrace.dashboard.pages import PAGES
from headrace.settings import Settings
from headrace.testing import wait_until
from tests.e2e.acting import PATIENCE_S, live, show
from tests.e2e.conftest import Opens
from tests.unit.frames import Story, StoryBus, StoryPage

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(90)]

OPERATOR, VIEWER = "operator-password", "viewer-password-1"
BOTH: dict[Role, Secret] = {"operator": Secret(OPERATOR), "viewer": Secret(VIEWER)}


def dashboard() -> StoryPage:
    bus = StoryBus(Settings(), Story.steady(time.time()), past_s=10)
    return StoryPage(bus, passwords=BOTH, prefix="/deep/headrace")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def locked() -> AsyncIterator[StoryPage]:
    """A dashboard with two passwords, under a path."""
    async with dashboard() as page:
        yield page


@pytest_asyncio.fixture(loop_scope="session")
async def besieged() -> AsyncIterator[StoryPage]:
    """Another one, which may grow wary of who asks."""
    async with dashboard() as page:
        yield page


async def sign_in(page: Page, password: str) -> None:
    await page.fill("#password", password)
    await page.click("button[type=submit]")


async def role(page: Page) -> str:
    found: str = await page.evaluate("document.documentElement.dataset.role || ''")
    return found


async def shown(page: Page) -> bool:
    """Whether a control that only operators may use would show."""
    found: bool = await page.evaluate(
        """(() => { const probe = document.createElement("b");
        probe.dataset.needs = "operator"; probe.textContent = "x";
        document.body.append(probe); const seen = probe.offsetParent !== null; probe.remove(); return seen; })()"""
    )
    return found


@pytest.mark.parametrize(("password", "name"), [(VIEWER, "viewer"), (OPERATOR, "operator")])
async def test_a_password_leads_to_the_page_that_was_asked_for(
    locked: StoryPage, opened: Opens, password: str, name: str
) -> None:
    page = await opened(f"{locked.url}queues?window=300")
    await expect(page).to_have_title("Sign in · headrace")
    await sign_in(page, password)
    await live(page)
    assert page.url == f"{locked.url}queues?window=300"
    await expect(page.locator("#session")).to_contain_text(f"Signed in as {name}")
    assert await role(page) == name
    assert await shown(page) is (name == "operator")
    await page.click("#session button")
    await expect(page).to_have_title("Sign in · headrace")
    await page.goto(locked.url)
    await expect(page).to_have_title("Sign in · headrace")


async def test_a_wrong_password_is_said_and_signs_nobody_in(besieged: StoryPage, browser: Browser) -> None:
    page = await browser.new_page(viewport={"width": 320, "height": 700}, java_script_enabled=False)
    await page.goto(besieged.url)
    await sign_in(page, "not-the-password")
    await expect(page.locator("[role=alert]")).to_have_text("This password is not right.")
    for _ in range(4):
        await sign_in(page, "not-the-password")
    await sign_in(page, OPERATOR)
    await expect(page.locator("[role=alert]")).to_have_text(re.compile(r"Try again in \d+ s\."))
    await page.close()


@pytest.mark.parametrize("theme", ["dark", "light"])
async def test_the_form_fits_a_phone_in_both_themes(locked: StoryPage, opened: Opens, theme: str) -> None:
    page = await opened(locked.url, width=320, height=640, theme=theme)
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await expect(page.locator("#password")).to_be_focused()
    ground, text = await page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    light, dark = (ground, text) if theme == "light" else (text, ground)
    assert sum(map(int, re.findall(r"\d+", light)[:3])) > 600
    assert sum(map(int, re.findall(r"\d+", dark)[:3])) < 300


async def test_an_open_page_goes_to_the_form_when_its_session_is_over(locked: StoryPage, browser: Browser) -> None:
    page = await browser.new_page()
    await page.goto(locked.url)
    await sign_in(page, VIEWER)
    await live(page)
    own = locked.url.removesuffix("/deep/headrace/")
    await page.request.post(f"{locked.url}sign-out", headers={"origin": own})
    await expect(page).to_have_title("Sign in · headrace")
    await page.close()


async def test_no_page_asks_for_more_than_its_policy_allows(locked: StoryPage, browser: Browser) -> None:
    page = await browser.new_page(viewport={"width": 1440, "height": 2600})
    said: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            said.append(message.text)

    page.on("console", hear)
    page.on("pageerror", lambda error: said.append(str(error)))
    await page.add_init_script(
        "addEventListener('securitypolicyviolation', (event) => console.error('policy', event.violatedDirective))"
    )
    await page.goto(locked.url)
    await sign_in(page, OPERATOR)
    await live(page)
    for kept in PAGES:
        await show(page, kept.name)
        number = await page.evaluate("headrace.store.number")

        async def drawn(since: int = number) -> bool:
            return bool(await page.evaluate(f"headrace.store.number > {since + 3}"))

        await wait_until(drawn, PATIENCE_S)
    await page.close()
    assert said == []
