"""What processes saw adds up, never falls, and survives their end and a change of leader."""

from __future__ import annotations

import pytest

from headrace.events import BatchSample, ModelPromoted, ModelRefused, PublisherReport, WorkerAlive, WorkerStopped
from headrace.positions import Position
from headrace.subscriber.aggregation.serving import Serving
from headrace.subscriber.aggregation.workers import REMEMBERED, SAMPLES, Counts, Workers


def alive(worker: str, **fields: int) -> WorkerAlive:
    return WorkerAlive(worker=worker, kind="dashboard", **fields)  # type: ignore[arg-type]


def test_counts_are_sums_over_processes_and_publishers() -> None:
    workers = Workers()
    workers.fold(alive("a", live=10, healed=1, unknown=2), 100.0)
    workers.fold(alive("a", live=20, healed=1, unknown=2), 101.0)
    workers.fold(alive("b", live=5, lost=3), 101.0)
    workers.fold(PublisherReport(producer="p", dropped={"run.metrics": 7, "x": 1}, lost=2), 101.0)
    workers.fold(PublisherReport(producer="p", dropped={"run.metrics": 9}, lost=2), 102.0)
    workers.fold(PublisherReport(producer="p", dropped={"run.metrics": 8}, lost=1), 99.0)
    assert workers.counts() == Counts(live=25, healed=1, lost=5, dropped=9, unknown=2)


def test_counts_do_not_fall_when_processes_end_or_come_back() -> None:
    workers = Workers()
    workers.fold(alive("a", live=10), 100.0)
    workers.fold(alive("b", live=5), 100.0)
    workers.fold(WorkerStopped(worker="a", kind="dashboard"), 101.0)
    workers.views(130.0)
    assert workers.counts().live == 15
    workers.fold(alive("b", live=6), 131.0)
    assert workers.counts().live == 16


def test_an_older_sign_of_life_changes_nothing() -> None:
    workers = Workers()
    workers.fold(alive("a", live=10), 100.0)
    workers.fold(alive("a", live=4), 99.0)
    workers.fold(WorkerStopped(worker="a", kind="dashboard"), 101.0)
    workers.fold(alive("a", live=9), 100.5)
    assert workers.views(101.0) == []
    assert workers.counts().live == 10


def test_very_many_ended_processes_are_added_up_and_forgotten() -> None:
    workers = Workers()
    for number in range(REMEMBERED + 20):
        workers.fold(PublisherReport(producer=str(number), lost=1), float(number))
    assert workers.counts().lost == REMEMBERED + 20
    saves, drops = workers.take_changes()
    assert sum(name.startswith("ended:") for name in saves) == REMEMBERED
    assert Workers.load(saves).counts().lost == REMEMBERED + 20
    assert all(name not in saves for name in drops)


def test_the_rate_of_a_worker_is_that_of_its_last_seconds() -> None:
    workers = Workers()
    for second in range(20):
        workers.fold(alive("a", events=100 * second if second < 10 else 1000 + 500 * (second - 10)), 100.0 + second)
    [view] = workers.views(119.0)
    assert view.rate == pytest.approx(500.0)
    assert view.age_s == 0.0


def test_a_new_leader_knows_what_the_old_one_knew() -> None:
    saved: dict[str, bytes] = {}
    workers = Workers()
    for at, event in enumerate(
        [alive("a", live=3), alive("b", lost=1), WorkerStopped(worker="b", kind="dashboard"), alive("c", live=9)]
    ):
        workers.fold(event, 100.0 + at)
        saves, drops = workers.take_changes()
        saved.update(saves)
        for name in drops:
            saved.pop(name, None)
    loaded = Workers.load(saved)
    assert loaded.counts() == workers.counts()
    assert loaded.views(104.0) == workers.views(104.0)
    assert loaded.take_changes() == ({}, [])


def test_the_newest_promotion_wins_over_older_ones_and_over_the_registry() -> None:
    serving = Serving({"digits": 1, "cancer": 2})
    serving.fold(ModelPromoted(model="digits", version=4, sha256=""), Position(200, 2))
    serving.fold(ModelPromoted(model="digits", version=3, sha256=""), Position(100, 1))
    assert serving.champions == {"digits": 4, "cancer": 2}
    loaded = Serving.load(serving.take_changes(), {"digits": 1})
    assert loaded.champions == {"digits": 4}
    assert serving.take_changes() == {}


def test_a_refusal_matters_while_the_worker_lives_without_the_version_in_service() -> None:
    serving = Serving({"digits": 4})
    serving.fold(ModelRefused(model="digits", version=4, worker="s", reason="r"), Position(1, 1))
    assert [refusal.worker for refusal in serving.refusals({"s": {"digits": 3}})] == ["s"]
    assert serving.refusals({}) == []
    assert serving.refusals({"s": {"digits": 4}}) == []
    serving.fold(ModelPromoted(model="digits", version=5, sha256=""), Position(2, 2))
    assert serving.refusals({"s": {"digits": 3}}) == []


def sample(at: float) -> BatchSample:
    return BatchSample(at, 5, 1.5, 0.2, "all that waited")


def test_batches_are_shown_once_and_not_saved() -> None:
    workers = Workers()
    workers.fold(WorkerAlive(worker="a", kind="scorer", batch_samples=[sample(1.0), sample(2.0)]), 100.0)
    workers.fold(WorkerAlive(worker="b", kind="scorer", batch_samples=[sample(3.0)]), 100.0)
    assert workers.take_samples() == {"a": [sample(1.0), sample(2.0)], "b": [sample(3.0)]}
    assert workers.take_samples() == {}
    loaded = Workers.load(workers.take_changes()[0])
    assert loaded.take_samples() == {}
    assert [view.worker for view in loaded.views(100.0)] == ["a", "b"]


def test_of_very_many_batches_the_newest_are_shown() -> None:
    workers = Workers()
    for second in range(100):
        workers.fold(WorkerAlive(worker="a", kind="scorer", batch_samples=[sample(float(second))]), 100.0 + second)
    assert [one.at for one in workers.take_samples()["a"]] == [float(second) for second in range(100 - SAMPLES, 100)]
