"""The frame, put together from everything that is known at one moment. Pure.

readings (heads, groups, server) + statistics + runs + quality + workers + serving + alerts + intake ──> Frame
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from headrace.bus import GroupState
from headrace.channels import PARTITIONED, REQUESTS, SCORERS
from headrace.events import (
    ChannelView,
    Frame,
    GroupView,
    LiveView,
    ModelView,
    ServerView,
    WebhookView,
    new_id,
)
from headrace.histogram import mean_ms
from headrace.positions import Position
from headrace.settings import Settings
from headrace.subscriber.aggregation.alerts import SOURCE, Alerts
from headrace.subscriber.aggregation.filling import Filling
from headrace.subscriber.aggregation.quality import Cards, Quality, merged
from headrace.subscriber.aggregation.runs import Runs
from headrace.subscriber.aggregation.serving import Serving
from headrace.subscriber.aggregation.statistics import STAGES, Statistics
from headrace.subscriber.aggregation.workers import Workers

MODELS: Final = 50
DETAILED: Final = 12
"""Models whose pairs, residuals and worst mistakes are in the frame."""


class Place(NamedTuple):
    """One partition of one channel."""

    channel: str
    partition: int


@dataclass(slots=True)
class Readings:
    """What the server said last, of every partition. The driver refreshes each part at its own pace."""

    heads: dict[Place, Position] = field(default_factory=dict)
    epochs: dict[Place, str] = field(default_factory=dict)
    lengths: dict[Place, int] = field(default_factory=dict)
    memory: dict[Place, int] = field(default_factory=dict)
    groups: dict[Place, list[GroupState]] = field(default_factory=dict)
    server: ServerView = field(default_factory=ServerView)
    filling: Filling[Place] = field(default_factory=lambda: Filling(30.0))
    """How the entries that some group still needs grew."""

    def needed(self, place: Place) -> int:
        """Entries that some group still needs: what the bound of a log counts."""
        return max((state.lag + state.in_flight for state in self.groups.get(place, ())), default=0)


@dataclass(slots=True)
class IntakeCounts:
    """What became of plain PUBLISH."""

    taken: int = 0
    refused: int = 0
    """No event, or an event that the channel does not take."""
    duplicates: int = 0


@dataclass(slots=True)
class Known:
    """All state of the aggregator: folded from channels and counters, saved, and loaded by the next leader."""

    statistics: Statistics
    runs: Runs
    workers: Workers
    serving: Serving
    alerts: Alerts
    quality: dict[int, Quality]
    """By partition: a label's commit saves beside its own log."""
    intake: IntakeCounts = field(default_factory=IntakeCounts)


def channel_views(readings: Readings, statistics: Statistics, settings: Settings) -> list[ChannelView]:
    """Every channel over its partitions, in the order in which they were read."""
    places: dict[str, list[Place]] = {}
    for place in readings.heads:
        places.setdefault(place.channel, []).append(place)
    return [
        ChannelView(
            name=channel,
            total=sum(readings.heads[place].number for place in parts),
            rate=statistics.rate(f"pub:{channel}"),
            byte_rate=statistics.rate(f"bytes:{channel}"),
            length=sum(readings.lengths.get(place, 0) for place in parts),
            memory_bytes=sum(readings.memory.get(place, 0) for place in parts),
            limit=settings.depth_limit * (settings.partitions if channel in PARTITIONED else 1),
            needed=sum(readings.needed(place) for place in parts),
            full_s=_soonest(readings.filling.full_s(place, settings.depth_limit) for place in parts),
        )
        for channel, parts in places.items()
    ]


def group_views(readings: Readings, statistics: Statistics, now: float) -> list[GroupView]:
    """Every group over its partitions, by channel. `now` dates the oldest entry, Unix seconds of the server."""
    found: dict[tuple[str, str], list[tuple[Place, GroupState]]] = {}
    for place in readings.heads:
        for state in readings.groups.get(place, ()):
            found.setdefault((place.channel, state.name), []).append((place, state))
    views = []
    for (channel, name), parts in found.items():
        lag = sum(state.lag for _, state in parts)
        in_flight = sum(state.in_flight for _, state in parts)
        oldest_ms = min((state.oldest.ms for _, state in parts if state.oldest), default=None)
        total = sum(readings.heads[place].number for place, _ in parts)
        committed = statistics.rate(f"ack:{channel}:{name}")
        draining = committed.s5 - statistics.rate(f"pub:{channel}").s5
        depth = lag + in_flight
        views.append(
            GroupView(
                channel=channel,
                group=name,
                lag=lag,
                in_flight=in_flight,
                oldest_ms=max(0.0, now * 1000 - oldest_ms) if oldest_ms is not None else 0.0,
                committed=committed,
                dead=statistics.rate(f"dead:{channel}:{name}"),
                retried=statistics.rate(f"retry:{channel}:{name}"),
                total=max(0, total - depth),
                dead_total=statistics.total(f"dead:{channel}:{name}"),
                drain_s=0.0 if not depth else (depth / draining if draining > 0 else None),
                wait_ms=mean_ms(statistics.histogram("lat:total")) if (channel, name) == (REQUESTS, SCORERS) else None,
            )
        )
    return views


