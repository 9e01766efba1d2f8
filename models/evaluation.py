"""Measures of quality from counts and sums that can be merged in any order; pure, and without numpy.

Workers count, somebody adds the counts up, and the measure of the whole is exact: nothing here averages averages.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from msgspec import Struct

Confusion = Sequence[Sequence[int]]
"""Counts by row of actual and column of predicted label index; square, and empty when nothing was counted."""


class Interval(Struct, frozen=True):
    """A share of `n` trials with the bounds it may truly have; `value` is None when nothing was counted."""

    value: float | None
    low: float
    high: float
    n: int


class Grade(Struct, frozen=True):
    """One class seen alone: of its predictions how many were right, of its cases how many were found."""

    precision: float | None
    recall: float | None
    support: int


class Sums(Struct, frozen=True):
    """What a regression is measured by: `abs` and `sq` are of prediction minus truth, `y` and `y2` of the truth."""

    n: int = 0
    sum_abs: float = 0.0
    sum_sq: float = 0.0
    sum_y: float = 0.0
    sum_y2: float = 0.0


class Bin(Struct, frozen=True):
    """Predictions of like confidence: how many, the sum of their confidences, and how many were right."""

    n: int = 0
    confidence: float = 0.0
    right: int = 0


def confusion(pairs: Iterable[tuple[int, int]], size: int) -> list[list[int]]:
    """Counts of (actual, predicted) pairs of `size` classes."""
    counts = [[0] * size for _ in range(size)]
    for actual, predicted in pairs:
        counts[actual][predicted] += 1
    return counts


def merge(*parts: Confusion) -> list[list[int]]:
    """The counts of all `parts` together; order does not matter, and one with fewer classes is widened."""
    size = max(map(len, parts), default=0)
    total = [[0] * size for _ in range(size)]
    for part in parts:
        for row, counts in zip(total, part, strict=False):
            for predicted, count in enumerate(counts):
                row[predicted] += count
    return total


def accuracy(counts: Confusion, z: float = 1.959964) -> Interval:
    """The share predicted rightly, with its Wilson interval; the default `z` is 95 %."""
    return wilson(sum(row[index] for index, row in enumerate(counts)), sum(map(sum, counts)), z)


def wilson(hits: int, n: int, z: float = 1.959964) -> Interval:
    """A share and its bounds by Wilson's score interval (1927), which stays within 0..1 and holds for small `n`."""
    if n == 0:
        return Interval(None, 0.0, 1.0, 0)
    share = hits / n
    weight = z * z / n
    centre = (share + weight / 2) / (1 + weight)
    half = z * math.sqrt(share * (1 - share) / n + weight / (4 * n)) / (1 + weight)
    return Interval(share, max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half)), n)


def grades(counts: Confusion) -> list[Grade]:
    """Precision, recall and support of each class; a measure without cases is None."""
    supports = [sum(row) for row in counts]
    guesses = [sum(column) for column in zip(*counts, strict=True)]
    return [
        Grade(row[index] / guess if guess else None, row[index] / support if support else None, support)
        for index, (row, guess, support) in enumerate(zip(counts, guesses, supports, strict=True))
    ]


def sums(pairs: Iterable[tuple[float, float]]) -> Sums:
    """Sums over (actual, predicted) pairs."""
    n, sum_abs, sum_sq, sum_y, sum_y2 = 0, 0.0, 0.0, 0.0, 0.0
    for actual, predicted in pairs:
        error = predicted - actual
        n += 1
        sum_abs += abs(error)
        sum_sq += error * error
        sum_y += actual
        sum_y2 += actual * actual
    return Sums(n, sum_abs, sum_sq, sum_y, sum_y2)


def add(*parts: Sums) -> Sums:
    """The sums of all `parts` together."""
    return Sums(
        sum(part.n for part in parts),
        math.fsum(part.sum_abs for part in parts),
        math.fsum(part.sum_sq for part in parts),
        math.fsum(part.sum_y for part in parts),
        math.fsum(part.sum_y2 for part in parts),
    )


def mae(total: Sums) -> float | None:
    """Mean absolute error, in the unit of the truth; None when nothing was counted."""
    return total.sum_abs / total.n if total.n else None


def rmse(total: Sums) -> float | None:
    """Root of the mean squared error, in the unit of the truth; None when nothing was counted."""
    return math.sqrt(total.sum_sq / total.n) if total.n else None


def r2(total: Sums) -> float | None:
    """Share of the truth's variance that is explained, at most 1; None when the truth did not vary."""
    if total.n < 2:
        return None
    spread = total.sum_y2 - total.sum_y * total.sum_y / total.n
    # Below this the difference of two large sums is rounding error, not variance.
    if spread <= 1e-12 * total.sum_y2:
        return None
    return 1 - total.sum_sq / spread


def calibration(outcomes: Iterable[tuple[float, bool]], bins: int = 10) -> tuple[Bin, ...]:
    """Bins of equal width over confidence 0..1 from (confidence, right) pairs."""
    n, confidence, right = [0] * bins, [0.0] * bins, [0] * bins
    for sure, correct in outcomes:
        index = min(bins - 1, int(sure * bins))
        n[index] += 1
        confidence[index] += sure
        right[index] += correct
    return tuple(Bin(*cells) for cells in zip(n, confidence, right, strict=True))


def overlay(*parts: Sequence[Bin]) -> tuple[Bin, ...]:
    """The bins of all `parts` together; all must have the same number of bins."""
    return tuple(
        Bin(sum(part.n for part in same), math.fsum(part.confidence for part in same), sum(part.right for part in same))
        for same in zip(*parts, strict=True)
    )


def calibration_error(bins: Sequence[Bin]) -> float | None:
    """Expected calibration error: the mean distance of confidence from accuracy, weighted by cases (Naeini 2015)."""
    n = sum(cell.n for cell in bins)
    return sum(abs(cell.confidence - cell.right) for cell in bins) / n if n else None
