"""What browser tests do with a page: wait for it, ask it, move about in it."""

from __future__ import annotations

from typing import Any

from playwright.async_api import Page, expect

from headrace.testing import wait_until

PATIENCE_S = 30.0
"""What a page is waited for, on a machine that has much else to do."""


async def live(page: Page) -> None:
    """Wait until the page says that it is live."""
    await expect(page.locator("#pill")).to_have_attribute("data-state", "live")


async def script(page: Page, text: str) -> Any:
    """The value of an expression in the page."""
    return await page.evaluate(text)


async def until(page: Page, text: str, timeout_s: float = PATIENCE_S) -> None:
    """Wait for an expression to be true. Not by the page itself, whose policy forbids eval."""

    async def holds() -> bool:
        return bool(await script(page, text))

    await wait_until(holds, timeout_s, text)


async def place(page: Page) -> tuple[int, float]:
    """Number and time of the newest frame that the page has."""
    number, time = await script(page, "[headrace.store.number, headrace.store.time]")
    return number, time


async def missing(page: Page, since: tuple[int, float]) -> int:
    """Frames after `since` that the page does not have."""
    number, have = await script(
        page, f"[headrace.store.number, headrace.store.tiers[0].times.filter((t) => t > {since[1]}).length]"
    )
    return int(number - since[0] - have)


async def show(page: Page, name: str) -> None:
    """Go to another page by its link, and wait until it is up. No handle of an element is left, which would keep it."""
    await page.evaluate("(name) => document.getElementById(`to-${name}`).click()", name)
    await until(page, f"document.getElementById('page-{name}') !== null")
