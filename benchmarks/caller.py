"""A program that asks over HTTP, in a process of its own: by a schedule, or as so many callers that each wait."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from typing import Any

from benchmarks.actor import serve
from benchmarks.samples import percentile
from benchmarks.stage import digits
from benchmarks.web import Web

LEAD_S = 0.05
TICK_S = 0.0005


class Caller:
    """Answers the requests of this process."""

    def __init__(self) -> None:
        self._rows = [row.tolist() for row in digits(100)]

    async def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = await getattr(self, request.pop("do"))(**request)
        return answer

    async def closed(self, port: int, path: str, requests: int, callers: int) -> dict[str, Any]:
        """As fast as so many callers get their answers."""
        latencies: list[float] = []
        turns = iter(range(requests))
        async with Web(port, path) as web:

            async def caller() -> None:
                for turn in turns:
                    began = time.perf_counter()
                    await web.post(self._body(turn))
                    latencies.append(time.perf_counter() - began)

            await asyncio.gather(*(web.post(self._body(0)) for _ in range(callers)))
            began = time.perf_counter()
            ended = await asyncio.gather(*(caller() for _ in range(callers)), return_exceptions=True)
            wall_s = time.perf_counter() - began
        return _found(latencies, requests, wall_s, ended)

    async def open(self, port: int, path: str, times: list[float]) -> dict[str, Any]:
        """At these seconds from now, whatever becomes of the ones before; the clock of each starts at its time."""
        latencies: list[float] = []
        asking: list[asyncio.Task[None]] = []
        async with Web(port, path) as web:
            await asyncio.gather(*(web.post(self._body(0)) for _ in range(32)))
            begin = time.perf_counter() + LEAD_S

            async def one(turn: int) -> None:
                await web.post(self._body(turn))
                latencies.append(time.perf_counter() - begin - times[turn])

            for turn, at in enumerate(times):
                left = begin + at - time.perf_counter()
                while left > 0:
                    await asyncio.sleep(left if left > TICK_S else 0)
                    left = begin + at - time.perf_counter()
                asking.append(asyncio.create_task(one(turn)))
            ended = await asyncio.gather(*asking, return_exceptions=True)
            wall_s = time.perf_counter() - begin
        return _found(latencies, len(times), wall_s, ended)

    def _body(self, turn: int) -> bytes:
        return json.dumps({"rows": [self._rows[turn % len(self._rows)]]}).encode()


def _found(latencies: list[float], requests: int, wall_s: float, ended: list[Any]) -> dict[str, Any]:
    errors = Counter(repr(one) for one in ended if isinstance(one, BaseException))
    if not latencies:
        raise RuntimeError(f"no request was answered: {errors.most_common(1)}")
    return {
        "rate": len(latencies) / wall_s,
        "p50": 1000 * percentile(latencies, 0.5),
        "p99": 1000 * percentile(latencies, 0.99),
        "lost": requests - len(latencies),
        "errors": dict(errors),
    }


if __name__ == "__main__":
    serve(Caller())
