"""One stage of a stress run: requests go out by a schedule, outcomes are heard, and then everything is counted."""

from __future__ import annotations

import asyncio
import random
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle

from headrace.bus import Bus
from headrace.channels import REQUESTS
from headrace.codec import decode
from headrace.ending import end
from headrace.errors import BusError, CodecError, HeadraceError
from headrace.events import Matrix, PredictionRejected, PredictionRequested, PredictionScored, new_id
from headrace.publisher.aio import AsyncPublisher
from headrace.publisher.stress.pace import Pace
from headrace.publisher.stress.recount import recount
from headrace.publisher.stress.report import Books, Latencies, Report, limit
from headrace.publisher.stress.schedule import ARRIVALS, until
from headrace.publisher.stress.watch import Watch

MOST_WAITING = 1_000_000
"""With so many requests under way the stage is broken off."""
VARIANTS = 64
"""Different rows that take turns."""
AT_ONCE = 500
LEAD_S = 0.05
TICK_S = 1.0
SKEW_S = 2.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is sent: `rate` requests a second of `rows` rows with `features` values each, for `duration_s`."""

    model: str
    features: int
    rate: float
    duration_s: float
    rows: int = 1
    arrivals: str = "poisson"
    seed: int = 0
    target_ms: float = 50.0
    """The p99 latency that is to be kept."""
    patience_s: float = 10.0
    """How long outcomes are waited for after the last request."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a stage is; percentiles of the last second."""

    at_s: float
    sent: int
    answered: int
    waiting: int
    latency_ms: dict[str, float]


Say = Callable[[Progress], None]


async def stress(bus: Bus, plan: Plan, stop: asyncio.Event, say: Say = lambda progress: None) -> Report:
    """Run one stage, until its end or until `stop` is set. Raises UnavailableError if no server answers at first."""
    return await _Stage(bus, plan, say).run(stop)


