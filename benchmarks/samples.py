"""From samples to what is reported: medians with their range, ratios pair by pair, results as plain structs. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

import msgspec


class Spread(msgspec.Struct, frozen=True):
    """The median of some samples, with the lowest and the highest."""

    median: float
    low: float
    high: float


class Way(msgspec.Struct, frozen=True):
    """One way of doing the work: `measures` by name and unit (None: does not apply to it), `ratio` to the reference in
    the first of them."""

    name: str
    measures: dict[str, Spread | None]
    ratio: Spread | None = None


class Result(msgspec.Struct, frozen=True):
    """What one benchmark found: `work` says what was done and how it was measured, `reference` names the way that the
    ratios are to."""

    name: str
    work: str
    reference: str
    ways: list[Way]
    notes: list[str] = []
    plots: dict[str, str] = {}
    """SVG by file name."""


def spread(samples: Iterable[float]) -> Spread:
    """Median and range of at least one sample."""
    listed = sorted(samples)
    return Spread(statistics.median(listed), listed[0], listed[-1])


def paired(samples: Sequence[float], reference: Sequence[float]) -> Spread:
    """Ratios of samples to those of the reference that were taken in the same round."""
    return spread(sample / other for sample, other in zip(samples, reference, strict=True))


def percentile(samples: Sequence[float], rank: float) -> float:
    """The smallest sample that at least this share (0 to 1) of all samples does not exceed."""
    listed = sorted(samples)
    return listed[max(0, math.ceil(rank * len(listed) - 1e-9) - 1)]


def way(name: str, rounds: Sequence[dict[str, float]], reference: Sequence[dict[str, float]] | None = None) -> Way:
    """What the rounds of one way come to; each maps measures to numbers, and the first measure is the one compared."""
    measures = list(rounds[0])
    first = measures[0]
    ratio = None if reference is None else paired([r[first] for r in rounds], [r[first] for r in reference])
    found = {measure: [r[measure] for r in rounds] for measure in measures}
    return Way(name, {m: None if any(map(math.isnan, f)) else spread(f) for m, f in found.items()}, ratio)


def merged(results: Sequence[Result]) -> Result:
    """Parts of one table as one: each way once, the one that several have with the range of all its measurements."""
    found: dict[str, list[Way]] = {}
    for one in (way for result in results for way in result.ways):
        found.setdefault(one.name, []).append(one)
    first = results[0]
    notes = list(dict.fromkeys(note for result in results for note in result.notes))
    return msgspec.structs.replace(first, ways=[_widest(ways) for ways in found.values()], notes=notes)


def _widest(ways: Sequence[Way]) -> Way:
    measures = {name: _wide([way.measures[name] for way in ways]) for name in ways[0].measures}
    return msgspec.structs.replace(ways[0], measures=measures)


def _wide(spreads: Sequence[Spread | None]) -> Spread | None:
    known = [one for one in spreads if one is not None]
    if not known:
        return None
    median = statistics.median(one.median for one in known)
    return Spread(median, min(one.low for one in known), max(one.high for one in known))
