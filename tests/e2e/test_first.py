"""The very first events: one of each kind shows on every page, in the singular, and nothing that is drawn is broken."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from headrace.bus import Bus
from headrace.channels import JOINED, LABELS, REQUESTS, RESULTS, RUNS
from headrace.dashboard import serve
from headrace.events import PredictionLabelled, PredictionRequested, RunMetrics, RunStarted, stamped
from headrace.heartbeat import Heartbeat
from headrace.models.registry import Registry
from headrace.settings import Settings
from headrace.subscriber.aggregation.aggregator import run_aggregator
from headrace.subscriber.scoring.scorer import Scorer
from headrace.subscriber.scoring.shelf import Shelf
from headrace.testing import wait_until
from tests.e2e.acting import PATIENCE_S, live, script, show, until
from tests.e2e.conftest import Opens
from tests.unit.frames import digit
from tests.unit.served import shelf

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120), pytest.mark.server]

TALL = 2600
SAID = """[...document.querySelectorAll("main, main [title], main [aria-label], main text")].flatMap((one) => [
  one.matches("main") ? one.innerText : one.matches("text") ? one.textContent : "",
  one.title || "", one.getAttribute("aria-label") || ""])"""
AXES = """[...document.querySelectorAll(".card:not([data-empty=yes]) .js-plotly-plot")]
  .filter((plot) => plot.offsetParent && plot.data?.length).flatMap((plot) =>
  ["x", "y"].map((axis) => ({
    where: `${plot.parentElement.id} ${axis}`,
    range: plot.layout[`${axis}axis`].range,
    ticks: [...plot.querySelectorAll(`.${axis}tick text`)].map((tick) => tick.textContent),
  })))"""
BROKEN = re.compile(r"NaN|Infinity|∞|undefined|\bnull\b|\[object")
ONE_OF_MANY = re.compile(r"(?<![\d.,@:/–-])1 (?!ms\b|is\b|was\b|has\b)([a-z]+s)\b(?!/)")


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[tuple[Bus, str]]:
    """A scorer, an aggregator and a dashboard that have seen nothing yet."""
    registry, stop, urls = Registry(settings.models), asyncio.Event(), list[str]()
    async with Bus(settings) as bus, Bus(settings) as others:
        models = Shelf(registry)
        models.load()
        scorer = Scorer(others, models, "scorer-1")
        async with Heartbeat(others, "scorer", lambda: scorer.tally, worker="scorer-1"):
            tasks = [
                asyncio.create_task(scorer.run(stop)),
                asyncio.create_task(run_aggregator(settings, others, stop=stop, cards=registry.get)),
                asyncio.create_task(serve(settings, bus, "127.0.0.1", 0, urls.append)),
            ]
            try:
                await wait_until(lambda: urls, PATIENCE_S, "the dashboard to listen")
                yield bus, urls[0]
            finally:
                stop.set()
                tasks[2].cancel()
                await asyncio.wait(tasks)


async def sound(page: Page) -> None:
    """Wait until the page was drawn twice; then nothing on it is broken or in a false plural."""
    number = await script(page, "headrace.store.number")
    await until(page, f"headrace.store.number > {number + 4}")
    said: list[str] = await script(page, SAID)
    assert [text for text in said if BROKEN.search(text)] == []
    assert [found[0] for text in said for found in ONE_OF_MANY.finditer(text)] == []
    for axis in await script(page, AXES):
        low, high = axis["range"]
        assert float(low) < float(high), axis
        assert len(set(axis["ticks"])) == len(axis["ticks"]), axis


async def one_came(bus: Bus, channel: str) -> None:
    async def there() -> bool:
        return await bus.length(channel) == 1

    await wait_until(there, PATIENCE_S, f"one event in {channel}")


async def test_one_event_of_each_kind_looks_right_on_every_page(
    server_settings: Settings, opened: Opens, tmp_path: Path
) -> None:
    shelf(tmp_path / "models")
    settings = replace(server_settings, models=tmp_path / "models")
    async with running(settings) as (bus, url):
        page = await opened(url, height=TALL, outage=True)  # the dashboard ends before the page
        await live(page)
        receipt = await bus.publish(
            REQUESTS, [stamped(PredictionRequested(model="digits", inputs=[[*digit(3, 1)]], label=True), "test")]
        )
        await one_came(bus, RESULTS)
        await expect(page.locator("#tile-in .note")).to_have_text(re.compile(r"^1 in all"))
        await expect(page.locator("#tile-scored .note")).to_have_text(re.compile(r"^1 in all"))
        await expect(page.locator("#tile-depth .value b")).to_have_text("0")
        await expect(page.locator("#rows-predictions tr")).to_have_count(1)
        await sound(page)

        await bus.publish(
            LABELS, [stamped(PredictionLabelled(prediction=f"0-{receipt.positions[0]}", labels=["3"]), "test")]
        )
        await one_came(bus, JOINED)
        await bus.publish(
            RUNS,
            [
                stamped(RunStarted(run="r1", name="first", total_steps=1), "test"),
                stamped(RunMetrics(run="r1", step=1, metrics={"loss": 0.25}), "test"),
            ],
        )
        await expect(page.locator("#tile-accuracy .note")).to_contain_text("n 1")
        await expect(page.locator("#rows-runs tr")).to_contain_text("first")
        await sound(page)

        await show(page, "models")
        await expect(page.locator("#brief-labels b")).to_have_text("1")
        await expect(page.locator("#rows-fleet tr").first).to_contain_text("n 1")
        await sound(page)

        await show(page, "training")
        await expect(page.locator("#runs-shown")).to_contain_text(re.compile(r"^1 run\b"))
        await expect(page.locator("#rows-all-runs tr:not(.spacer)")).to_have_count(1)
        await expect(page.locator("#plots canvas").first).to_be_attached()
        await sound(page)

        await bus.publish(REQUESTS, [stamped(PredictionRequested(model="nobody", inputs=[[1.0]]), "test")])
        await show(page, "queues")
        await expect(page.locator("#rows-groups tr", has_text="requests → scorers")).to_contain_text("2 committed")
        await sound(page)

        await show(page, "dead")
        await expect(page.locator("#dead-shown")).to_contain_text("1 shown of 1 letter that waits")
        await sound(page)

        await show(page, "events")
        await expect(page.locator("#rows-tail tr")).to_have_count(2)
        await sound(page)
