"""Who is alive, who is missing, and what all of them saw: a pure fold of the channel `workers`.

A process says every second that it is alive, and says so when it ends. One that falls silent is `late` after 5 s and
missing after 15 s. Its counts stay in the sums for good, so that live, healed and lost never fall.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final

import msgspec

from headrace.errors import CodecError
from headrace.events import BatchSample, ClockView, Event, PublisherReport, WorkerAlive, WorkerStopped, WorkerView
from headrace.subscriber.aggregation import clocks

LATE_S: Final = 5.0
MISSING_S: Final = 15.0
FORGOTTEN_S: Final = 600.0
"""A missing worker that nobody replaced is spoken of for so long."""
REMEMBERED: Final = 500
"""Ended workers and publishers kept one by one; the counts of older ones are added up."""
SAMPLES: Final = 48
"""Batches that one frame shows; of more the newest."""
_RATE_S: Final = 5.0


class Counts(msgspec.Struct, frozen=True, array_like=True):
    """What processes saw of the live side, and events that publishers gave up."""

    live: int = 0
    healed: int = 0
    lost: int = 0
    dropped: int = 0
    unknown: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.live + other.live,
            self.healed + other.healed,
            self.lost + other.lost,
            self.dropped + other.dropped,
            self.unknown + other.unknown,
        )


class Ended(msgspec.Struct, array_like=True):
    """A process that is no more, or a publisher: `at` is its last sign of life. `stopped`: it ended on purpose."""

    kind: str
    host: str
    at: float
    stopped: bool
    counts: Counts


class _Living(msgspec.Struct, array_like=True):
    alive: WorkerAlive
    at: float


class Workers:
    """All processes that report. Times are Unix seconds of the server."""

    def __init__(self) -> None:
        self._living: dict[str, _Living] = {}
        self._paces: dict[str, deque[tuple[float, int]]] = {}
        self._ended: dict[str, Ended] = {}
        self._older = Counts()
        self._saves: dict[str, bytes] = {}
        self._drops: set[str] = set()
        self._samples: deque[tuple[str, BatchSample]] = deque(maxlen=SAMPLES)
        self._clocks = clocks.Clocks()

    def fold(self, event: Event, at: float) -> None:
        """Take one event of the channel, logged at `at`; one older than what is known changes nothing."""
        match event:
            case WorkerAlive():
                self._compare(event, at)
                self._alive(event, at)
            case WorkerStopped():
                if event.worker in self._living:
                    self._end(event.worker, at, stopped=True)
            case PublisherReport():
                self._compare(event, at)
                name = f"publisher {event.producer}"
                known = self._ended.get(name)
                if known is None or at >= known.at:
                    counts = Counts(lost=event.lost, dropped=sum(event.dropped.values()))
                    self._remember(name, Ended("publisher", event.host, at, True, counts))

    def views(self, now: float) -> list[WorkerView]:
        """The living by kind and start. Who has been silent for too long is missing from here on."""
        for worker in [worker for worker, known in self._living.items() if now - known.at >= MISSING_S]:
            self._end(worker, self._living[worker].at, stopped=False)
        views = [self._view(known, now) for known in self._living.values()]
        return sorted(views, key=lambda view: (view.kind, view.started, view.worker))

    def missing(self, now: float) -> dict[str, Ended]:
        """Processes that ended without saying so and have no younger one of their kind in their place."""
        return {
            worker: ended
            for worker, ended in self._ended.items()
            if not ended.stopped
            and now - ended.at < FORGOTTEN_S
            and not any(k.alive.kind == ended.kind and k.alive.started > ended.at for k in self._living.values())
        }

    def counts(self) -> Counts:
        """The sums over all processes that ever reported."""
        total = self._older
        for ended in self._ended.values():
            total += ended.counts
        for known in self._living.values():
            total += _counts(known.alive)
        return total

    def clocks(self) -> dict[str, ClockView]:
        """The server's clock against that of each host and named source that has told."""
        return self._clocks.views()

    def take_samples(self) -> dict[str, list[BatchSample]]:
        """Batches that came since the last call, by worker."""
        found: dict[str, list[BatchSample]] = {}
        for worker, sample in self._samples:
            found.setdefault(worker, []).append(sample)
        self._samples.clear()
        return found

    def take_changes(self) -> tuple[dict[str, bytes], list[str]]:
        """Fields to save and fields to drop since the last call."""
        saves, drops = self._saves, sorted(self._drops - self._saves.keys())
        self._saves, self._drops = {}, set()
        return saves, drops

    @classmethod
    def load(cls, saved: Mapping[str, bytes]) -> Workers:
        """What `take_changes` gave. Raises CodecError."""
        workers = cls()
        try:
            for name, payload in saved.items():
                kind, _, worker = name.partition(":")
                if kind == "living":
                    workers._living[worker] = msgspec.msgpack.decode(payload, type=_Living)
                elif kind == "ended":
                    workers._ended[worker] = msgspec.msgpack.decode(payload, type=Ended)
                elif kind == "older":
                    workers._older = msgspec.msgpack.decode(payload, type=Counts)
            workers._clocks.load(saved)
        except msgspec.DecodeError as error:
            raise CodecError(f"saved workers cannot be read: {error}") from None
        return workers

    def _compare(self, event: WorkerAlive | PublisherReport, at: float) -> None:
        for name, payload in self._clocks.take(event, at).items():
            if payload is None:
                self._drop(name)
            else:
                self._keep(name, payload)

    def _alive(self, event: WorkerAlive, at: float) -> None:
        known = self._living.get(event.worker)
        if known is not None and at < known.at:
            return
        ended = self._ended.get(event.worker)
        if ended is not None:
            if at <= ended.at:
                return
            del self._ended[event.worker]
            self._drops.add(f"ended:{event.worker}")
        if event.batch_samples:
            self._samples.extend((event.worker, sample) for sample in event.batch_samples)
            event = msgspec.structs.replace(event, batch_samples=[])
        self._living[event.worker] = _Living(event, at)
        self._save(f"living:{event.worker}", self._living[event.worker])
        pace = self._paces.setdefault(event.worker, deque(maxlen=64))
        if pace and event.events < pace[-1][1]:
            pace.clear()
        pace.append((at, event.events))
        while len(pace) > 2 and at - pace[1][0] >= _RATE_S:
            pace.popleft()

    def _end(self, worker: str, at: float, *, stopped: bool) -> None:
        alive = self._living.pop(worker).alive
        self._paces.pop(worker, None)
        self._drop(f"living:{worker}")
        self._remember(worker, Ended(alive.kind, alive.host, at, stopped, _counts(alive)))

    def _remember(self, name: str, ended: Ended) -> None:
        self._ended[name] = ended
        self._save(f"ended:{name}", ended)
        if len(self._ended) > REMEMBERED:
            oldest = min(self._ended, key=lambda known: self._ended[known].at)
            self._older += self._ended.pop(oldest).counts
            self._drop(f"ended:{oldest}")
            self._save("older", self._older)

    def _view(self, known: _Living, now: float) -> WorkerView:
        alive, age_s = known.alive, max(0.0, now - known.at)
        pace = self._paces.get(alive.worker)
        rate = 0.0
        if pace and pace[-1][0] > pace[0][0]:
            rate = (pace[-1][1] - pace[0][1]) / (pace[-1][0] - pace[0][0])
        return WorkerView(
            worker=alive.worker,
            kind=alive.kind,
            host=alive.host,
            pid=alive.pid,
            started=alive.started,
            age_s=age_s,
            rate=rate,
            batch_mean=alive.batch_mean,
            busy=alive.busy,
            memory_bytes=alive.memory_bytes,
            events=alive.events,
            failed=alive.failed,
            models=alive.models,
            state="late" if age_s >= LATE_S else "up",
        )

    def _save(self, name: str, value: msgspec.Struct) -> None:
        self._keep(name, msgspec.msgpack.encode(value))

    def _keep(self, name: str, payload: bytes) -> None:
        self._saves[name] = payload
        self._drops.discard(name)

    def _drop(self, name: str) -> None:
        self._saves.pop(name, None)
        self._drops.add(name)


def _counts(alive: WorkerAlive) -> Counts:
    return Counts(alive.live, alive.healed, alive.lost, alive.dropped, alive.unknown)
