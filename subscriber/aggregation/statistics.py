"""Per-second counters to rates, percentiles and totals. Pure; running sums, so a frame costs the same at any window.

A second is open while it may still be counted in: the running one, and the one before until it was read after its end.
Closed seconds stand in a ring of five minutes, and in one running sum for each window.

Rates are those of a window that slides with the clock and not with the second. At f of the running second N, the last
W seconds hold: all of N so far, the W - 1 seconds before, and of the second N - W the part 1 - f that the window still
covers, taken as evenly spread. So a steady flow gives a steady rate: no drop at the border of a second (where N is
empty and N - W counts in full), no sawtooth within it (what N gains, N - W loses), and no lag of up to a second.
Histograms and class mixes need whole counts and take whole seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

import msgspec

from headrace.errors import CodecError
from headrace.events import LatencyView, Rate
from headrace.histogram import percentiles

SHORT, MIDDLE, LONG = 5, 30, 300
WINDOWS: Final = (SHORT, MIDDLE, LONG)
SETTLED_S: Final = 0.05
"""A second read so long after its end is final; covers the error in what is known of the server's clock."""
_KEPT_TOTALS: Final = ("req:", "row:", "dead:", "unmatched")
_BY_KIND: Final = {"lat": (MIDDLE,), "cls": (MIDDLE, LONG), "conf": (LONG,)}
"""Windows of counters that are only asked for there; all others keep all three."""
MIX: Final = 12
STAGES: Final = ("wait", "model", "commit", "total")

Counters = Mapping[str, int]
_Name = TypeVar("_Name", str, int)


class Totals(msgspec.Struct):
    """Counts since the log began, through the end of Unix second `through`; what the buckets no longer hold.

    `missed_s` seconds are in no count, the last of them before Unix second `missed_at`: nobody added them up while
    their counters were kept.
    """

    through: int = 0
    counts: dict[str, int] = {}
    missed_s: int = 0
    missed_at: int = 0

    def encode(self) -> bytes:
        return _encode(self)

    @staticmethod
    def decode(payload: bytes) -> Totals:
        """Read what `encode` made. Raises CodecError."""
        try:
            return _decode(payload)
        except msgspec.DecodeError as error:
            raise CodecError(f"saved totals cannot be read: {error}") from None


