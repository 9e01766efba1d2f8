"""Scorers killed in the middle of 100,000 requests: exactly 100,000 results, and statistics equal to the recount."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from headrace.arrays import pack
from headrace.audit import audit
from headrace.bus import Bus, PublishCall
from headrace.channels import REQUESTS, SCORERS
from headrace.codec import encode
from headrace.embedded import EmbeddedServer
from headrace.events import PredictionRequested, new_id
from headrace.models.datasets import load
from headrace.models.registry import Registry
from headrace.models.training import train
from headrace.settings import Settings
from headrace.testing import wait_until

COUNT = 100_000
BATCH = 500

Start = Callable[[], subprocess.Popen[bytes]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    registry = Registry(folder)
    trained = train("digits")
    registry.promote("digits", registry.save(trained.estimator, trained.card).version)
    return folder


@pytest.fixture
def settings(own_server: EmbeddedServer, models: Path) -> Settings:
    return Settings(redis_url=own_server.url, prefix="kill", models=models, claim_ms=500)


@pytest.fixture
def start(settings: Settings) -> Iterator[Start]:
    """Start a scorer as a process of its own; what still runs at the end is killed."""
    running: list[subprocess.Popen[bytes]] = []
    environ = os.environ | {
        "REDIS_URL": settings.redis_url,
        "HEADRACE_PREFIX": settings.prefix,
        "HEADRACE_MODELS": str(settings.models),
        "HEADRACE_CLAIM_MS": str(settings.claim_ms),
    }

    def one() -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "headrace", "scorer"],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        running.append(process)
        return process

    yield one
    for process in running:
        process.kill()
        process.wait()


async def fill(bus: Bus, count: int) -> None:
    rows = load("digits").held_out_x.astype("<f4")
    parts = [pack(row[None]) for row in rows]
    producer = new_id()
    for first in range(0, count, BATCH):
        now = time.time()
        events = [
            encode(PredictionRequested(id=new_id(), time=now, model="digits", inputs=parts[(first + i) % len(parts)]))
            for i in range(BATCH)
        ]
        await bus.publish_batch(PublishCall(REQUESTS, 0, producer, first + 1, events))


async def undecided(bus: Bus) -> int:
    """What the scorers still have to decide; everything while they have no group yet."""
    for group in await bus.groups(REQUESTS):
        if group.name == SCORERS:
            return group.lag + group.in_flight
    return await bus.length(REQUESTS)


async def in_flight(bus: Bus) -> int:
    return sum(group.in_flight for group in await bus.groups(REQUESTS))


@pytest.mark.slow
async def test_every_request_has_one_result_though_scorers_are_killed(settings: Settings, start: Start) -> None:
    async with Bus(settings) as bus:
        await fill(bus, COUNT)
        start()
        for killed in range(1, 5):
            victim = start()
            await wait_until(lambda: in_flight(bus), 20, "a scorer to hold entries")
            await wait_until(partial(_below, bus, COUNT - killed * COUNT // 8), 30, "the scorers to get on")
            victim.send_signal(signal.SIGKILL)
            victim.wait()
        await wait_until(lambda: _below(bus, 1), 60, "every request to be decided")
        books = await audit(bus)
    assert books.balanced, books.text()
    assert (books.published, books.scored, books.dead, books.waiting) == (COUNT, COUNT, 0, 0)
    assert books.seconds > 0


async def _below(bus: Bus, count: int) -> bool:
    return await undecided(bus) < count


@pytest.mark.slow
async def test_a_stopped_scorer_is_robbed_and_doubles_nothing_when_it_wakes(settings: Settings, start: Start) -> None:
    async with Bus(settings) as bus:
        await fill(bus, 20_000)
        sleeper = start()
        await wait_until(lambda: in_flight(bus), 20, "a scorer to hold entries")
        sleeper.send_signal(signal.SIGSTOP)
        start()
        await wait_until(lambda: _below(bus, 1), 60, "the other scorer to do everything")
        sleeper.send_signal(signal.SIGCONT)
        await fill(bus, 5_000)
        await wait_until(lambda: _below(bus, 1), 30, "the rest to be decided")
        sleeper.terminate()
        assert await asyncio.to_thread(sleeper.wait, 10) == 0
        books = await audit(bus)
    assert books.balanced, books.text()
    assert (books.scored, books.waiting) == (25_000, 0)


@pytest.mark.slow
async def test_a_killed_server_loses_nothing_of_what_it_accepted(
    settings: Settings, start: Start, own_server: EmbeddedServer
) -> None:
    async with Bus(settings) as bus:
        await fill(bus, 30_000)
        start()
        await wait_until(lambda: in_flight(bus), 20, "the scorer to hold entries")
        await asyncio.to_thread(own_server.kill)
        await asyncio.to_thread(own_server.restart)

        async def done() -> bool:
            try:
                return await _below(bus, 1)
            except Exception:
                return False

        await wait_until(done, 60, "every request to be decided after the restart")
        books = await audit(bus)
    assert books.balanced, books.text()
    assert (books.published, books.scored, books.waiting) == (30_000, 30_000, 0)