class _Stage:
    def __init__(self, bus: Bus, plan: Plan, say: Say) -> None:
        self._bus, self._plan, self._say = bus, plan, say
        self._run = new_id()
        self._live = bus.names.reply(self._run)
        self._publisher = AsyncPublisher(bus=bus)
        self._due: dict[int, float] = {}
        """Requests without an outcome, by number: when they should have been sent."""
        self._scheduled = 0
        self._books = Books()
        self._latencies, self._lags, self._recent = Latencies(), Latencies(), Latencies()
        self._listening = asyncio.Event()
        self._empty = asyncio.Event()
        self._begin_s = self._last_s = 0.0

    async def run(self, stop: asyncio.Event) -> Report:
        plan = self._plan
        since_ms = int((await self._bus.time() - SKEW_S) * 1000)
        hearing = asyncio.create_task(self._hear(), name="hear outcomes")
        telling = asyncio.create_task(self._tell(), name="tell the progress")
        try:
            async with Watch(self._bus) as watch:
                await asyncio.wait(
                    {asyncio.create_task(self._listening.wait()), hearing}, return_when="FIRST_COMPLETED"
                )
                self._begin_s = self._last_s = time.perf_counter() + LEAD_S
                await self._send(stop)
                seconds = min(plan.duration_s, time.perf_counter() - self._begin_s)
                shares = await watch.shares()
                await self._drain(stop)
        finally:
            await end(hearing, telling)
        books = await self._count(since_ms)
        report = Report(
            offered=plan.rate,
            seconds=seconds,
            rows=plan.rows,
            arrivals=plan.arrivals,
            answered=(books.answered + books.rejected) / max(1e-9, self._last_s - self._begin_s, seconds),
            latency_ms=self._latencies.ms(),
            lag_ms=self._lags.ms(),
            shares=shares,
            books=books,
        )
        report.limit = limit(report, plan.target_ms)
        return report

    async def _send(self, stop: asyncio.Event) -> None:
        plan = self._plan
        times = until(ARRIVALS[plan.arrivals](plan.rate, plan.seed), plan.duration_s)
        signals = until(ARRIVALS[plan.arrivals](plan.rate, plan.seed), plan.duration_s)
        inputs = _inputs(plan)
        at = next(times, None)
        with Pace(signals, self._begin_s) as pace:
            while at is not None and not stop.is_set() and len(self._due) < MOST_WAITING:
                events: list[PredictionRequested] = []
                moments = array("d")
                now_s = time.perf_counter() - self._begin_s
                while at is not None and at <= now_s and len(events) < AT_ONCE:
                    self._due[self._scheduled] = self._begin_s + at
                    events.append(self._request(next(inputs)))
                    moments.append(at)
                    self._scheduled += 1
                    at = next(times, None)
                if events:
                    await self._publisher.publish(REQUESTS, events)
                    sent_s = time.perf_counter() - self._begin_s
                    for moment in moments:
                        self._lags.add(sent_s - moment)
                    continue
                pace.due.clear()
                if at is not None and at > time.perf_counter() - self._begin_s:
                    with suppress(TimeoutError):  # so that `stop` is seen, however far apart the moments are
                        await asyncio.wait_for(pace.due.wait(), 0.5)

    def _request(self, inputs: Matrix) -> PredictionRequested:
        return PredictionRequested(
            id=f"{self._run}.{self._scheduled}",
            source="headrace stress",
            time=time.time(),
            model=self._plan.model,
            inputs=inputs,
            reply_to=self._live,
        )

    async def _drain(self, stop: asyncio.Event) -> None:
        """Wait for what is under way, as long as patience lasts."""
        with suppress(BusError):  # what was not accepted is counted
            await self._publisher.flush(self._plan.patience_s)
        self._empty.clear()
        if self._due:
            waiting = {asyncio.create_task(self._empty.wait()), asyncio.create_task(stop.wait())}
            await asyncio.wait(waiting, timeout=self._plan.patience_s, return_when="FIRST_COMPLETED")
            await end(*waiting)

    async def _count(self, since_ms: int) -> Books:
        """Where every request is; the logs are asked about those that were not heard of."""
        books, accepted = self._books, self._publisher.accepted
        books.not_sent = self._scheduled - accepted
        with suppress(HeadraceError):
            await self._publisher.close(0.5)
        found = await recount(self._bus, self._run, since_ms)
        silent = self._due.keys()
        books.sent = accepted
        books.found = len(silent & found.decided)
        books.waiting = len(silent & found.waiting)
        books.doubled = len(found.doubled)
        books.lost = max(0, accepted - books.answered - books.rejected - books.found - books.waiting)
        return books

    async def _hear(self) -> None:
        async for pushed in self._bus.listen(self._live):
            if pushed is None:
                self._listening.set()
                continue
            now_s = time.perf_counter()
            for _, payload in pushed:
                try:
                    event = decode(payload)
                except CodecError:
                    continue
                match event:
                    case PredictionScored():
                        for request in event.ids:
                            self._books.answered += self._outcome(request, now_s)
                    case PredictionRejected():
                        self._books.rejected += self._outcome(event.request, now_s)
            if not self._due:
                self._empty.set()

    def _outcome(self, request: str, now_s: float) -> bool:
        due_s = self._due.pop(int(request.rpartition(".")[2]), None)
        if due_s is None:
            return False
        self._last_s = now_s
        self._latencies.add(now_s - due_s)
        self._recent.add(now_s - due_s)
        return True

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            recent, self._recent = self._recent, Latencies()
            answered = self._books.answered + self._books.rejected
            at_s = max(0.0, time.perf_counter() - self._begin_s) if self._begin_s else 0.0
            self._say(Progress(at_s, self._scheduled, answered, len(self._due), recent.ms()))


def _inputs(plan: Plan) -> Iterator[Matrix]:
    draw = random.Random(plan.seed)
    shape = (plan.rows, plan.features)
    made = (array("f", (draw.random() for _ in range(plan.rows * plan.features))) for _ in range(VARIANTS))
    return cycle([Matrix("<f4", shape, values.tobytes()) for values in made])
