"""A real Chromium, and pages of it that must load nothing from elsewhere and complain of nothing.

Without Chromium these tests are skipped, visibly; HEADRACE_REQUIRE_BROWSER=1 makes that a failure.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Error, Page, Request, WebSocket, async_playwright, expect

from tests.e2e.acting import PATIENCE_S

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
expect.set_options(timeout=1000 * PATIENCE_S)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test of this folder needs a browser."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.browser)


def find_chromium() -> str | None:
    """Path of the browser; None if there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the browser; without one the test is skipped."""
    found = find_chromium()
    if found is None:
        if os.environ.get("HEADRACE_REQUIRE_BROWSER") == "1":
            pytest.fail(HOW)
        pytest.skip(HOW)
    return found


Opens = Callable[..., Awaitable[Page]]


class Windows:
    """Windows of one browser. To open one costs as much as to load a page into it, so they are used again.

    What a page kept is cleared before. A test that does to a page what would stay asks for a window of its `own`.
    """

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._spare: list[Page] = []

    async def take(self, own: bool) -> Page:
        return self._spare.pop() if self._spare and not own else await self._browser.new_page()

    async def give_back(self, page: Page, own: bool) -> None:
        if own or page.url.startswith("file:"):
            await page.close()
            return
        await page.evaluate("[localStorage.clear(), sessionStorage.clear()]")
        await page.goto("about:blank")
        await page.context.clear_cookies()
        self._spare.append(page)

    @asynccontextmanager
    async def opening(self) -> AsyncIterator[Opens]:
        """Opens pages: `await opened(url, width=1440, theme="dark")`. At the end none may have complained.

        With `outage` the test takes the server away, which browsers report.
        """
        taken: list[tuple[Page, bool, dict[str, Callable[..., None]]]] = []
        complaints: list[str] = []
        strangers: list[str] = []

        async def open_page(
            url: str,
            *,
            width: int = 1440,
            height: int = 1000,
            theme: Literal["dark", "light"] = "dark",
            outage: bool = False,
            own: bool = False,
        ) -> Page:
            page = await self.take(own)
            await page.set_viewport_size({"width": width, "height": height})
            await page.emulate_media(
                color_scheme=theme, reduced_motion="reduce"
            )  # what breathes costs, and says nothing
            here = urlsplit(url).netloc

            def on_console(message: ConsoleMessage) -> None:
                gone = outage and re.search("ERR_CONNECTION|WebSocket|status of 503", message.text)
                if message.type in ("error", "warning") and not gone:
                    complaints.append(message.text)

            def on_request(asked: Request) -> None:
                parts = urlsplit(asked.url)
                if parts.scheme not in ("data", "blob") and parts.netloc != here:
                    strangers.append(asked.url)

            def on_socket(socket: WebSocket) -> None:
                if urlsplit(socket.url).netloc != here:
                    strangers.append(socket.url)

            def on_error(error: Error) -> None:
                complaints.append(str(error))

            heard: dict[str, Callable[..., None]] = {
                "console": on_console,
                "pageerror": on_error,
                "request": on_request,
                "websocket": on_socket,
            }
            taken.append((page, own, heard))
            for event, listener in heard.items():
                page.on(event, listener)  # type: ignore[call-overload]
            await page.goto(url)
            return page

        try:
            yield open_page
        finally:
            for page, own, heard in taken:
                for event, listener in heard.items():
                    page.remove_listener(event, listener)
                await self.give_back(page, own)
        assert complaints == []
        assert strangers == []


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    """One browser for the tests of a worker."""
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=chromium, args=list(OPTIONS))
        yield launched
        await launched.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def windows(browser: Browser) -> Windows:
    """Its windows."""
    return Windows(browser)


@pytest_asyncio.fixture(loop_scope="session")
async def opened(windows: Windows) -> AsyncIterator[Opens]:
    """Opens pages for one test, see Windows.opening."""
    async with windows.opening() as opens:
        yield opens
