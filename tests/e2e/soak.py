"""`python -m tests.e2e.soak`: a page left open on a live pipeline may not grow, and outages of minutes may not end it.

A reader goes from page to page all the time. Heap, nodes and listeners, without what is garbage, must be at the end
what they were once everything was warm. Then the dashboard is away for minutes, then the server of the events: after
each the page must go on by itself, without a reload, and have its history.
"""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import click
import httpx
from playwright.async_api import CDPSession, Page, async_playwright

from headrace.dashboard.history import TIERS
from headrace.dashboard.pages import PAGES
from headrace.embedded.probe import free_port
from headrace.testing import wait_until
from tests.chaos.stage import START_S, Stage, prepare_models
from tests.e2e.acting import script, show, until
from tests.e2e.conftest import OPTIONS, find_chromium

NAMES = [page.name for page in PAGES]
CHANGES = 54
"""Page changes at least, nine rounds; in a longer soak one every `EVERY_S` seconds."""
EVERY_S = 15.0
WARM = 1 / 3
"""This part of the rounds may grow: pages are new, and a quarter of an hour of history comes together."""
RATE = 60
BACK_S = 60.0
"""How long after an outage a page may take until it is live: the longest delay between two tries, on a busy machine."""
SLACK_S = 30.0
"""By so much the oldest history may be younger than what pages keep: steps of seconds, and a look that came late."""
KEPT_S = TIERS[-1][1]
LIMITS = {"JSHeapUsedSize": (1.15, 2_000_000), "Nodes": (1.15, 300), "JSEventListeners": (1.1, 20)}
"""Of each count: how many times as much as when it was warm, and how much more on top."""
SHOWN = {"JSHeapUsedSize": "heap, bytes", "Nodes": "nodes", "JSEventListeners": "listeners"}
EXPECTED = re.compile("ERR_CONNECTION|WebSocket|status of 503|ERR_INCOMPLETE|Failed to fetch")
"""What a browser reports of an outage by itself."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the table."""

    what: str
    before: str
    after: str
    holds: bool


