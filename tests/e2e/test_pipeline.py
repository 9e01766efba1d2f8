"""A page over the real pipeline: what it shows is what a recount of the logs gives, whichever process is restarted."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from headrace.bus import Bus
from headrace.channels import JOINED, LABELS, REQUESTS, RESULTS
from headrace.codec import decode
from headrace.embedded import EmbeddedServer, EmbeddedSettings
from headrace.embedded.probe import free_port
from headrace.events import PredictionJoined, PredictionLabelled, PredictionRequested, PredictionScored, stamped
from headrace.models.datasets import load
from headrace.models.registry import Registry
from headrace.models.training import train
from headrace.settings import Settings
from headrace.testing import wait_until
from tests.e2e.acting import live, script, until
from tests.e2e.conftest import Opens
from tests.integration.test_processes import Command, environment, headrace

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(150),
    pytest.mark.server,
    pytest.mark.slow,
]

REQUESTS_SENT = 400
LABELLED = 300
TALL = 2600
PATIENCE_S = 45.0


@dataclass
class Pipeline:
    """A server and the three processes on it, each to be restarted while a page is open."""

    settings: Settings
    server: EmbeddedServer
    home: Path
    port: int
    url: str
    stack: ExitStack
    running: dict[str, tuple[ExitStack, Command]]

    def start(self, name: str) -> None:
        words, ready = {
            "scorer": (("scorer",), "scorer ready"),
            "aggregator": (("aggregator",), "ready"),
            "dashboard": (("dashboard", "--port", str(self.port)), "http://"),
        }[name]
        own = self.stack.enter_context(ExitStack())
        command = own.enter_context(headrace(*words, environ=environment(self.settings, self.home)))
        self.running[name] = own, command
        command.said(ready, timeout_s=PATIENCE_S)

    def stop(self, name: str) -> None:
        own, command = self.running.pop(name)
        command.end()
        own.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def pipeline(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pipeline]:
    """A scorer, an aggregator and a dashboard as processes, with the digits model in service."""
    home = tmp_path_factory.mktemp("pipeline")
    registry = Registry(home / "models")
    trained = train("digits")
    registry.promote("digits", registry.save(trained.estimator, trained.card).version)
    with ExitStack() as stack:
        server = stack.enter_context(EmbeddedServer(EmbeddedSettings(appendfsync="always")))
        settings = Settings(redis_url=server.url, prefix="pipe", models=registry.folder)
        port = free_port()
        made = Pipeline(settings, server, home, port, f"http://127.0.0.1:{port}/", stack, {})
        await asyncio.gather(*(asyncio.to_thread(made.start, name) for name in ("scorer", "aggregator", "dashboard")))
        await fill(settings)
        yield made


async def fill(settings: Settings) -> None:
    """Ask for digits, and say of most of them what they are; every tenth label is wrong on purpose."""
    data = load("digits")
    rows, truths = data.held_out_x[:REQUESTS_SENT], data.held_out_y[:REQUESTS_SENT]
    requests = [
        PredictionRequested(model="digits", inputs=[row.tolist()], label=n < LABELLED)
        for n, row in enumerate(rows[n % len(rows)] for n in range(REQUESTS_SENT))
    ]
    async with Bus(settings) as bus:
        receipt = await bus.publish(REQUESTS, [stamped(request, "test") for request in requests])
        labels = []
        for n, position in enumerate(receipt.positions[:LABELLED]):
            truth = int(truths[n % len(truths)])
            labels.append(
                stamped(
                    PredictionLabelled(prediction=f"0-{position}", labels=[(truth + 1) % 10 if n % 10 == 0 else truth]),
                    "test",
                )
            )
        await bus.publish(LABELS, labels)

        async def joined() -> bool:
            return (
                sum([len(e.predictions) for e in await log(bus, JOINED) if isinstance(e, PredictionJoined)]) >= LABELLED
            )

        await wait_until(joined, PATIENCE_S, "all labels to be joined")


async def log(bus: Bus, channel: str) -> list[object]:
    """All events of a log, recounted from its beginning."""
    return [decode(entry.payload) for entry in await bus.read(channel, count=100_000)]


async def shown(page: Page, place: str, pattern: str, expected: str) -> None:
    """Wait until a text of the page says what was counted."""

    async def said() -> bool:
        found = re.search(pattern, await page.locator(place).text_content() or "")
        return found is not None and found[1].replace(",", "") == expected

    await wait_until(said, PATIENCE_S, f"{place} to say {expected}")


async def check_numbers(page: Page, settings: Settings) -> None:
    """Published, scored and accuracy on the page are those of the logs."""
    async with Bus(settings) as bus:
        published = await bus.length(REQUESTS) + await bus.length(LABELS)
        scored = [event for event in await log(bus, RESULTS) if isinstance(event, PredictionScored)]
        pairs = [
            (told, true)
            for event in await log(bus, JOINED)
            if isinstance(event, PredictionJoined)
            for told, true in zip(event.predicted, event.actual, strict=True)
        ]
    results = sum(len(event.ids) for event in scored)
    right = sum(told == true for told, true in pairs)
    assert (published, results, len(pairs)) == (REQUESTS_SENT + LABELLED, REQUESTS_SENT, LABELLED)
    assert 0 < right < len(pairs)
    await shown(page, "#tile-in .note", r"^([\d,]+) in all", str(published))
    await shown(page, "#tile-scored .note", r"^([\d,]+) in all", str(results))
    await shown(page, "#rows-models tr:first-child td:last-child", r"n ([\d,]+)$", str(len(pairs)))
    await expect(page.locator("#rows-models tr:first-child td:last-child span")).to_have_text(
        f"{100 * right / len(pairs):.1f} %"
    )
    cells = await script(
        page,
        "[...document.querySelectorAll('#matrix td.number')].map((cell) => Number(/: (\\d+) of/.exec(cell.title)[1]))",
    )
    assert sum(cells) == len(pairs)
    assert sum(cells[11 * n] for n in range(10)) == right


async def test_numbers_are_those_of_the_logs_through_every_restart(pipeline: Pipeline, opened: Opens) -> None:
    page = await opened(pipeline.url, height=TALL, outage=True)
    await live(page)
    await check_numbers(page, pipeline.settings)
    await script(page, "window.sameDocument = true")

    await asyncio.to_thread(pipeline.stop, "dashboard")
    await expect(page.locator("#pill")).to_have_attribute("data-state", "gone")
    since = await script(page, "headrace.store.tiers[0].times[0]")
    await asyncio.to_thread(pipeline.start, "dashboard")
    await live(page)
    assert await script(page, "headrace.store.tiers.at(-1).times[0]") <= since + 3, "the past is there again"
    await check_numbers(page, pipeline.settings)

    await asyncio.to_thread(pipeline.stop, "aggregator")
    await expect(page.locator("#pill")).to_have_attribute("data-state", "stale")
    await asyncio.to_thread(pipeline.start, "aggregator")
    await live(page)
    await check_numbers(page, pipeline.settings)

    await asyncio.to_thread(pipeline.server.kill)
    await expect(page.locator("#pill")).to_have_attribute("data-state", "stale")
    await expect(page.locator("#pill")).to_contain_text("no server")
    await asyncio.to_thread(pipeline.server.restart)
    await live(page)
    await check_numbers(page, pipeline.settings)
    assert await script(page, "window.sameDocument") is True

    fresh = await opened(pipeline.url, height=TALL)
    await live(fresh)
    await until(fresh, f"headrace.store.tiers.at(-1).times[0] <= {since + 3}")
    await check_numbers(fresh, pipeline.settings)
