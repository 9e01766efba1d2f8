"""What the time bar shows: how far back the logs go, how much came in over that time, when it was alerted, where frames
are missing. Bounded: the last quarter of an hour is what the state has, longer spans are probed and the probes kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

import msgspec

from headrace.channels import ALERTS, FRAMES_LONG
from headrace.codec import decode
from headrace.dashboard.feed import Feed
from headrace.dashboard.record import Record, read_frame
from headrace.dashboard.series import DERIVED
from headrace.errors import CodecError
from headrace.events import Alert, Frame
from headrace.positions import Position

SPANS = (900, 7_200, 86_400)
"""Seconds that the bar may show."""
PROBES = 120
"""Probes over a long span."""
KEPT = 3 * PROBES
ALERTS_SHOWN = 100
HOLE_S = 10.0
"""Frames that are further apart leave a gap; longer spans have a frame of every ten seconds."""
Probe = tuple[float, int]
"""Time of a frame, and the events that had arrived by then."""
SPARSE_S = 20.0
"""Step of the probes where a short span reaches back beyond what has every frame."""


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """An alert that was raised or cleared at `at`, Unix seconds."""

    at: float
    name: str
    subject: str
    state: str
    severity: str
    text: str


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """The axis is from `begin` to `end`, Unix seconds; `rates` are events a second that came in around `times`.

    `oldest` is the oldest moment kept, `exact` the oldest of which every second is; None = nothing is kept.
    `gaps` are spans without frames.
    """

    begin: float
    end: float
    oldest: float | None
    exact: float | None
    times: list[float]
    rates: list[float | None]
    alerts: list[Mark]
    gaps: list[tuple[float, float]]


class Spans:
    """Makes spans of one dashboard."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._record = Record(feed.bus)
        self._probes: OrderedDict[tuple[int, int], Probe] = OrderedDict()
        self._epoch = ""

    async def span(self, seconds: int, now: float) -> Span:
        """The span of the last `seconds` before Unix time `now`. Raises HeadraceError."""
        oldest_ms, exact_ms = await self._record.oldest()
        oldest = None if oldest_ms is None else oldest_ms / 1000
        begin = max(now - seconds, oldest or 0.0)
        if seconds <= SPANS[0]:
            times, rates = self._near(begin)
            exact = min(now, exact_ms / 1000) if exact_ms is not None else now
            gaps = holes([time for time in times if time >= exact], max(begin, exact), now, HOLE_S)
            if exact - begin > SPARSE_S:
                earlier = await self._far(begin, exact, SPARSE_S)
                after = [(time, rate) for time, rate in zip(times, rates, strict=True) if time > exact]
                times = [*earlier[0], *(time for time, _ in after)]
                rates = [*earlier[1], *(rate for _, rate in after)]
                gaps = [*earlier[2], *gaps]
        else:
            times, rates, gaps = await self._far(begin, now, seconds / PROBES)
        return Span(
            begin=begin,
            end=now,
            oldest=oldest,
            exact=None if exact_ms is None else exact_ms / 1000,
            times=times,
            rates=rates,
            alerts=await self._alerts(begin),
            gaps=gaps if oldest is not None else [],
        )

    def _near(self, begin: float) -> tuple[list[float], list[float | None]]:
        """Steps of three seconds, and what the state has seen since the last of them."""
        tiers = self._feed.state.history.columns()
        coarse, fine = tiers[-1], tiers[0]
        closed = coarse.times[-1] + coarse.step_s / 2 if coarse.times else 0.0
        rows = [
            *zip(coarse.times, coarse.values.get("in", []), strict=False),
            *(row for row in zip(fine.times, fine.values.get("in", []), strict=False) if row[0] >= closed),
        ]
        kept = [row for row in rows if row[0] >= begin]
        return [time for time, _ in kept], [rate for _, rate in kept]

    async def _far(
        self, begin: float, now: float, step_s: float
    ) -> tuple[list[float], list[float | None], list[tuple[float, float]]]:
        """One frame a step, and the mean rate between each two of them."""
        if self._epoch != self._feed.state.epoch:
            self._epoch = self._feed.state.epoch
            self._probes.clear()
        steps = range(int(begin // step_s), int(now // step_s) + 1)
        probes = [probe for number in steps if (probe := await self._probe(number, step_s))]
        if (newest := self._feed.state.frame) and newest.time <= now + 2 * step_s:
            probes.append((newest.time, arrived(newest)))
        times: list[float] = []
        rates: list[float | None] = []
        probes.sort()
        for (before, fewer), (after, more) in pairwise(probes):
            if 0 < after - before <= 2 * step_s:
                times.append((before + after) / 2)
                rates.append((more - fewer) / (after - before) if more >= fewer else None)
        return times, rates, holes([time for time, _ in probes], begin, now, 2 * step_s)

    async def _probe(self, number: int, step_s: float) -> Probe | None:
        """The first frame of a step; one that was found is not asked for again."""
        key = number, int(step_s)
        if key in self._probes:
            return self._probes[key]
        start, stop = Position(int(number * step_s * 1000), 0), Position(int((number + 1) * step_s * 1000), 0)
        entries = await self._feed.bus.read(FRAMES_LONG, start=start, stop=stop, count=1)
        frame = read_frame(entries[0]) if entries else None
        if frame is None:
            return None
        self._probes[key] = (frame.time, arrived(frame))
        while len(self._probes) > KEPT:
            self._probes.popitem(last=False)
        return self._probes[key]

    async def _alerts(self, begin: float) -> list[Mark]:
        start = Position(int(begin * 1000), 0)
        marks = []
        for entry in await self._feed.bus.read(ALERTS, start=start, count=ALERTS_SHOWN, newest_first=True):
            try:
                event = decode(entry.payload)
            except CodecError:
                continue
            if isinstance(event, Alert):
                marks.append(
                    Mark(
                        at=entry.position.ms / 1000,
                        name=event.name,
                        subject=event.subject,
                        state=event.state,
                        severity=event.severity,
                        text=event.text,
                    )
                )
        return marks[::-1]


def arrived(frame: Frame) -> int:
    """Events that came in from outside, since the logs began."""
    return sum(channel.total for channel in frame.channels if channel.name not in DERIVED)


def holes(times: Sequence[float], begin: float, end: float, most_s: float) -> list[tuple[float, float]]:
    """Spans between `begin` and `end` longer than `most_s` in which there is no time."""
    edges = [begin, *times, end]
    return [(a, b) for a, b in pairwise(edges) if b - a > most_s]
