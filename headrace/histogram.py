"""Latency histograms that merge by adding counts. Pure; a value is known to within 5 % from its bucket alone.

Log-linear buckets, as in HdrHistogram: one bucket a microsecond up to 16 us, then 16 equal buckets an octave. A bucket
is a small whole number, so a second of latencies fits into a few dozen counters of one hash. A bucket answers with its
middle: off by at most 3.2 % above 16 us, and by at most half a microsecond below.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_LINEAR = 16
_OCTAVES = 36
LAST = _LINEAR * (_OCTAVES + 1) - 1
"""The last bucket; it takes everything from about 12 days on."""
_LIMIT_US = float(_LINEAR << _OCTAVES)


def bucket(us: float) -> int:
    """The bucket of a duration in microseconds. Negative and NaN count as 0 (clocks of two machines differ)."""
    if not us >= 1.0:
        return 0
    if us < _LINEAR:
        return int(us)
    if us >= _LIMIT_US:
        return LAST
    fraction, exponent = math.frexp(us)
    return _LINEAR * (exponent - 5) + int(fraction * 2 * _LINEAR)


def buckets(us: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """`bucket` of each of an array, vectorised; shape as given."""
    import numpy as np

    clean = np.clip(np.nan_to_num(np.asarray(us, dtype=np.float64), nan=0.0, posinf=_LIMIT_US), 0.0, _LIMIT_US)
    fraction, exponent = np.frexp(np.maximum(clean, _LINEAR))
    found = _LINEAR * (exponent.astype(np.int64) - 5) + (fraction * 2 * _LINEAR).astype(np.int64)
    return np.where(clean < _LINEAR, clean.astype(np.int64), np.minimum(found, LAST))


def bounds_us(index: int) -> tuple[float, float]:
    """Lower (included) and upper (excluded) bound of a bucket, microseconds."""
    if index < _LINEAR:
        return float(index), float(index + 1)
    octave, part = divmod(index - _LINEAR, _LINEAR)
    return math.ldexp(_LINEAR + part, octave), math.ldexp(_LINEAR + part + 1, octave)


def middle_ms(index: int) -> float:
    """The value that stands for a bucket, milliseconds."""
    low, high = bounds_us(index)
    return (low + high) / 2000.0


def merge(histograms: Iterable[Mapping[int, int]]) -> dict[int, int]:
    """The histogram of everything that the given ones counted."""
    total: dict[int, int] = {}
    for counts in histograms:
        for index, count in counts.items():
            total[index] = total.get(index, 0) + count
    return total


def percentiles(counts: Mapping[int, int], *ranks: float) -> list[float]:
    """Percentiles in milliseconds, in the order asked for; `ranks` from 0 to 1; zeros if nothing was counted.

    The nearest-rank definition: the smallest value that at least that share of all values does not exceed.
    """
    total = sum(counts.values())
    if total <= 0:
        return [0.0] * len(ranks)
    wanted = sorted((max(1, math.ceil(rank * total - 1e-9)), place) for place, rank in enumerate(ranks))
    found = [0.0] * len(ranks)
    seen, at = 0, 0
    for index in sorted(counts):
        seen += counts[index]
        while at < len(wanted) and wanted[at][0] <= seen:
            found[wanted[at][1]] = middle_ms(index)
            at += 1
    return found


def mean_ms(counts: Mapping[int, int]) -> float | None:
    """The mean in milliseconds, each value taken as the middle of its bucket; None if nothing was counted."""
    total = sum(counts.values())
    return sum(middle_ms(index) * count for index, count in counts.items()) / total if total > 0 else None


def percentile(counts: Mapping[int, int], rank: float) -> float:
    """One percentile in milliseconds; see `percentiles`."""
    return percentiles(counts, rank)[0]