def model_views(
    statistics: Statistics,
    champions: Mapping[str, int],
    quality: Sequence[Quality],
    cards: Cards,
    now: float,
) -> list[ModelView]:
    """Versions in service first, then others that had traffic in the last 5 min."""
    serving = set(champions.items())
    seen = sorted(serving) + sorted(statistics.models() - serving, key=lambda key: (key[0], -key[1]))
    views = []
    for place, (model, version) in enumerate(seen[:MODELS]):
        card = cards(model, version)
        of = f"{model}:{version}"
        requests = statistics.total(f"req:{of}")
        views.append(
            ModelView(
                name=model,
                version=version,
                champion=(model, version) in serving,
                kind=card.kind if card else "classification",
                labels=list(card.labels) if card else [],
                image=card.image_shape if card else None,
                requests=statistics.rate(f"req:{of}"),
                rows=statistics.rate(f"row:{of}"),
                requests_total=requests,
                rows_total=statistics.total(f"row:{of}"),
                latency=statistics.latency("total", f"lat:{of}") if requests else None,
                classes=statistics.classes(model, version),
                mix=statistics.mix(model, version),
                confidence=statistics.confidence(model, version),
                quality=merged(quality, model, version, now, detailed=place < DETAILED),
                scores=dict(card.metrics) if card else {},
            )
        )
    return views


def live_view(workers: Workers, intake: IntakeCounts) -> LiveView:
    """What all processes saw of the live side, and what was taken in."""
    counts = workers.counts()
    return LiveView(
        live=counts.live,
        healed=counts.healed,
        lost=counts.lost,
        dropped=counts.dropped,
        unknown=counts.unknown,
        taken=intake.taken,
        refused=intake.refused + intake.duplicates,
    )


def compose(
    known: Known,
    readings: Readings,
    groups: list[GroupView],
    *,
    number: int,
    aggregator: str,
    settings: Settings,
    cards: Cards,
    now: float,
    webhook: WebhookView | None = None,
) -> Frame:
    """The frame of this moment. Takes the new points and batches, so that each comes in one frame."""
    runs = known.runs.view(now)
    fresh = known.runs.take_points(runs)
    return Frame(
        id=new_id(),
        source=SOURCE,
        time=now,
        number=number,
        aggregator=aggregator,
        prefix=settings.prefix,
        channels=channel_views(readings, known.statistics, settings),
        groups=groups,
        latency=[known.statistics.latency(stage) for stage in STAGES],
        models=model_views(known.statistics, known.serving.champions, list(known.quality.values()), cards, now),
        runs=runs,
        points=fresh.points,
        spans=fresh.spans,
        runs_total=len(known.runs),
        workers=known.workers.views(now),
        clocks=known.workers.clocks(),
        server=readings.server,
        live=live_view(known.workers, known.intake),
        alerts=known.alerts.views(),
        batches=known.workers.take_samples(),
        webhook=webhook,
        missed_s=known.statistics.missed_s,
        missed_at=known.statistics.missed_at,
    )


def _soonest(times_s: Iterable[float | None]) -> float | None:
    return min((seconds for seconds in times_s if seconds is not None), default=None)


def silences(groups: Iterable[tuple[Place, list[GroupState]]]) -> dict[tuple[str, str], tuple[bool, int]]:
    """For each (channel, group): whether anybody is a member, and how long ago the last one read, milliseconds."""
    found: dict[tuple[str, str], tuple[bool, int]] = {}
    for place, states in groups:
        for state in states:
            key = (place.channel, state.name)
            if state.consumers:
                member, idle_ms = found.get(key, (False, 0))
                found[key] = (True, min(idle_ms, state.idle_ms) if member else state.idle_ms)
            else:
                found.setdefault(key, (False, 0))
    return found
