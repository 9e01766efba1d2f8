"""Curves of training metrics, bounded whatever the number of steps, and how they are saved. Pure.

    aggregator: Curve.add ──> take_new ──> frame.points ──> Curve.put: dashboard
                   └──> take_saves ──> state `runs` (one field a run) and `run-RUN` (parts of its curves)

Candidates of a search are saved in a state of their own, `search-RUN`: who only loads the runs need not read them.

A curve is cut into buckets of `stride` steps, 1 at first. When there are more than `limit` buckets the stride doubles
and neighbours merge. A bucket keeps the sum and the count of what it covers, so that a value shown is always the mean
over all steps and ranks in it, and the mean of the whole curve never changes; and the smallest and the largest value,
so that neither a rank that strays nor a peak between two points is hidden. The buckets depend on which steps were
logged, not on their order, so that ranks may arrive interleaved in any way.

Beside its metrics a run has one curve more, its clock: the mean Unix time at each step. It has the same buckets as a
metric that is logged at every step, so that any curve can be drawn by time.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import TypeAlias

import msgspec

from headrace.errors import CodecError
from headrace.events import RunView, Scalar

LIMIT = 512
"""Most points of one curve."""
CLOCK = "@time"
"""Name of the curve that tells when each step was logged, Unix seconds; no metric may be called so."""
RUNS_STATE = "runs"
"""Name of the saved state with one field a run."""
ENDED = ("finished", "failed", "crashed")
STALLED_S = 15.0
CRASHED_S = 60.0
"""A run that gives no sign of life for so long is stalled, or counts as crashed."""
_PART = 5
"""Buckets are saved in parts of 2**5, so that a new point costs one small field and not the whole curve."""
_SMALLER = re.compile(r"^(?!neg_).*(loss|error|mae|mse)", re.IGNORECASE)
_RECENT = 64
"""Points that count as new after a curve was loaded: the frame that would have shown them may never have come out."""

Point: TypeAlias = tuple[int, float]
"""Step and value. The step is the first one that the point covers."""
Span: TypeAlias = tuple[int, float, float]
"""Step of a point, smallest and largest value that it covers."""
_Bucket: TypeAlias = tuple[int, float, int, float, float]
"""First step covered, sum, count, smallest, largest. A tuple of numbers costs the garbage collector nothing; there may
be millions."""


class SavedCurve(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Buckets of one curve, all or some: (first step covered, sum, count) of each, and what they span.

    `spans` holds (smallest, largest) of each bucket; it is empty where every bucket covers one value.
    """

    stride: int
    buckets: list[tuple[int, float, int]]
    spans: list[tuple[float, float]] = []


class SavedRank(msgspec.Struct, array_like=True):
    """What is known of one rank of a run; times are Unix seconds. `status` is empty while it runs."""

    step: int = 0
    metrics: dict[str, tuple[int, float | None]] = {}
    """The latest value of each metric, and its step."""
    started: float = 0.0
    ended: float = 0.0
    status: str = ""
    error: str = ""
    cost_us: float = 0.0
    anchors: tuple[float, int, float, int] = (0.0, 0, 0.0, 0)
    """(time, step) of two earlier logs, from which the speed is told."""
    steps_per_s: float = 0.0


