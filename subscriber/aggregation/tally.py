"""What labels said of one model version in one partition: counts that add up over partitions and can be saved. Pure.

Everything is bounded. What is kept of a flood of labels depends on the labels alone, never on when they were folded or
saved, so that another leader that takes over comes to the same.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

import msgspec

from headrace.events import PredictionJoined, QualityView

CLASSES: Final = 50
"""A confusion matrix is kept up to this many classes; accuracy is always."""
SLICE_S: Final = 10
SLICES: Final = 30
ERROR_SLICES: Final = 6
BINS: Final = 10
HALF: Final = 32
"""Bins of residuals on either side of zero."""
FINEST: Final = -60
"""The narrowest bin of residuals is 2 to the power of this."""
PAIRS: Final = 24
WORST: Final = 12
TWINS: Final = 2
"""Of mistakes that are alike so many are among the worst."""
SPAN_S: Final = 120
SPANS: Final = 5
"""The worst mistakes are kept for each of the newest spans that had any, so that new ones are seen beside worse old."""

Mistake: TypeAlias = tuple[str, int, float, float, float]
"""Prediction (its handle), row in its request, predicted, actual, confidence (0 for regression)."""
Slice: TypeAlias = tuple[int, int, float, float, float, float]
"""Unix seconds, labels, sums of absolute error, squared error, actual value, squared actual value."""


class Tally(msgspec.Struct, omit_defaults=True):
    """As it is saved. `bins` are (labels, correct, sum of confidence) by confidence; a bin of `residuals` is
    2 to the power of `scale` wide and number 0 begins at zero."""

    joined: int = 0
    correct: int = 0
    confusion: list[list[int]] = []
    wide: bool = False
    """Too many classes for a matrix."""
    sum_abs: float = 0.0
    sum_sq: float = 0.0
    sum_y: float = 0.0
    sum_y2: float = 0.0
    recent: list[tuple[int, int, int]] = []
    regression: bool = False
    bins: list[tuple[int, int, float]] = []
    scale: int = FINEST
    residuals: dict[int, int] = {}
    errors: list[Slice] = []
    pairs: list[tuple[float, float, float]] = []
    """The newest (Unix seconds, predicted, actual) of a regression."""
    worst: list[tuple[int, list[Mistake]]] = []

    def fold(self, event: PredictionJoined, at: float) -> None:
        """Add the rows of one event, logged at `at` (Unix seconds)."""
        self.joined += len(event.actual)
        if self.regression:
            correct = 0
            self._measure(event, at)
        else:
            pairs = [(int(a), int(p)) for a, p in zip(event.actual, event.predicted, strict=True)]
            correct = sum(actual == predicted for actual, predicted in pairs)
            self._confuse(pairs)
            self._calibrate(event, pairs)
        self.correct += correct
        self._remember(int(at) // SLICE_S * SLICE_S, len(event.actual), correct)
        self._blame(event, int(at) // SPAN_S * SPAN_S)

    def _measure(self, event: PredictionJoined, at: float) -> None:
        off = square = y = y2 = 0.0
        for predicted, actual in zip(event.predicted, event.actual, strict=True):
            error = predicted - actual
            off += abs(error)
            square += error * error
            y += actual
            y2 += actual * actual
            if math.isfinite(error):
                self._put_residual(error)
        self.sum_abs += off
        self.sum_sq += square
        self.sum_y += y
        self.sum_y2 += y2
        fresh = zip(event.predicted[-PAIRS:], event.actual[-PAIRS:], strict=True)
        self.pairs = [*self.pairs, *((at, predicted, actual) for predicted, actual in fresh)][-PAIRS:]
        time = int(at) // SLICE_S * SLICE_S
        self.errors = _summed([*self.errors, (time, len(event.actual), off, square, y, y2)])

    def _put_residual(self, error: float) -> None:
        scale = max(self.scale, scale_of(error))
        if scale > self.scale:
            self.residuals, self.scale = coarser(self.residuals, scale - self.scale), scale
        place = math.floor(math.ldexp(error, -scale))
        self.residuals[place] = self.residuals.get(place, 0) + 1

    def _confuse(self, pairs: list[tuple[int, int]]) -> None:
        if self.wide:
            return
        size = 1 + max((max(pair) for pair in pairs), default=-1)
        if size > CLASSES:
            self.wide, self.confusion = True, []
            return
        matrix = self.confusion
        if size > len(matrix):
            for row in matrix:
                row.extend([0] * (size - len(row)))
            matrix.extend([0] * size for _ in range(size - len(matrix)))
        for actual, predicted in pairs:
            matrix[actual][predicted] += 1

    def _calibrate(self, event: PredictionJoined, pairs: list[tuple[int, int]]) -> None:
        bins = self.bins = self.bins or [(0, 0, 0.0)] * BINS
        for confidence, (actual, predicted) in zip(event.confidence, pairs, strict=False):
            if confidence >= 0.0:
                place = min(int(confidence * BINS), BINS - 1)
                count, correct, total = bins[place]
                bins[place] = (count + 1, correct + (actual == predicted), total + confidence)

    def _remember(self, time: int, joined: int, correct: int) -> None:
        """Add to the slice of `time`; a late one goes where it belongs, and only the newest slices stay."""
        recent = self.recent
        for place in range(len(recent) - 1, -1, -1):
            if recent[place][0] == time:
                recent[place] = (time, recent[place][1] + joined, recent[place][2] + correct)
                return
            if recent[place][0] < time:
                recent.insert(place + 1, (time, joined, correct))
                break
        else:
            recent.insert(0, (time, joined, correct))
        del recent[:-SLICES]

    def _blame(self, event: PredictionJoined, span: int) -> None:
        """Keep the worst mistakes of the event beside those of its span."""
        found = self._mistakes(event)
        if found:
            spans = dict(self.worst)
            spans[span] = worst([*spans.get(span, ()), *found], self.regression)
            self.worst = sorted(spans.items())[-SPANS:]

    def _mistakes(self, event: PredictionJoined) -> list[Mistake]:
        found, row, before = [], 0, ""
        sure = event.confidence or [0.0] * len(event.actual)
        for handle, predicted, actual, confidence in zip(
            event.predictions, event.predicted, event.actual, sure, strict=False
        ):
            row, before = (row + 1 if handle == before else 0), handle
            if predicted != actual and math.isfinite(predicted - actual):
                found.append((handle, row, predicted, actual, confidence))
        return found


def merged(found: Sequence[Tally], now: float, *, detailed: bool = True) -> QualityView:
    """The quality of one version over its partitions; `recent` covers the five minutes before `now`.

    Without `detailed` the parts that need room are left out: pairs, residuals, errors over time, the worst mistakes.
    """
    view = QualityView(
        joined=sum(tally.joined for tally in found),
        correct=sum(tally.correct for tally in found),
        confusion=_confusion(found),
        sum_abs=math.fsum(tally.sum_abs for tally in found),
        sum_sq=math.fsum(tally.sum_sq for tally in found),
        sum_y=math.fsum(tally.sum_y for tally in found),
        sum_y2=math.fsum(tally.sum_y2 for tally in found),
        recent=_recent(found, now),
    )
    if not detailed or not found:
        return view
    scale = max(tally.scale for tally in found)
    residuals: dict[int, int] = {}
    for tally in found:
        for place, count in coarser(tally.residuals, scale - tally.scale).items():
            residuals[place] = residuals.get(place, 0) + count
    first = min(residuals, default=0)
    pairs = sorted((pair for tally in found for pair in tally.pairs), key=lambda pair: pair[0])
    spans = sorted({span for tally in found for span, _ in tally.worst})[-SPANS:]
    mistakes = [one for tally in found for span, some in tally.worst if span in spans for one in some]
    return msgspec.structs.replace(
        view,
        calibration=_calibration(found),
        residual_width=math.ldexp(1.0, scale) if residuals else 0.0,
        residual_first=first,
        residuals=[residuals.get(place, 0) for place in range(first, max(residuals, default=-1) + 1)],
        errors=_summed([one for tally in found for one in tally.errors]),
        pairs=[(predicted, actual) for _, predicted, actual in pairs[-PAIRS:]],
        worst=worst(mistakes, any(tally.regression for tally in found)),
    )


def worst(mistakes: Iterable[Mistake], regression: bool) -> list[Mistake]:
    """The worst first, at most WORST: of a classifier the surest, of a regression those farthest off.

    Of those alike TWINS: an input that comes again and again is the same mistake, and hides all others.
    """
    score = (lambda one: (abs(one[2] - one[3]), one)) if regression else (lambda one: (one[4], one))
    found: list[Mistake] = []
    seen: Counter[tuple[float, ...]] = Counter()
    for one in sorted(mistakes, key=score, reverse=True):
        seen[one[2:]] += 1
        if seen[one[2:]] <= TWINS:
            found.append(one)
            if len(found) == WORST:
                break
    return found


def scale_of(error: float) -> int:
    """The power of two of the narrowest bins that reach as far as this residual."""
    return max(FINEST, math.frexp(error / HALF)[1]) if error else FINEST


def coarser(residuals: dict[int, int], doublings: int) -> dict[int, int]:
    """The same counts in bins that are 2 to the power of `doublings` as wide."""
    if not doublings:
        return residuals
    found: dict[int, int] = {}
    for place, count in residuals.items():
        found[place >> doublings] = found.get(place >> doublings, 0) + count
    return found


def _confusion(found: Sequence[Tally]) -> list[list[int]]:
    if not found or any(tally.wide for tally in found):
        return []
    size = max(len(tally.confusion) for tally in found)
    confusion = [[0] * size for _ in range(size)]
    for tally in found:
        for row, counts in zip(confusion, tally.confusion, strict=False):
            for index, count in enumerate(counts):
                row[index] += count
    return confusion


def _recent(found: Sequence[Tally], now: float) -> list[tuple[float, int, int]]:
    recent: dict[int, list[int]] = {}
    for tally in found:
        for time, joined, correct in tally.recent:
            if time > now - SLICE_S * SLICES:
                slot = recent.setdefault(time, [0, 0])
                slot[0] += joined
                slot[1] += correct
    return [(float(time), joined, correct) for time, (joined, correct) in sorted(recent.items())]


def _calibration(found: Sequence[Tally]) -> list[tuple[int, int, float]]:
    kept = [tally.bins for tally in found if tally.bins]
    return [
        (sum(one[0] for one in column), sum(one[1] for one in column), math.fsum(one[2] for one in column))
        for column in zip(*kept, strict=True)
    ]


def _summed(slices: list[Slice]) -> list[Slice]:
    """One slice for each time, the newest ones."""
    sums: dict[int, Slice] = {}
    for one in slices:
        time, n, off, square, y, y2 = sums.get(one[0], (one[0], 0, 0.0, 0.0, 0.0, 0.0))
        sums[time] = (time, n + one[1], off + one[2], square + one[3], y + one[4], y2 + one[5])
    return [sums[time] for time in sorted(sums)[-ERROR_SLICES:]]
