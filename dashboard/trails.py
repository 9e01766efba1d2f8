"""What became of each model version over the last minutes: a fold of frames, kept apart from the series of every page.

A browser that looks at one model is sent the trail of that one; the others cost it nothing. Pure.
"""

from __future__ import annotations

from collections import deque
from typing import Final, TypeAlias, TypeVar

from headrace.dashboard.history import Columns, Tier
from headrace.events import Frame, ModelView, QualityView

TIERS: Final = ((2.0, 300.0), (6.0, 900.0))
"""Step and span in seconds."""
PAIRS: Final = 200
SLICES: Final = 90
"""Slices of ten seconds of labels."""
MOST: Final = 100
MIX_S: Final = 30

_Of = TypeVar("_Of")
Errors: TypeAlias = tuple[int, float, float, float, float]
"""Labels, sums of absolute error, squared error, actual, squared actual."""


class Trail:
    """One model version: rates and times, the labels and the errors by ten seconds, pairs of a regression."""

    def __init__(self) -> None:
        self.tiers = tuple(Tier(step_s, span_s) for step_s, span_s in TIERS)
        self.labels: dict[float, tuple[int, int]] = {}
        """Joined and correct, by Unix seconds."""
        self.errors: dict[float, Errors] = {}
        self.pairs: deque[tuple[float, float]] = deque(maxlen=PAIRS)
        """(predicted, actual), the newest last."""
        self.now: dict[str, float] = {}
        """The newest value of each series."""
        self._joined = 0

    def fold(self, model: ModelView, time: float) -> None:
        """Take in what the frame of `time` says of the model."""
        self.now = values(model)
        for tier in self.tiers:
            tier.add(time, self.now)
        if model.quality.joined != self._joined:
            self._fold_labels(model.quality)

    def columns(self, seconds: float) -> Columns:
        """What the tier kept that shows a window of so many seconds."""
        return next((tier for tier in self.tiers if tier.span_s >= seconds), self.tiers[-1]).columns()

    def _fold_labels(self, quality: QualityView) -> None:
        fresh = quality.joined - self._joined if quality.joined > self._joined else quality.joined
        self._joined = quality.joined
        self.pairs.extend(quality.pairs[-min(fresh, len(quality.pairs)) :])
        for time, joined, correct in quality.recent:
            self.labels[time] = (joined, correct)
        self.errors |= {one[0]: one[1:] for one in quality.errors}
        self.labels = _newest(self.labels)
        self.errors = _newest(self.errors)


class Trails:
    """The trails of all model versions that the frames tell of; a bounded number."""

    def __init__(self) -> None:
        self._of: dict[str, Trail] = {}

    def fold(self, frame: Frame) -> None:
        """Take in one frame."""
        for model in frame.models:
            key = f"{model.name}@{model.version}"
            trail = self._of.pop(key, None) or Trail()
            trail.fold(model, frame.time)
            self._of[key] = trail
        while len(self._of) > MOST:
            del self._of[next(iter(self._of))]

    def get(self, key: str) -> Trail | None:
        """The trail of NAME@VERSION, if any frame told of it."""
        return self._of.get(key)


def values(model: ModelView) -> dict[str, float]:
    """What is drawn over time of one model: requests and rows a second, percentiles, rows a second by class."""
    found = {"requests": model.requests.s5, "rows": model.rows.s5}
    if model.latency is not None and model.latency.count:
        found |= {"p50": model.latency.p50_ms, "p95": model.latency.p95_ms, "p99": model.latency.p99_ms}
    found |= {f"class:{index}": count / MIX_S for index, count in enumerate(model.mix)}
    return {name: float(f"{value:.5g}") for name, value in found.items()}


def _newest(slices: dict[float, _Of]) -> dict[float, _Of]:
    return {time: slices[time] for time in sorted(slices)[-SLICES:]}
