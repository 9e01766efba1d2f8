"""Signs of life: one `worker.alive` a second for as long as a process works, one `worker.stopped` at its end.

Rules: a heartbeat never raises into the process it speaks for and delays its end by little more than `FAREWELL_S`. What
cannot be sent is left out: the next one says the same, as its counts run from the start of the process.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

from headrace.bus import Bus, PublishCall
from headrace.channels import WORKERS
from headrace.clocks import Estimate, ServerClock
from headrace.codec import encode
from headrace.ending import end
from headrace.events import BatchSample, WorkerAlive, WorkerStopped, new_id, stamped

EVERY_S = 1.0
FAREWELL_S = 1.0
"""How long the end of a process waits for `worker.stopped` to go out."""

_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Tally:
    """What a process has done since its start; it counts here, its heartbeat reads here.

    `busy_s` is the time spent working, in seconds; None means the processor time of the process.
    """

    events: int = 0
    batches: int = 0
    failed: int = 0
    busy_s: float | None = None
    models: dict[str, int] = field(default_factory=dict)
    live: int = 0
    healed: int = 0
    lost: int = 0
    dropped: int = 0
    unknown: int = 0
    batch_samples: list[BatchSample] = field(default_factory=list)
    """Some batches since the heartbeat before."""


class Reading(NamedTuple):
    """The counts that shares and means are taken from, and when they were read (monotonic seconds)."""

    at_s: float
    events: int
    batches: int
    busy_s: float


class Heartbeat:
    """Sends signs of life between enter and exit. `read` gives the counts so far; it is called once a second.

    `worker` is the name that the page shows; it is made up from `kind` if empty.
    """

    def __init__(
        self, bus: Bus, kind: str, read: Callable[[], Tally] = Tally, *, worker: str = "", every_s: float = EVERY_S
    ) -> None:
        self.worker = worker or f"{kind}-{new_id().partition('.')[0]}"
        self.kind = kind
        self._bus, self._read, self._every_s = bus, read, every_s
        self._started = time.time()
        self._producer, self._next = new_id(), 1
        self._last = Reading(time.monotonic(), 0, 0, 0.0)
        self._beating: asyncio.Task[None] | None = None
        self._quiet = False
        self._clock = ServerClock()

    async def __aenter__(self) -> Heartbeat:
        with suppress(Exception):
            self._last = reading(self._read(), time.monotonic(), time.process_time())
        self._beating = asyncio.create_task(self._beat_forever(), name=f"heartbeat of {self.worker}")
        return self

    async def __aexit__(self, *error: object) -> None:
        await end(self._beating)
        farewell = WorkerStopped(worker=self.worker, kind=self.kind)
        with suppress(Exception):  # whoever misses the farewell sees the silence
            async with asyncio.timeout(FAREWELL_S):
                _ = await self._send(farewell) or await self._send(farewell)

    async def _beat_forever(self) -> None:
        while True:
            began = time.monotonic()
            try:
                await self._beat()
                self._quiet = False
            except Exception as error:
                if not self._quiet:  # once, not once a second
                    _log.warning("%s cannot send signs of life: %s", self.worker, error)
                self._quiet = True
            await asyncio.sleep(max(0.0, began + self._every_s - time.monotonic()))

    async def _beat(self) -> None:
        tally = self._read()
        now = reading(tally, time.monotonic(), time.process_time())
        await self._clock.ask_async(now.at_s, self._bus.time)
        event = alive(self.worker, self.kind, self._started, tally, self._last, now, self._clock.estimate)
        self._last = now
        await self._send(event)

    async def _send(self, event: WorkerAlive | WorkerStopped) -> bool:
        """Publish under the one producer name of this process; False if a lost reply or log left the event out."""
        payload = encode(stamped(event, self.worker), self._bus.settings.codec)
        answer = await self._bus.publish_batch(PublishCall(WORKERS, 0, self._producer, self._next, [payload]))
        if answer.status == "ahead":  # a power cut took the server's memory of this producer
            self._producer, self._next = new_id(), 1
            return False
        self._next = answer.taken + 1
        return answer.added > 0


def reading(tally: Tally, now_s: float, processor_s: float) -> Reading:
    """What `tally` says at `now_s`; `processor_s` stands in where the process does not count its busy time."""
    busy_s = processor_s if tally.busy_s is None else tally.busy_s
    return Reading(now_s, tally.events, tally.batches, busy_s)


def alive(
    worker: str,
    kind: str,
    started: float,
    tally: Tally,
    before: Reading,
    now: Reading,
    clock: Estimate | None = None,
) -> WorkerAlive:
    """The sign of life: counts as `tally` has them, shares and means over the time between the two readings."""
    elapsed_s = now.at_s - before.at_s
    batches = now.batches - before.batches
    return WorkerAlive(
        worker=worker,
        kind=kind,
        host=_host(),
        pid=os.getpid(),
        started=started,
        events=tally.events,
        batches=tally.batches,
        failed=tally.failed,
        busy=min(1.0, max(0.0, (now.busy_s - before.busy_s) / elapsed_s)) if elapsed_s > 0 else 0.0,
        batch_mean=(now.events - before.events) / batches if batches > 0 else 0.0,
        memory_bytes=memory_bytes(),
        models=dict(tally.models),
        live=tally.live,
        healed=tally.healed,
        lost=tally.lost,
        dropped=tally.dropped,
        unknown=tally.unknown,
        batch_samples=tally.batch_samples,
        clock_offset_s=None if clock is None else round(clock.offset_s, 6),
        clock_error_s=0.0 if clock is None else round(clock.error_s, 6),
    )


def memory_bytes() -> int:
    """Resident memory of this process; where the system has no /proc, its peak so far."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


@cache
def _host() -> str:
    return socket.gethostname()
