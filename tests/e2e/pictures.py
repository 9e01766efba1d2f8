"""`python -m tests.e2e.pictures`: the pictures in docs/images, of every page in both themes, made anew from a demo."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Literal

import click
import httpx
from playwright.async_api import Browser, ViewportSize, async_playwright

from headrace.dashboard.pages import PAGES
from headrace.embedded.probe import free_port
from headrace.testing import wait_until_sync
from tests.e2e.acting import live, script, until
from tests.e2e.conftest import OPTIONS, find_chromium

IMAGES = Path(__file__).parents[2] / "docs" / "images"
SIZE: ViewportSize = {"width": 1440, "height": 1000}
Theme = Literal["dark", "light"]
THEMES: tuple[Theme, ...] = ("dark", "light")
WARM_S = 240.0
"""Until rounds of training, a rush hour and labels have come."""
START_S = 120.0
DRAWN = 12
"""Frames in which everything in view was drawn, several times."""
OLDEST = "[...document.querySelectorAll('#rows-tail tr')].at(-1).dataset.value"


async def picture(browser: Browser, url: str, name: str, theme: Theme) -> None:
    """One page in one theme, once everything on it was drawn; on that of events one is followed."""
    page = await browser.new_page(viewport=SIZE, color_scheme=theme, reduced_motion="reduce")
    await page.goto(f"{url}{'' if name == 'overview' else name}")
    await live(page)
    if name == "events":
        await until(page, "document.querySelectorAll('#rows-tail tr').length > 20")
        await page.goto(f"{url}events?trace={await script(page, OLDEST)}")
        await live(page)
    number = await script(page, "headrace.store.number")
    await until(page, f"headrace.store.number > {number + DRAWN}")
    await script(page, "window.scrollTo(0, 0)")
    await page.screenshot(path=IMAGES / f"{name}-{theme}.png")
    await page.close()


async def pictures(url: str, chromium: str) -> None:
    """All of them."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=list(OPTIONS))
        for theme in THEMES:
            for page in PAGES:
                await picture(browser, url, page.name, theme)
                click.echo(f"{page.name}-{theme}.png", err=True)
        await browser.close()


def ready(url: str) -> bool:
    """Whether a dashboard has something to show."""
    with suppress(httpx.HTTPError):
        return httpx.get(f"{url}readyz").is_success
    return False


def of_a_demo(chromium: str, warm_s: float) -> None:
    """Start a demo, let it run for a while, take the pictures."""
    url = f"http://127.0.0.1:{free_port()}/"
    with tempfile.TemporaryDirectory(prefix="headrace-pictures-") as home:
        port = url.rstrip("/").rpartition(":")[2]
        words = ("demo", "--fresh", "--no-browser", "--port", port, "--gateway-port", "0")
        demo = subprocess.Popen([sys.executable, "-m", "headrace", *words], env={**os.environ, "HOME": home})
        try:
            wait_until_sync(lambda: ready(url), START_S, "the demo to be ready")
            time.sleep(warm_s)
            asyncio.run(pictures(url, chromium))
        finally:
            demo.terminate()
            demo.wait()


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--url", default="", help="Of a page that runs already, instead of a demo's.")
@click.option("--warm", "warm_s", default=WARM_S, show_default=True, help="Seconds for which the demo runs before.")
def main(url: str, warm_s: float) -> None:
    """Make the pictures of docs/images anew."""
    chromium = find_chromium()
    if chromium is None:
        raise click.ClickException("no Chromium on PATH; on Debian and Ubuntu: apt-get install -y chromium")
    if url:
        asyncio.run(pictures(url, chromium))
    else:
        of_a_demo(chromium, warm_s)


if __name__ == "__main__":
    main()
