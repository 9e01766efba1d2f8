"""A frame says what the readings, the counters and the folds say, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from headrace.bus import GroupState
from headrace.codec import decode, encode
from headrace.events import Frame, ModelPromoted, PredictionJoined, RunMetrics, ServerView, WorkerAlive
from headrace.positions import Position
from headrace.settings import Settings
from headrace.subscriber.aggregation.alerts import Alerts
from headrace.subscriber.aggregation.frame import (
    IntakeCounts,
    Known,
    Place,
    Readings,
    compose,
    group_views,
    model_views,
)
from headrace.subscriber.aggregation.quality import Quality
from headrace.subscriber.aggregation.runs import Runs
from headrace.subscriber.aggregation.serving import Serving
from headrace.subscriber.aggregation.statistics import Statistics, Totals
from headrace.subscriber.aggregation.workers import Workers

NOW = 1000.9


@dataclass(frozen=True)
class Card:
    kind: str = "classification"
    labels: Sequence[str] = ("no", "yes")
    image_shape: tuple[int, int] | None = (8, 8)
    metrics: Mapping[str, float] = field(default_factory=lambda: {"accuracy": 0.9})


def card_of(model: str, version: int) -> Card | None:
    return Card() if model == "digits" else None


def counted(**counters: int) -> Statistics:
    """Statistics after 5 s in which each counter grew by so much a second."""
    statistics = Statistics(Totals(through=0))
    second = {name.replace("__", ":"): n for name, n in counters.items()}
    statistics.take(NOW, {at: second if at > 995 else {} for at in statistics.wanted(NOW, 3600)})
    return statistics


def known(statistics: Statistics | None = None) -> Known:
    return Known(
        statistics=statistics or counted(),
        runs=Runs(),
        workers=Workers(),
        serving=Serving(),
        alerts=Alerts(),
        quality={0: Quality()},
    )


def group(lag: int, in_flight: int, oldest: Position | None = None, name: str = "scorers") -> GroupState:
    return GroupState(name, lag, in_flight, oldest, 1, 0)


def read(*states: GroupState) -> Readings:
    places = [Place("requests", partition) for partition in range(len(states))]
    return Readings(
        heads={place: Position(1, 100) for place in places},
        groups={place: [state] for place, state in zip(places, states, strict=True)},
    )


def test_a_group_adds_up_its_partitions_and_dates_its_oldest_entry() -> None:
    readings = read(group(5, 1, Position(999_900, 7)), group(2, 0, Position(999_400, 3)))
    [view] = group_views(readings, counted(ack__requests__scorers=7), NOW)
    assert (view.lag, view.in_flight, view.total) == (7, 1, 192)
    assert view.oldest_ms == pytest.approx(1500.0)
    assert view.committed.s5 == pytest.approx(7.0, rel=0.03)


@pytest.mark.parametrize(
    ("depth", "published", "committed", "drain_s"),
    [(0, 5, 5, 0.0), (60, 4, 10, 10.0), (60, 10, 10, None), (60, 20, 10, None)],
)
def test_the_time_to_drain_is_that_at_present_rates(
    depth: int, published: int, committed: int, drain_s: float | None
) -> None:
    statistics = counted(pub__requests=published, ack__requests__scorers=committed)
    [view] = group_views(read(group(depth, 0)), statistics, NOW)
    assert view.drain_s == (drain_s if drain_s is None else pytest.approx(drain_s, rel=0.03))


def test_models_in_service_come_first_with_what_the_registry_knows() -> None:
    statistics = counted(req__digits__2=3, row__digits__2=6, req__other__1=1, cls__digits__2__1=4, lat__digits__2__50=3)
    quality = Quality()
    quality.fold(
        PredictionJoined(model="digits", version=2, predictions=["p"], predicted=[1.0], actual=[1.0], confidence=[0.8]),
        NOW,
    )
    champion, other, loser = model_views(statistics, {"zebra": 1, "digits": 2}, [quality], card_of, NOW)
    assert [(m.name, m.champion) for m in (champion, other, loser)] == [
        ("digits", True),
        ("zebra", True),
        ("other", False),
    ]
    assert (champion.labels, champion.image, champion.scores) == (["no", "yes"], (8, 8), {"accuracy": 0.9})
    assert (champion.requests_total, champion.rows_total, champion.classes) == (15, 30, [0, 20])
    assert champion.latency is not None
    assert champion.latency.count == 15
    assert (champion.quality.joined, champion.quality.correct) == (1, 1)
    assert (other.requests_total, other.latency) == (0, None)


def test_a_frame_holds_everything_and_survives_the_wire() -> None:
    state = known(counted(pub__requests=10, bytes__requests=1000))
    state.runs.fold(RunMetrics(run="r", step=1, metrics={"loss": 0.5}), NOW)
    state.workers.fold(WorkerAlive(worker="w", kind="scorer", live=4, lost=1), NOW)
    state.serving.fold(ModelPromoted(model="digits", version=2, sha256=""), Position(1, 1))
    state.intake = IntakeCounts(taken=3, refused=2, duplicates=1)
    readings = read(group(5, 0))
    readings.lengths[Place("requests", 0)] = 42
    readings.memory[Place("requests", 0)] = 4200
    readings.server = ServerView(product="valkey", version="9.1")
    settings = Settings(prefix="p", partitions=2, depth_limit=1000)

    def snapshot(number: int) -> Frame:
        groups = group_views(readings, state.statistics, NOW)
        return compose(
            state, readings, groups, number=number, aggregator="a", settings=settings, cards=card_of, now=NOW
        )

    frame = snapshot(1)
    assert decode(encode(frame)) == frame
    assert decode(encode(frame, "json")) == frame
    [channel] = frame.channels
    assert (channel.name, channel.total, channel.length, channel.memory_bytes) == ("requests", 100, 42, 4200)
    assert channel.limit == 2000
    assert channel.rate.s5 == pytest.approx(10.0, rel=0.03)
    assert (frame.live.live, frame.live.lost, frame.live.taken, frame.live.refused) == (4, 1, 3, 3)
    assert frame.points["r"]["loss"] == [(1, 0.5)]
    assert frame.runs_total == 1
    assert [view.stage for view in frame.latency] == ["wait", "model", "commit", "total"]
    assert (frame.server.product, frame.prefix, frame.aggregator) == ("valkey", "p", "a")
    assert snapshot(2).points == {}
