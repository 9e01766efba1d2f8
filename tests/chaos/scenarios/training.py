"""A training loop whose server is dead from the start, dies under it, or stays dead: it goes on and hides nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from headrace.channels import FRAMES, RUNS
from headrace.codec import decode
from headrace.errors import BusError
from headrace.events import Frame, RunFinished, RunMetrics, RunStarted
from headrace.forwards import forwards
from tests.chaos.scenario import scenario
from tests.chaos.stage import START_S, Load, Outcome, Size, Stage

STEPS, STEP_MS = 1_000, 1.0
SLOWEST = 1.5
"""A loop that is held up by its telemetry takes several times as long; what it costs is for the benchmarks to say."""


@dataclass
class Arrived:
    """What the log holds of a run."""

    started: int = 0
    finished: int = 0
    steps: list[int] = field(default_factory=list)


@scenario("training: no server at first, or for a while", deep=True, share=0.4, buffer_events=100)
async def training(stage: Stage, size: Size) -> Outcome:
    stage.start("aggregator")
    ends: list[dict[str, Any]] = []
    ways: list[Callable[[], Awaitable[Load]]] = [
        lambda: _dead_at_first(stage),
        lambda: _dying(stage),
        lambda: _dead_to_the_end(stage),
    ]
    for turn in range(max(size.faults, len(ways))):
        load = await ways[turn % len(ways)]()
        stage.outcome.faults += 1
        ends.append(await load.finish())
        if stage.server.poll() is not None:
            await asyncio.to_thread(stage.server.restart)
    ends.append(await (await _trainer(stage)).finish())  # sends what waits on disk
    return await _judged(stage, ends)


async def _trainer(stage: Stage) -> Load:
    return await stage.tell("trainer", {"steps": STEPS, "step_ms": STEP_MS, "name": "night"})


async def _dead_at_first(stage: Stage) -> Load:
    await asyncio.to_thread(stage.server.kill)
    load = await _trainer(stage)
    await stage.until(lambda: _came_to(load, STEPS // 3), "the loop to go on without a server", START_S)
    await asyncio.to_thread(stage.server.restart)
    return load


async def _dying(stage: Stage) -> Load:
    load = await _trainer(stage)
    await stage.until(lambda: _came_to(load, STEPS // 5), "the loop to begin", START_S)
    await asyncio.to_thread(stage.server.kill)
    await stage.until(lambda: _came_to(load, STEPS // 2), "the loop to go on without its server")
    await asyncio.to_thread(stage.server.restart)
    return load


async def _dead_to_the_end(stage: Stage) -> Load:
    await asyncio.to_thread(stage.server.kill)
    return await _trainer(stage)


async def _judged(stage: Stage, ends: list[dict[str, Any]]) -> Outcome:
    found, arrived = stage.outcome, await _arrived(stage)
    for told in ends:
        run = arrived[told["run"]]
        logged, seen = told["step"], len(run.steps)
        found.accepted += seen + run.started + run.finished
        found.doubled += seen - len(set(run.steps)) + max(0, run.started - 1) + max(0, run.finished - 1)
        found.lost += abs(logged - seen - told["dropped"]) + (run.started < 1) + (run.finished < 1)
        if run.steps != sorted(run.steps):
            found.notes.append("metrics are out of order")
        if not told.get("done"):
            found.notes.append(f"the loop did not come to its end: {told}")
        elif told["slowdown"] > SLOWEST:
            found.notes.append(f"a logged step took {told['slowdown']:.2f} times as long as one that was not")
    found.results = found.accepted
    if not any(told["dropped"] for told in ends):
        found.notes.append("nothing was dropped, which proves nothing")
    reported = sum(told["dropped"] for told in ends if arrived[told["run"]].steps)
    await stage.until(lambda: _shown(stage, reported), f"the frame to show {reported} dropped events")
    return found


async def _arrived(stage: Stage) -> dict[str, Arrived]:
    found: dict[str, Arrived] = {}
    ids: Counter[str] = Counter()
    async for page in forwards(stage.bus, RUNS, 0, (await stage.bus.last(RUNS))[1]):
        for entry in page:
            event = decode(entry.payload)
            ids[event.id] += 1
            match event:
                case RunStarted():
                    found.setdefault(event.run, Arrived()).started += 1
                case RunMetrics():
                    found.setdefault(event.run, Arrived()).steps.append(event.step)
                case RunFinished():
                    found.setdefault(event.run, Arrived()).finished += 1
    stage.outcome.doubled += sum(n - 1 for n in ids.values())
    return found


async def _came_to(load: Load, step: int) -> bool:
    return int(load.told.get("step", 0)) >= step


async def _shown(stage: Stage, dropped: int) -> bool:
    with suppress(BusError):
        for entry in await stage.bus.read(FRAMES, count=1, newest_first=True):
            frame = decode(entry.payload)
            return isinstance(frame, Frame) and frame.live.dropped >= dropped
    return False
