"""Curves of training metrics, bounded whatever the number of steps, and how they are saved. Pure.

    aggregator: Curve.add ──> take_new ──> frame.points ──> Curve.put: dashboard
                   └──> take_saves ──> state `runs` (one field a run) and `run-RUN` (parts of its curves)

A curve is cut into buckets of `stride` steps, 1 at first. When there are more than `limit` buckets the stride doubles
and neighbours merge. A bucket keeps the sum and the count of what it covers, so that a value shown is always the mean
over all steps and ranks in it, and the mean of the whole curve never changes. The buckets depend on which steps were
logged, not on their order, so that ranks may arrive interleaved in any way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

import msgspec

from headrace.errors import CodecError
from headrace.events import RunView

LIMIT = 512
"""Most points of one curve."""
RUNS_STATE = "runs"
"""Name of the saved state with one field a run."""
_PART = 5
"""Buckets are saved in parts of 2**5, so that a new point costs one small field and not the whole curve."""
_RECENT = 64
"""Points that count as new after a curve was loaded: the frame that would have shown them may never have come out."""

Point: TypeAlias = tuple[int, float]
"""Step and value. The step is the first one that the point covers."""
_Bucket: TypeAlias = tuple[int, float, int]
"""First step covered, sum, count. A tuple of numbers costs the garbage collector nothing; there may be millions."""


class SavedCurve(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Buckets of one curve, all or some: (first step covered, sum, count) of each."""

    stride: int
    buckets: list[tuple[int, float, int]]


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
    """Names of candidates that were judged, as far as they are remembered."""
    seen: float = 0.0
    """Last sign of life, Unix seconds of the server."""

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
            self._buckets[key] = (min(held[0], step), held[1] + value, held[2] + 1)
            return
        self._buckets[key] = (step, value, 1)
        if len(self._buckets) > self.limit:
            self._thin()

    def put(self, points: Iterable[Point]) -> None:
        """Take points of another curve's `take_new`: a point replaces the one that covers its step."""
        for step, value in points:
            self._buckets[step // self.stride] = (step, value, 1)
            self._new.add(step // self.stride)
            if len(self._buckets) > self.limit:
                self._thin()

    def points(self) -> list[Point]:
        """All points, by step."""
        return [(first, total / count) for _, (first, total, count) in sorted(self._buckets.items())]

    def take_new(self, most: int = LIMIT) -> list[Point]:
        """Points that changed since the last call, by step; beyond `most` the later ones wait for the next call."""
        keys = sorted(self._new)[:most]
        self._new.difference_update(keys)
        return [(first, total / count) for first, total, count in map(self._buckets.__getitem__, keys)]

    @property
    def mean(self) -> float | None:
        """The mean of all values ever added; None before the first."""
        count = sum(b[2] for b in self._buckets.values())
        return sum(b[1] for b in self._buckets.values()) / count if count else None

    def save(self) -> SavedCurve:
        """The whole curve."""
        return SavedCurve(self.stride, [bucket for _, bucket in sorted(self._buckets.items())])

    @classmethod
    def load(cls, saved: Iterable[SavedCurve], limit: int = LIMIT) -> Curve:
        """The curve that was saved, in one piece or in parts."""
        curve = cls(limit)
        parts = list(saved)
        curve.stride = max((part.stride for part in parts), default=1)
        for part in parts:
            for bucket in part.buckets:
                curve._merge(bucket[0] // curve.stride, bucket)
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
        return {number: _encoder.encode(SavedCurve(self.stride, part)) for number, part in changed.items()}, gone

    def parts(self) -> set[int]:
        """Numbers of the parts under which the curve is saved."""
        return {key >> _PART for key in self._buckets}

    def _merge(self, key: int, bucket: _Bucket) -> None:
        held = self._buckets.get(key)
        if held is not None:
            bucket = (min(held[0], bucket[0]), held[1] + bucket[1], held[2] + bucket[2])
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


def run_state(run: str) -> str:
    """Name of the saved state that holds the parts of a run's curves."""
    return f"run-{run}"


def part_field(metric: str, number: int) -> str:
    """Field of one part of one curve."""
    return f"{number}:{metric}"


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
