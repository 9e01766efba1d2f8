"""Aggregators as processes: killed, stopped and cut off, they fold everything exactly once, and one leads."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from headrace.bus import Bus
from headrace.channels import AGGREGATORS, FRAMES, JOINED, LABELS, MODELS, REQUESTS, RUNS, SCORERS
from headrace.codec import decode
from headrace.curves import read_curves, run_state
from headrace.embedded import EmbeddedServer
from headrace.errors import UnavailableError
from headrace.events import (
    Frame,
    ModelPromoted,
    ModelView,
    PredictionJoined,
    PredictionLabelled,
    PredictionRequested,
    RunMetrics,
)
from headrace.positions import Handle, Position
from headrace.settings import Settings
from headrace.testing import wait_until
from headrace.waiting import Waiting

PROGRAM = """
import asyncio, sys
from headrace.bus import Bus
from headrace.settings import Settings
from headrace.subscriber.aggregation.aggregator import run_aggregator

async def main():
    settings = Settings.load()
    async with Bus(settings) as bus:
        await run_aggregator(settings, bus, stop=asyncio.Event(), interval_s=0.1, worker=sys.argv[1])

asyncio.run(main())
"""
TERMS = 3
EVENTS_A_TERM = 6_000
LABELLED = 1_500


@pytest.fixture
async def bus(server_settings: Settings) -> AsyncIterator[Bus]:
    async with Bus(server_settings) as bus:
        yield bus


@contextmanager
def aggregator(settings: Settings, worker: str) -> Iterator[subprocess.Popen[bytes]]:
    """One aggregator in a process of its own, killed at the end."""
    environ = {**os.environ, "REDIS_URL": settings.redis_url, "HEADRACE_PREFIX": settings.prefix}
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, worker], env=environ)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def newest_frame(bus: Bus) -> Frame:
    """The newest frame; an empty one before the first."""
    found = await bus.read(FRAMES, count=1, newest_first=True)
    frame = decode(found[0].payload) if found else Frame()
    assert isinstance(frame, Frame)
    return frame


async def leads(bus: Bus, worker: str) -> bool:
    return (await newest_frame(bus)).aggregator == worker


async def depth(bus: Bus, channel: str) -> int:
    return sum(group.lag + group.in_flight for group in await bus.groups(channel) if group.name == AGGREGATORS)


async def predict(bus: Bus) -> list[Position]:
    """Requests that a scorer has decided and that wait for their labels."""
    positions: list[Position] = []
    requests = [PredictionRequested(model="pets", inputs=[[1.0]], label=True) for _ in range(LABELLED)]
    for at in range(0, LABELLED, 500):
        positions += (await bus.publish(REQUESTS, requests[at : at + 500])).positions
    async with bus.consume(REQUESTS, SCORERS, worker="scorer") as consumer:
        while batch := await consumer.next():
            work = consumer.commit(batch)
            for entry in batch.entries:
                work.wait_for_label(entry.position, Waiting("pets", 3, "c", [0.0], [0.9]).encode())
            await consumer.finish(work)
    return positions


async def test_leaders_killed_in_the_middle_of_their_work_fold_every_event_exactly_once(bus: Bus) -> None:
    positions = await predict(bus)
    published = 0
    for term in range(TERMS):
        with aggregator(bus.settings, f"a{term}") as process:
            await wait_until(partial(leads, bus, f"a{term}"), 20.0)
            numbers = range(published, published + EVENTS_A_TERM)
            published += EVENTS_A_TERM
            labels = [
                PredictionLabelled(prediction=str(Handle(0, position)), labels=[0])
                for position in positions[term::TERMS]
            ]
            for at in range(0, len(labels), 500):
                await bus.publish(LABELS, labels[at : at + 500])
            for at in range(0, EVENTS_A_TERM, 500):
                events = [RunMetrics(run="r", step=n // 3, metrics={"loss": float(n)}) for n in numbers[at : at + 500]]
                await bus.publish(RUNS, events)

            async def in_the_middle(done: int = published - EVENTS_A_TERM) -> bool:
                return 0 < await depth(bus, RUNS) < EVENTS_A_TERM or await folded(bus) > done

            await wait_until(in_the_middle)
            process.send_signal(signal.SIGKILL)
            process.wait()
    with aggregator(bus.settings, "last"):

        async def everything_is_folded() -> bool:
            return await depth(bus, RUNS) == 0 and await depth(bus, LABELS) == 0

        await wait_until(everything_is_folded, 40.0)

        async def shows_all() -> bool:
            [model] = (await newest_frame(bus)).models or [ModelView(name="", version=0)]
            return (model.name, model.quality.joined, model.quality.correct) == ("pets", LABELLED, LABELLED)

        # Nobody has counted requests of this model, so it is the champion that makes it visible.
        await bus.publish(MODELS, [ModelPromoted(model="pets", version=3, sha256="")])
        await wait_until(shows_all)
    curve = read_curves(await bus.state(run_state("r")))["loss"]
    assert sum(count for _, _, count in curve.save().buckets) == published
    assert sum(total for _, total, _ in curve.save().buckets) == sum(range(published))
    joined = [decode(entry.payload) for entry in await bus.read(JOINED, count=10_000)]
    handles = [name for event in joined if isinstance(event, PredictionJoined) for name in event.predictions]
    assert sorted(handles) == sorted(str(Handle(0, position)) for position in positions)


async def folded(bus: Bus) -> int:
    """Values that the saved curve of the run stands for."""
    curve = read_curves(await bus.state(run_state("r"))).get("loss")
    return sum(count for _, _, count in curve.save().buckets) if curve else 0


async def test_a_stalled_leader_is_replaced_and_writes_nothing_when_it_wakes_up(bus: Bus) -> None:
    with aggregator(bus.settings, "a") as stalled:
        await wait_until(lambda: leads(bus, "a"), 20.0)
        with aggregator(bus.settings, "b"):
            stalled.send_signal(signal.SIGSTOP)
            await wait_until(lambda: leads(bus, "b"), 20.0)
            _, taken_over = await bus.last(FRAMES)
            stalled.send_signal(signal.SIGCONT)
            await bus.publish(RUNS, [RunMetrics(run="r", step=1, metrics={"loss": 1.0})])

            async def several_more() -> bool:
                return (await bus.last(FRAMES))[1].number > taken_over.number + 15

            await wait_until(several_more, 20.0)
            frames = [decode(entry.payload) for entry in await bus.read(FRAMES, start=taken_over)]
            assert {frame.aggregator for frame in frames if isinstance(frame, Frame)} == {"b"}
            curve = read_curves(await bus.state(run_state("r")))["loss"]
            assert curve.save().buckets == [(1, 1.0, 1)]


async def test_an_aggregator_outlives_its_server(own_server: EmbeddedServer) -> None:
    settings = Settings(redis_url=own_server.url)
    async with Bus(settings) as bus:
        await bus.publish(RUNS, [RunMetrics(run="r", step=1, metrics={"loss": 1.0})])
        with aggregator(settings, "a"):
            await wait_until(lambda: leads(bus, "a"), 20.0)
            own_server.kill()
            await asyncio.to_thread(own_server.restart)
            await bus.publish(RUNS, [RunMetrics(run="r", step=2, metrics={"loss": 3.0})])

            async def newest() -> Position | None:
                try:
                    return (await bus.last(FRAMES))[1]
                except UnavailableError:  # a connection that the old server had not closed in good order
                    return None

            before = await wait_until(newest)
            assert before is not None

            async def goes_on() -> bool:
                return await folded(bus) == 2 and (await bus.last(FRAMES))[1] > before

            await wait_until(goes_on, 30.0)
