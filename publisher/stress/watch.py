"""How busy everybody was while requests were sent: scorers by their signs of life, the server by what it says."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

from headrace.bus import Bus
from headrace.channels import WORKERS
from headrace.codec import decode
from headrace.ending import end
from headrace.errors import CodecError, HeadraceError
from headrace.events import WorkerAlive
from headrace.publisher.stress.report import Shares


class Watch:
    """Looks on between enter and `shares`. A context manager."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._busy: dict[str, list[float]] = defaultdict(list)
        self._listening: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Watch:
        self._listening = asyncio.create_task(self._listen(), name="watch the scorers")
        self._server_s = await self._server_cpu_s()
        self._machine = _machine()
        self._began_s, self._own_s = time.perf_counter(), time.process_time()
        return self

    async def __aexit__(self, *error: object) -> None:
        await end(self._listening)

    async def shares(self) -> Shares:
        """Shares of one core since the beginning."""
        took_s = time.perf_counter() - self._began_s
        now_s = await self._server_cpu_s()
        server = None if now_s is None or self._server_s is None else (now_s - self._server_s) / took_s
        return Shares(
            scorers=[sum(shares) / len(shares) for shares in self._busy.values()],
            server=server,
            sender=(time.process_time() - self._own_s) / took_s,
            machine=_share(self._machine, _machine()),
        )

    async def _listen(self) -> None:
        with suppress(HeadraceError):  # without them the report says that none was seen
            async with self._bus.subscribe(WORKERS) as heard:
                async for delivery in heard:
                    for entry in delivery.entries:
                        self._hear(entry.payload)

    def _hear(self, payload: bytes) -> None:
        with suppress(CodecError):
            event = decode(payload)
            if isinstance(event, WorkerAlive) and event.kind == "scorer":
                self._busy[event.worker].append(event.busy)

    async def _server_cpu_s(self) -> float | None:
        try:
            told, _, _ = await self._bus.examine()
            return float(told["used_cpu_user"]) + float(told["used_cpu_sys"])
        except (HeadraceError, KeyError, ValueError):
            return None


def _machine() -> tuple[int, int] | None:
    """Busy and all ticks of all cores so far; None where the system has no /proc."""
    try:
        ticks = [int(word) for word in Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]]
    except (OSError, ValueError):
        return None
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def _share(before: tuple[int, int] | None, now: tuple[int, int] | None) -> float | None:
    if before is None or now is None or now[1] == before[1]:
        return None
    return (now[0] - before[0]) / (now[1] - before[1])