class Statistics:
    """Everything that the per-second counters say, over all partitions. Times are Unix seconds of the server."""

    def __init__(self, totals: Totals | None = None) -> None:
        self._totals = totals or Totals()
        self._ring: deque[dict[str, int]] = deque(maxlen=LONG)
        self._sums: dict[int, dict[str, int]] = {window: {} for window in WINDOWS}
        self._open: dict[int, dict[str, int]] = {}
        self._running: dict[str, int] = {}
        self._closed: int | None = None
        self._final: int | None = None
        self._second = 0
        self._share = 0.0
        self._spread: dict[int, dict[str, dict[int, int]]] = {window: {} for window in WINDOWS}
        """The sums of counters that are asked for by family, by window and family: what has no count costs nothing."""
        self._running_spread: dict[str, dict[int, int]] = {}
        self._places: dict[str, tuple[str, int]] = {}
        """Family and index of such counters."""
        self._known: dict[str, tuple[int, ...]] = {}

    def wanted(self, now: float, kept_s: int) -> range:
        """The seconds to read next: all that are not final, at first those of the ring and those beyond the totals.

        `kept_s` is how long counters are kept.
        """
        second = max(int(now), self._second)
        self._miss(second - kept_s)
        if self._final is None:
            return range(max(second - kept_s, min(second - LONG, self._totals.through + 1)), second + 1)
        return range(max(self._final + 1, second - kept_s), second + 1)

    def take(self, now: float, readings: Mapping[int, Counters]) -> None:
        """Take the counters of the seconds that were wanted at `now`, summed over partitions."""
        second = max(int(now), self._second)
        self._second, self._share = second, max(now - second, 0.0)
        if self._closed is None:
            self._closed = min(readings, default=second) - 1
        for read, counters in readings.items():
            if read > self._closed:
                self._open[read] = dict(counters)
        settled = int(now - SETTLED_S) - 1
        self._final = max(self._final or 0, min(settled, second - 1))
        while self._closed < self._final:
            self._closed += 1
            self._close(self._closed, self._open.pop(self._closed, {}))
        self._running = _added(self._open.values())
        self._running_spread = {}
        for name, count in self._running.items():
            if name not in self._known:
                self._learn(name)
            if (place := self._places.get(name)) is not None:
                self._running_spread.setdefault(place[0], {})[place[1]] = count

    def rate(self, name: str) -> Rate:
        """Counts a second over the three windows."""
        if name not in self._known:
            return Rate()
        running = self._running.get(name, 0)
        return Rate(*(max(0.0, self._sliding(name, running, window)) / window for window in WINDOWS))

    def total(self, name: str) -> int:
        """Counts since the log began, of a counter that is totalled."""
        return self._totals.counts.get(name, 0) + self._running.get(name, 0)

    @property
    def missed_s(self) -> int:
        """Seconds that no total holds."""
        return self._totals.missed_s

    @property
    def missed_at(self) -> int:
        """The Unix second before which the last of them was; 0 if there are none."""
        return self._totals.missed_at

    def histogram(self, family: str, window: int = 0) -> dict[int, int]:
        """Counts by the last number of the counters' names: `lat:...` over 30 s, `cls:...`, `conf:...` over 5 min."""
        window = window or _BY_KIND.get(family.partition(":")[0], WINDOWS)[-1]
        found = dict(self._spread[window].get(family, {}))
        for index, count in self._running_spread.get(family, {}).items():
            found[index] = found.get(index, 0) + count
        return found

    def latency(self, stage: str, family: str = "") -> LatencyView:
        """Percentiles over 30 s of one stage, or of the total of one model version (`family` lat:MODEL:VERSION)."""
        counts = self.histogram(family or f"lat:{stage}")
        p50, p95, p99 = percentiles(counts, 0.5, 0.95, 0.99)
        return LatencyView(stage=stage, count=sum(counts.values()), p50_ms=p50, p95_ms=p95, p99_ms=p99)

    def classes(self, model: str, version: int) -> list[int]:
        """Predicted classes over 5 min, by class index."""
        return _dense(self.histogram(f"cls:{model}:{version}"), 0)

    def mix(self, model: str, version: int) -> list[int]:
        """Predicted classes over 30 s; beyond MIX of them the last one stands for all the others."""
        counts = _dense(self.histogram(f"cls:{model}:{version}", MIDDLE), 0)
        return counts if len(counts) <= MIX else [*counts[: MIX - 1], sum(counts[MIX - 1 :])]

    def confidence(self, model: str, version: int) -> list[int]:
        """Confidence over 5 min in 20 equal bins; empty without any."""
        counts = self.histogram(f"conf:{model}:{version}")
        return _dense(counts, 20)[:20] if counts else []

    def models(self) -> set[tuple[str, int]]:
        """Model versions with traffic in the last 5 min."""
        found: set[tuple[str, int]] = set()
        for name in self._known:
            if name.startswith("req:"):
                model, _, version = name[4:].rpartition(":")
                if version.isdigit():
                    found.add((model, int(version)))
        return found

    def published(self) -> set[str]:
        """Channels with events in the last 5 min."""
        return {name[4:] for name in self._known if name.startswith("pub:")}

    def save(self) -> Totals:
        """The totals through the newest closed second; seconds after it are read again on loading."""
        return self._totals

    def _miss(self, oldest: int) -> None:
        """Note the seconds between those that were added up and `oldest`, the first whose counters are still kept."""
        totals = self._totals
        if 0 < totals.through < oldest - 1:
            totals.missed_s += oldest - 1 - totals.through
            totals.through, totals.missed_at = oldest - 1, oldest

    def _sliding(self, name: str, running: int, window: int) -> float:
        """Counts of the last `window` seconds ending now."""
        total = self._sums[window].get(name, 0) + running
        opened = self._second - (self._closed or 0)
        leaving = window + 1 - opened  # how far back in the ring the second N - W lies
        edge = self._ring[-leaving].get(name, 0) if leaving <= len(self._ring) else 0
        if opened == 1:  # the sum begins after it
            return total + (1.0 - self._share) * edge
        return total - self._share * edge  # the sum begins with it

    def _close(self, second: int, counters: dict[str, int]) -> None:
        """Move the ring on by one second; the sum of a window holds the newest W - 1 seconds of it."""
        if second > self._totals.through:
            self._totals.through = second
            counts = self._totals.counts
            for name, count in counters.items():
                if name.startswith(_KEPT_TOTALS):
                    counts[name] = counts.get(name, 0) + count
        for name in counters:
            if name not in self._known:
                self._learn(name)
        evicted = self._ring[0] if len(self._ring) == LONG else {}
        self._ring.append(counters)
        for window in WINDOWS:
            self._shift(window, counters, self._ring[-window] if len(self._ring) >= window else {})
        for name in evicted:
            if not any(self._count(name, window) for window in self._known.get(name, ())):
                self._known.pop(name, None)
                self._places.pop(name, None)

    def _shift(self, window: int, entering: dict[str, int], leaving: dict[str, int]) -> None:
        known = self._known
        for name, count in entering.items():
            if window in known[name]:
                self._add(name, window, count)
        for name, count in leaving.items():
            if window in known.get(name, ()):
                self._add(name, window, -count)

    def _add(self, name: str, window: int, count: int) -> None:
        place = self._places.get(name)
        if place is None:
            _put(self._sums[window], name, count)
            return
        family, index = place
        members = self._spread[window].setdefault(family, {})
        _put(members, index, count)
        if not members:
            del self._spread[window][family]

    def _count(self, name: str, window: int) -> int:
        """The sum of a counter over the closed seconds of a window."""
        place = self._places.get(name)
        if place is None:
            return self._sums[window].get(name, 0)
        return self._spread[window].get(place[0], {}).get(place[1], 0)

    def _learn(self, name: str) -> None:
        kind = name.partition(":")[0]
        self._known[name] = _BY_KIND.get(kind, WINDOWS)
        if kind in _BY_KIND:
            family, _, index = name.rpartition(":")
            if index.isdigit():
                self._places[name] = family, int(index)


def _put(sums: dict[_Name, int], name: _Name, count: int) -> None:
    """Add to a sum; one that falls to nothing is gone."""
    rest = sums.get(name, 0) + count
    if rest > 0:
        sums[name] = rest
    else:
        sums.pop(name, None)


def _added(parts: Iterable[Counters]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in parts:
        if not total:
            total = dict(part)
            continue
        for name, count in part.items():
            total[name] = total.get(name, 0) + count
    return total


def summed(partitions: Iterable[Counters]) -> dict[str, int]:
    """The counters of one second over partitions."""
    return _added(partitions)


def _dense(counts: Mapping[int, int], least: int) -> list[int]:
    size = max(least, 1 + max(counts, default=-1))
    return [counts.get(index, 0) for index in range(min(size, 1000))]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Totals).decode
