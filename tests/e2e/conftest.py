"""A real Chromium, and pages of it that must load nothing from elsewhere and complain of nothing.

Without Chromium these tests are skipped, visibly; HEADRACE_REQUIRE_BROWSER=1 makes that a failure.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Page, Request, async_playwright

HERE = Path(__file__).parent
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
HOW = "no Chromium on PATH, so the browser tests did not run; on Debian and Ubuntu: apt-get install -y chromium"
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test of this folder needs a browser."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the browser."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        if os.environ.get("HEADRACE_REQUIRE_BROWSER") == "1":
            pytest.fail(HOW)
        pytest.skip(HOW)
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    """One browser for the tests of a module."""
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=chromium, args=list(OPTIONS))
        yield launched
        await launched.close()


Opens = Callable[..., Awaitable[Page]]


@pytest_asyncio.fixture(loop_scope="module")
async def opened(browser: Browser) -> AsyncIterator[Opens]:
    """Opens pages: `await opened(url, width=1440, theme="dark")`. At the end none may have complained.

    With `outage` the test takes the server away, which browsers report.
    """
    pages: list[Page] = []
    complaints: list[str] = []
    strangers: list[str] = []

    async def open_page(
        url: str,
        *,
        width: int = 1440,
        height: int = 1000,
        theme: Literal["dark", "light"] = "dark",
        outage: bool = False,
    ) -> Page:
        page = await browser.new_page(viewport={"width": width, "height": height}, color_scheme=theme)
        own = urlsplit(url).netloc

        def on_console(message: ConsoleMessage) -> None:
            gone = outage and re.search("ERR_CONNECTION|WebSocket|status of 503", message.text)
            if message.type in ("error", "warning") and not gone:
                complaints.append(message.text)

        def on_request(asked: Request) -> None:
            parts = urlsplit(asked.url)
            if parts.scheme not in ("data", "blob") and parts.netloc != own:
                strangers.append(asked.url)

        page.on("console", on_console)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", on_request)
        page.on("websocket", lambda one: strangers.append(one.url) if urlsplit(one.url).netloc != own else None)
        await page.goto(url)
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        await page.close()
    assert complaints == []
    assert strangers == []
