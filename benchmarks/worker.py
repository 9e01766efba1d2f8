"""headrace's own scorer in a process of its own, as `headrace scorer` runs it."""

from __future__ import annotations

import asyncio
import gc
import time
from pathlib import Path
from typing import Any

from benchmarks.actor import serve
from headrace.bus import Bus
from headrace.channels import AGGREGATORS, RUNS
from headrace.events import new_id
from headrace.heartbeat import memory_bytes
from headrace.models.registry import Registry
from headrace.settings import Settings
from headrace.subscriber.aggregation.aggregator import run_aggregator
from headrace.subscriber.scoring.scorer import Scorer
from headrace.subscriber.scoring.shelf import Shelf

AT_ONCE = Settings().consume_entries
LOOK_S = 0.01


class Worker:
    """Answers the requests of this process."""

    def __init__(self) -> None:
        self._stop = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None
        self._bus: Bus | None = None

    async def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = await getattr(self, request.pop("do"))(**request)
        return answer

    async def score(
        self, url: str, prefix: str, models: str, at_once: int = AT_ONCE, begin_s: float = 0.0
    ) -> dict[str, Any]:
        """Score a backlog until nothing waits. Connections and model are ready before the clock starts, which is not
        before `begin_s` of time.perf_counter: several may begin together."""
        async with Bus(Settings(redis_url=url, prefix=prefix, consume_entries=at_once)) as bus:
            await bus.check()
            shelf = Shelf(Registry(Path(models)))
            shelf.load()
            gc.collect()
            gc.freeze()
            scorer = Scorer(bus, shelf, new_id())
            await asyncio.sleep(max(0.0, begin_s - time.perf_counter()))
            began_s, cpu_s = time.perf_counter(), time.process_time()
            await scorer.run(asyncio.Event(), burst=True)
            ended_s, cpu_s = time.perf_counter(), time.process_time() - cpu_s
        return {
            "events": scorer.tally.events,
            "failed": scorer.tally.failed,
            "began_s": began_s,
            "ended_s": ended_s,
            "wall_s": ended_s - began_s,
            "cpu_s": cpu_s,
        }

    async def fold(self, url: str, prefix: str) -> dict[str, Any]:
        """Aggregate a backlog until nothing waits."""
        settings = Settings(redis_url=url, prefix=prefix)
        async with Bus(settings) as bus:
            await bus.check()
            gc.collect()
            began_s, cpu_s = time.perf_counter(), time.process_time()
            stop = asyncio.Event()
            folding = asyncio.create_task(run_aggregator(settings, bus, stop=stop))
            while not folding.done() and not await _folded(bus):  # noqa: ASYNC110 - the server cannot say when
                await asyncio.sleep(LOOK_S)
            wall_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
            stop.set()
            await folding
        return {"wall_s": wall_s, "cpu_s": cpu_s, "memory_bytes": memory_bytes()}

    async def start(self, url: str, prefix: str, models: str, at_once: int = AT_ONCE) -> dict[str, Any]:
        """Serve until `finish`."""
        self._stop = asyncio.Event()
        self._bus = Bus(Settings(redis_url=url, prefix=prefix, consume_entries=at_once))
        shelf = Shelf(Registry(Path(models)))
        shelf.load()
        gc.collect()
        gc.freeze()
        self._serving = asyncio.create_task(Scorer(self._bus, shelf, new_id()).run(self._stop))
        return {}

    async def finish(self) -> dict[str, Any]:
        """End what `start` began."""
        assert self._serving is not None
        assert self._bus is not None
        self._stop.set()
        await self._serving
        await self._bus.close()
        return {}


async def _folded(bus: Bus) -> bool:
    """Whether the aggregator has committed all that is in the log."""
    groups = [group for group in await bus.groups(RUNS) if group.name == AGGREGATORS]
    return bool(groups) and not groups[0].lag and not groups[0].in_flight


if __name__ == "__main__":
    serve(Worker())