class SavedRun(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One run as the aggregator saves it. `view` is the summary, `curves` the curves by metric.

    In the state `runs` the curves are empty: they stand in parts in the state of the run; `read_run` joins both.
    """

    view: RunView
    curves: dict[str, SavedCurve] = {}
    ranks: dict[int, SavedRank] = {}
    candidates: list[str] = []
    """Names of candidates that were judged, in the order in which they came, as far as they are remembered."""
    rungs: list[int] = []
    """The highest rung at which each of them was judged."""
    seen: float = 0.0
    """Last sign of life, Unix seconds of the server."""

    def encode(self) -> bytes:
        return _encoder.encode(self)

    def at(self, now: float) -> RunView:
        """The summary with the state of the run at the server's Unix time `now`: silence is in no event."""
        state = run_condition([rank.status for rank in self.ranks.values()], now - self.seen)
        if state == self.view.state:
            return self.view
        ended = self.view.ended or self.seen if state in ENDED else 0.0
        return msgspec.structs.replace(self.view, state=state, ended=ended, steps_per_s=0.0)


class SavedCandidate(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """One candidate of a search at one rung. `number` counts the candidates of the search as they came, from 1."""

    candidate: str
    number: int
    status: str = "finished"
    rung: int = 0
    resource: float = 0.0
    time: float = 0.0
    params: dict[str, Scalar] = {}
    metrics: dict[str, float | None] = {}

    def encode(self) -> bytes:
        return _encoder.encode(self)


class Curve:
    """The mean of a metric over steps and ranks, in at most `limit` points."""

    __slots__ = ("_buckets", "_changed", "_gone", "_new", "limit", "stride")

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self.stride = 1
        self._buckets: dict[int, _Bucket] = {}
        self._new: set[int] = set()
        self._changed: set[int] = set()
        self._gone: set[int] = set()

    def __len__(self) -> int:
        return len(self._buckets)

    def add(self, step: int, value: float) -> None:
        """One value at one step; further values of the same step are averaged. `value` must be finite."""
        key = step // self.stride
        held = self._buckets.get(key)
        self._new.add(key)
        self._changed.add(key >> _PART)
        if held is not None:
            first, total, count, low, high = held
            self._buckets[key] = (
                first if first < step else step,
                total + value,
                count + 1,
                low if low < value else value,
                high if high > value else value,
            )
            return
        self._buckets[key] = (step, value, 1, value, value)
        if len(self._buckets) > self.limit:
            self._thin()

    def put(self, points: Iterable[Point], spans: Iterable[Span] = ()) -> None:
        """Take points of another curve's `take_new`, and their spans: a point replaces the one that covers its step."""
        spanned = {step: (low, high) for step, low, high in spans}
        for step, value in points:
            low, high = spanned.get(step, (value, value))
            self._buckets[step // self.stride] = (step, value, 1, low, high)
            self._new.add(step // self.stride)
            if len(self._buckets) > self.limit:
                self._thin()

    def points(self) -> list[Point]:
        """All points, by step."""
        return [(first, total / count) for _, (first, total, count, _, _) in sorted(self._buckets.items())]

    def spans(self, points: Iterable[Point]) -> list[Span]:
        """The spans of those points of this curve that cover values which differ."""
        buckets = (self._buckets[step // self.stride] for step, _ in points)
        return [(first, low, high) for first, _, _, low, high in buckets if low < high]

    def take_new(self, most: int = LIMIT) -> list[Point]:
        """Points that changed since the last call, by step; beyond `most` the later ones wait for the next call."""
        keys = sorted(self._new)[:most]
        self._new.difference_update(keys)
        return [(first, total / count) for first, total, count, _, _ in map(self._buckets.__getitem__, keys)]

    @property
    def mean(self) -> float | None:
        """The mean of all values ever added; None before the first."""
        count = sum(b[2] for b in self._buckets.values())
        return sum(b[1] for b in self._buckets.values()) / count if count else None

    def save(self) -> SavedCurve:
        """The whole curve."""
        return _saved(self.stride, [bucket for _, bucket in sorted(self._buckets.items())])

    @classmethod
    def load(cls, saved: Iterable[SavedCurve], limit: int = LIMIT) -> Curve:
        """The curve that was saved, in one piece or in parts."""
        curve = cls(limit)
        parts = list(saved)
        curve.stride = max((part.stride for part in parts), default=1)
        for part in parts:
            spans = part.spans or [(total / count, total / count) for _, total, count in part.buckets]
            for bucket, span in zip(part.buckets, spans, strict=False):
                curve._merge(bucket[0] // curve.stride, (*bucket, *span))
        while len(curve) > limit:
            curve._thin()
        curve._new = set(sorted(curve._buckets)[-_RECENT:])
        curve._changed, curve._gone = set(), set()
        return curve

    def take_saves(self) -> tuple[dict[int, bytes], list[int]]:
        """Parts that changed since the last call, and numbers of parts that are no more."""
        changed: dict[int, list[_Bucket]] = {number: [] for number in self._changed}
        if changed:
            if len(changed) * (1 << _PART) < len(self._buckets):
                keys: Iterable[int] = (
                    key
                    for number in changed
                    for key in range(number << _PART, (number + 1) << _PART)
                    if key in self._buckets
                )
            else:
                keys = sorted(key for key in self._buckets if key >> _PART in changed)
            for key in keys:
                changed[key >> _PART].append(self._buckets[key])
        gone = sorted(self._gone - changed.keys())
        self._changed, self._gone = set(), set()
        return {number: _encoder.encode(_saved(self.stride, part)) for number, part in changed.items()}, gone

    def parts(self) -> set[int]:
        """Numbers of the parts under which the curve is saved."""
        return {key >> _PART for key in self._buckets}

    def _merge(self, key: int, bucket: _Bucket) -> None:
        held = self._buckets.get(key)
        if held is not None:
            bucket = (
                min(held[0], bucket[0]),
                held[1] + bucket[1],
                held[2] + bucket[2],
                min(held[3], bucket[3]),
                max(held[4], bucket[4]),
            )
        self._buckets[key] = bucket

    def _thin(self) -> None:
        """Double the stride until the points are few enough again."""
        old = self.parts()
        while len(self._buckets) > self.limit:
            buckets, self._buckets = self._buckets, {}
            self.stride *= 2
            for key, bucket in buckets.items():
                self._merge(key // 2, bucket)
            self._new = {key // 2 for key in self._new}
        self._changed = self.parts()
        self._gone |= old


@lru_cache(maxsize=10_000)
def is_smaller_better(metric: str) -> bool:
    """Whether smaller values of the metric are better, by its name."""
    return _SMALLER.search(metric) is not None


def _saved(stride: int, buckets: list[_Bucket]) -> SavedCurve:
    plain = [bucket[:3] for bucket in buckets]
    if all(count == 1 for _, _, count in plain):
        return SavedCurve(stride, plain)
    return SavedCurve(stride, plain, [bucket[3:] for bucket in buckets])


def run_condition(statuses: Collection[str], silent_s: float) -> str:
    """The state of a run by what its ranks said at their end (empty: nothing yet) and how long all have been silent."""
    for bad in ("failed", "crashed"):
        if bad in statuses:  # the other ranks of a broken run may never say anything again
            return bad
    if statuses and all(statuses):
        return "finished"
    if silent_s > CRASHED_S:
        return "crashed"
    return "stalled" if silent_s > STALLED_S else "running"


def run_state(run: str) -> str:
    """Name of the saved state that holds the parts of a run's curves."""
    return f"run-{run}"


def part_field(metric: str, number: int) -> str:
    """Field of one part of one curve."""
    return f"{number}:{metric}"


def search_state(run: str) -> str:
    """Name of the saved state that holds the candidates of a search."""
    return f"search-{run}"


def candidate_field(candidate: str, rung: int) -> str:
    """Field of one candidate at one rung."""
    return f"{rung}:{candidate}"


def read_candidates(fields: Mapping[str, bytes]) -> list[SavedCandidate]:
    """The candidates of a search from its saved state, as they came, by rung. Raises CodecError."""
    try:
        found = [_candidates.decode(payload) for payload in fields.values()]
    except msgspec.DecodeError as error:
        raise CodecError(f"not a saved candidate: {error}") from None
    return sorted(found, key=lambda one: (one.number, one.rung))


def read_curves(parts: Mapping[str, bytes]) -> dict[str, Curve]:
    """The curves of a run from its saved state. Raises CodecError."""
    found: dict[str, list[SavedCurve]] = {}
    try:
        for name, payload in parts.items():
            found.setdefault(name.partition(":")[2], []).append(_curves.decode(payload))
    except msgspec.DecodeError as error:
        raise CodecError(f"not a saved curve: {error}") from None
    return {metric: Curve.load(saved) for metric, saved in sorted(found.items())}


def read_run(summary: bytes, parts: Mapping[str, bytes] | None = None) -> SavedRun:
    """One run from its field of the state `runs`, with its curves from the state of the run. Raises CodecError.

    state = await bus.state(RUNS_STATE)
    saved = read_run(state[run], await bus.state(run_state(run)))
    """
    try:
        saved = _runs.decode(summary)
    except msgspec.DecodeError as error:
        raise CodecError(f"not a saved run: {error}") from None
    if parts:
        saved.curves = {metric: curve.save() for metric, curve in read_curves(parts).items()}
    return saved


_encoder = msgspec.msgpack.Encoder()
_curves = msgspec.msgpack.Decoder(SavedCurve)
_runs = msgspec.msgpack.Decoder(SavedRun)
_candidates = msgspec.msgpack.Decoder(SavedCandidate)