def grown(samples: list[dict[str, float]]) -> list[Line]:
    """Medians of the first and the last third of what came after the warm part. Pure."""
    steady = samples[int(len(samples) * WARM) :]
    part = max(1, len(steady) // 3)
    lines = []
    for name, (times, more) in LIMITS.items():
        early, late = (median(one[name] for one in some) for some in (steady[:part], steady[-part:]))
        lines.append(Line(SHOWN[name], f"{early:,.0f}", f"{late:,.0f}", late <= times * early + more))
    return lines


async def held(tools: CDPSession) -> dict[str, float]:
    """What the page holds, without what is garbage."""
    await tools.send("HeapProfiler.collectGarbage")
    found = await tools.send("Performance.getMetrics")
    return {metric["name"]: metric["value"] for metric in found["metrics"]}


async def ready(port: int) -> bool:
    """Whether a dashboard has something to show."""
    async with httpx.AsyncClient() as client:
        with suppress(httpx.HTTPError):
            return (await client.get(f"http://127.0.0.1:{port}/readyz")).is_success
    return False


async def wander(page: Page, tools: CDPSession, minutes: float) -> list[dict[str, float]]:
    """Go from page to page, and count after each round, on the overview."""
    changes = max(CHANGES, int(60 * minutes / EVERY_S))
    began, samples = time.monotonic(), []
    for n in range(1, changes + 1):
        await show(page, NAMES[n % len(NAMES)])
        await asyncio.sleep(max(0.0, began + 60 * minutes * n / changes - time.monotonic()))
        if n % len(NAMES) == 0:
            await until(page, "headrace.store.sections.overview && document.hidden === false")
            samples.append(await held(tools))
    return samples


async def state(page: Page, wanted: str, patience_s: float = BACK_S) -> float:
    """Wait until the page says so: how long that took."""
    began = time.monotonic()

    async def said() -> bool:
        return bool(await script(page, f"document.getElementById('pill')?.dataset.state === {wanted!r}"))

    await wait_until(said, patience_s, f"the page to be {wanted}")
    return time.monotonic() - began


async def outage(
    page: Page,
    what: str,
    shows: str,
    minutes: float,
    end: Callable[[], Awaitable[object]],
    begin: Callable[[], Awaitable[object]],
) -> Line:
    """Take something away for minutes, give it back, and see the page go on."""
    oldest = "headrace.store.tiers.at(-1).times[0]"
    since, begun, number = await script(page, f"[{oldest}, headrace.store.time, headrace.store.number]")
    await end()
    try:
        await state(page, shows)
        await asyncio.sleep(60 * minutes)
        await begin()
        took = await state(page, "live")
        await until(page, f"headrace.store.number > {number + 8}", BACK_S)
    except AssertionError as error:
        return Line(what, f"{minutes:g} min", str(error), False)
    same, there, now = await script(page, f"[window.sameDocument === true, {oldest}, headrace.store.time]")
    kept = there < begun and there <= max(since, now - KEPT_S) + SLACK_S
    said = f"live after {took:.1f} s" + ("" if same else ", by a reload")
    said += "" if kept else f", history begins {now - there:.0f} s ago"
    return Line(what, f"{minutes:g} min", said, same and kept)


async def soak(minutes: float, away: float, folder: Path, models: Path, chromium: str) -> list[Line]:
    """Every line of the table."""
    port = free_port()
    async with Stage(folder, models, 1) as stage, async_playwright() as playwright:
        for words in (("scorer",), ("aggregator",), ("traffic", "--rate", str(RATE))):
            stage.start(*words)
        serving = stage.start("dashboard", "--port", str(port))
        browser = await playwright.chromium.launch(executable_path=chromium, args=list(OPTIONS))
        page = await browser.new_page(viewport={"width": 1440, "height": 900})
        complaints: list[str] = []

        def complained(text: str) -> None:
            if not EXPECTED.search(text):
                complaints.append(text)

        page.on("console", lambda said: complained(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complained(str(error)))
        await stage.until(partial(ready, port), "the dashboard to be ready", START_S)
        await page.goto(f"http://127.0.0.1:{port}/")
        await state(page, "live")
        await script(page, "window.sameDocument = true")
        tools = await page.context.new_cdp_session(page)
        await tools.send("Performance.enable")
        click.echo(f"{minutes:g} minutes from page to page", err=True)
        lines = grown(await wander(page, tools, minutes))
        viewers = await script(page, "headrace.store.sections.status.viewers")
        lines.append(Line("sockets", "1", f"{viewers}", viewers == 1))

        async def serve() -> None:
            nonlocal serving
            serving = stage.start("dashboard", "--port", str(port))

        click.echo(f"{away:g} minutes without the dashboard", err=True)
        lines.append(await outage(page, "dashboard away", "gone", away, lambda: stage.end_well(serving), serve))
        click.echo(f"{away:g} minutes without the server of the events", err=True)
        lines.append(
            await outage(
                page,
                "server away",
                "stale",
                away,
                lambda: asyncio.to_thread(stage.server.kill),
                lambda: asyncio.to_thread(stage.server.restart),
            )
        )
        lines.append(Line("complaints", "0", "; ".join(complaints[:3]) or "0", not complaints))
        lines += [Line("a process", "ends well", note, False) for note in stage.outcome.notes]
        await browser.close()
        return lines


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--minutes", type=click.FloatRange(0, min_open=True), default=30.0, show_default=True)
@click.option(
    "--outage", "away", type=click.FloatRange(0, min_open=True), default=3.0, show_default=True, help="Minutes, twice."
)
def main(minutes: float, away: float) -> None:
    """Leave a page open, and say whether it grew and whether it survived what was away."""
    chromium = find_chromium()
    if chromium is None:
        raise click.ClickException("no Chromium on PATH; on Debian and Ubuntu: apt-get install -y chromium")
    with tempfile.TemporaryDirectory(prefix="headrace-open-") as base:
        models = prepare_models(Path(base) / "models")
        lines = asyncio.run(soak(minutes, away, Path(base) / "stage", models, chromium))
    for line in lines:
        click.echo(f"{'ok' if line.holds else 'NO':<4}{line.what:<16}{line.before:>14}  ->  {line.after}")
    sys.exit(0 if all(line.holds for line in lines) else 1)


if __name__ == "__main__":
    main()
