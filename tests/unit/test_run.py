"""Runs say how they began, went and ended, whatever becomes of the server; and never raise into the training loop."""

from __future__ import annotations

import logging
import math
import pickle
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import fakeredis
import pytest

from headrace.bus.sync import Link
from headrace.channels import REQUESTS, RUNS, WORKERS
from headrace.events import (
    AnyEvent,
    PredictionRequested,
    PublisherReport,
    RunAlive,
    RunCandidate,
    RunFinished,
    RunMetrics,
    RunStarted,
)
from headrace.publisher import Publisher, Run, sender, spill
from headrace.publisher.publisher import shared
from headrace.settings import Settings
from headrace.testing import wait_until_sync
from tests.unit.said import log

E = TypeVar("E", bound=AnyEvent)


@pytest.fixture
def settings(headrace_settings: Settings, headrace_fake: fakeredis.FakeServer, tmp_path: Path) -> Iterator[Settings]:
    yield headrace_settings.with_(spill=tmp_path / "spill")
    headrace_fake.connected = True


@pytest.fixture
def publisher(settings: Settings, headrace_fake: fakeredis.FakeServer) -> Iterator[Publisher]:
    one = Publisher(settings)
    yield one
    headrace_fake.connected = True
    one.close()


def events(publisher: Publisher) -> list[AnyEvent]:
    publisher.flush()
    return log(publisher.settings, RUNS)


def of(kind: type[E], found: list[AnyEvent]) -> list[E]:
    return [event for event in found if isinstance(event, kind)]


def test_a_run_is_started_logged_and_finished_in_order(publisher: Publisher) -> None:
    with Run("digits-sgd", {"alpha": 1e-4}, publisher=publisher, total_steps=3) as run:
        for step in range(3):
            run.log(step=step, loss=1.0 / (step + 1), acc=step)
    started, *logged, finished = events(publisher)
    assert isinstance(started, RunStarted)
    assert (started.run, started.name, started.params, started.total_steps) == (
        run.id,
        "digits-sgd",
        {"alpha": 1e-4},
        3,
    )
    assert (started.rank, started.world_size) == (0, 1)
    assert [(event.run, event.step, event.metrics) for event in of(RunMetrics, logged)] == [
        (run.id, 0, {"loss": 1.0, "acc": 0}),
        (run.id, 1, {"loss": 0.5, "acc": 1}),
        (run.id, 2, {"loss": pytest.approx(1 / 3), "acc": 2}),
    ]
    assert isinstance(finished, RunFinished)
    assert (finished.run, finished.status, finished.steps, finished.error) == (run.id, "finished", 2, "")
    assert finished.summary == {"loss": pytest.approx(1 / 3), "acc": 2}
    assert finished.duration_s > 0


def test_metrics_are_sent_while_the_run_goes_on(publisher: Publisher, settings: Settings) -> None:
    with Run("r", publisher=publisher) as run:
        run.log(loss=1.0)
        assert wait_until_sync(lambda: of(RunMetrics, log(settings, RUNS)))


@pytest.fixture
def dozing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """A run whose thread has just begun to wait, by itself for longer than any test does."""
    monkeypatch.setattr(sender, "DOZE_S", 600.0)
    monkeypatch.setattr(sender, "ALIVE_S", 600.0)
    with Publisher(settings.with_(linger_ms=1_000)) as publisher:
        run = Run("r", publisher=publisher)
        publisher.flush()

        def dozes() -> bool:
            run.log(loss=1.0)
            return publisher.sender._dozes

        assert wait_until_sync(dozes)
        yield run
        run.finish()


def test_while_only_runs_log_the_thread_looks_seldom_and_whoever_publishes_wakes_it(dozing: Run) -> None:
    publisher = dozing.publisher
    for _ in range(3):
        dozing.log(loss=2.0)
    time.sleep(0.3)
    assert len(publisher.sender.logged) >= 3, "it looked, though nobody but the run had anything to say"
    publisher.publish(REQUESTS, PredictionRequested(model="m", inputs=[[1.0]]))
    assert wait_until_sync(lambda: not publisher.sender.logged and log(publisher.settings, REQUESTS))


def test_many_metrics_between_two_looks_wake_the_thread(dozing: Run) -> None:
    for _ in range(3 * sender.CROWD):
        dozing.log(loss=2.0)
    assert wait_until_sync(lambda: len(dozing.publisher.sender.logged) <= sender.CROWD)
    dozing.publisher.flush()
    assert len(of(RunMetrics, log(dozing.publisher.settings, RUNS))) == dozing._calls


def test_steps_count_on_from_the_last_one(publisher: Publisher) -> None:
    with Run("r", publisher=publisher) as run:
        run.log(loss=1.0)
        run.log(loss=1.0)
        run.log(loss=1.0, step=10)
        run.log({"val/loss": 1.0})
    assert [event.step for event in of(RunMetrics, events(publisher))] == [1, 2, 10, 11]


def test_a_run_that_raises_has_failed_and_the_error_goes_on(publisher: Publisher) -> None:
    with pytest.raises(ValueError, match="went wrong"), Run("r", publisher=publisher):
        raise ValueError("went wrong " + "x" * 10_000)
    finished = of(RunFinished, events(publisher))[0]
    assert finished.status == "failed"
    assert finished.error.startswith("ValueError: went wrong xxx")
    assert len(finished.error) == 2_000


@pytest.mark.parametrize(("code", "status"), [(0, "finished"), (None, "finished"), (2, "failed")])
def test_leaving_by_exit_is_judged_by_its_code(publisher: Publisher, code: int | None, status: str) -> None:
    with pytest.raises(SystemExit), Run("r", publisher=publisher):
        raise SystemExit(code)
    assert of(RunFinished, events(publisher))[0].status == status


def test_a_run_ends_once(publisher: Publisher) -> None:
    with Run("r", publisher=publisher) as run:
        run.finish("failed", "by hand")
    assert [event.error for event in of(RunFinished, events(publisher))] == ["by hand"]


def test_a_run_whose_process_ends_has_crashed(publisher: Publisher, settings: Settings) -> None:
    Run("r", publisher=publisher).log(loss=1.0)
    publisher.sender.crash()
    finished = of(RunFinished, log(settings, RUNS))[0]
    assert (finished.status, finished.summary) == ("crashed", {"loss": 1.0})


def test_an_open_run_says_that_it_is_alive(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "ALIVE_S", 0.01)
    with Run("r", publisher=publisher, rank=3) as run:
        alive = wait_until_sync(lambda: of(RunAlive, log(publisher.settings, RUNS)))
    assert (alive[0].run, alive[0].rank) == (run.id, 3)


class Foreign:
    """A scalar of another library."""

    def __init__(self, value: float | None) -> None:
        self.value = value

    def __float__(self) -> float:
        if self.value is None:
            raise RuntimeError("only one-element tensors can be converted")
        return self.value


def test_scalars_of_other_libraries_convert_and_the_rest_is_left_out(
    publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    with Run("r", publisher=publisher) as run:
        for _ in range(3):
            run.log(loss=Foreign(0.5), flag=True, bad=Foreign(None), text="abc", none=None, inf=math.inf, nan=math.nan)
        run.log(step=Foreign(None), loss=1.0)  # type: ignore[arg-type]
    logged = of(RunMetrics, events(publisher))
    metrics = logged[0].metrics
    assert math.isnan(metrics.pop("nan") or 0)
    assert metrics == {"loss": 0.5, "flag": 1.0, "none": None, "inf": math.inf}
    assert run.skipped == {"bad": 3, "text": 3, "step": 1}
    assert len([record for record in caplog.records if "left out" in record.message]) == 2
    assert [event.step for event in logged] == [1, 2, 3, 4]


def test_a_scalar_that_changes_later_was_read_when_it_was_logged(publisher: Publisher) -> None:
    total = Foreign(0.0)
    with Run("r", publisher=publisher) as run:
        for step in range(3):
            total.value = float(step)
            run.log(loss=total)
    assert [event.metrics["loss"] for event in of(RunMetrics, events(publisher))] == [0.0, 1.0, 2.0]


def test_params_travel_as_scalars_or_as_their_text(publisher: Publisher) -> None:
    params: dict[Any, Any] = {"a": 1, "b": None, "c": "x", "layers": (64, 32), "big": 2**70, 5: True}
    with Run("r", params, publisher=publisher):
        pass
    assert of(RunStarted, events(publisher))[0].params == {
        "a": 1,
        "b": None,
        "c": "x",
        "layers": "(64, 32)",
        "big": str(2**70),
        "5": True,
    }


def test_candidates_and_children_belong_to_their_search(publisher: Publisher) -> None:
    with Run("search", publisher=publisher, rank=1, world_size=2) as run:
        run.candidate("c0", {"alpha": 0.1}, accuracy=0.9, rung=2, resource=100)
        run.candidate("c1", status="failed")
        with run.child("trial-0", {"alpha": 0.1}) as child:
            child.log(loss=1.0)
    found = events(publisher)
    first, second = of(RunCandidate, found)
    assert (first.run, first.candidate, first.params, first.metrics) == (
        run.id,
        "c0",
        {"alpha": 0.1},
        {"accuracy": 0.9},
    )
    assert (first.rung, first.resource, first.rank, first.status) == (2, 100.0, 1, "finished")
    assert (second.candidate, second.status) == ("c1", "failed")
    started = of(RunStarted, found)[1]
    assert (started.run, started.parent, started.rank, started.world_size) == (child.id, run.id, 1, 2)


def test_ranks_of_one_launch_share_a_run(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "abc")
    ids = set()
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        with Run("ddp", publisher=publisher) as run:
            run.log(loss=1.0)
            ids.add(run.id)
    found = events(publisher)
    assert ids == {"ddp.abc"}
    assert [event.rank for event in of(RunMetrics, found)] == [0, 1]
    assert [(event.rank, event.world_size) for event in of(RunStarted, found)] == [(0, 2), (1, 2)]
    monkeypatch.setenv("RANK", "nonsense")
    with Run("ddp", publisher=publisher, id="mine") as run:
        assert (run.rank, run.id) == (0, "mine")


def test_the_default_publisher_is_shared(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", settings.redis_url)
    monkeypatch.setenv("HEADRACE_PREFIX", settings.prefix)
    monkeypatch.setenv("HEADRACE_SPILL", str(settings.spill))
    with Run("a") as one, Run("b") as other:
        assert one.publisher is other.publisher is shared()
    one.publisher.close()
    assert {event.name for event in of(RunStarted, log(settings, RUNS))} == {"a", "b"}
    assert shared() is not one.publisher


def test_a_pickled_copy_logs_into_the_same_run_and_leaves_its_end_alone(publisher: Publisher) -> None:
    with Run("r", publisher=publisher, rank=2) as run:
        copy: Run = pickle.loads(pickle.dumps(run))  # noqa: S301 - our own object, as joblib sends it to a worker
        with copy:
            copy.log(loss=2.0)
        copy.publisher.close()
    found = events(publisher)
    assert [(event.run, event.rank, event.metrics) for event in of(RunMetrics, found)] == [(run.id, 2, {"loss": 2.0})]
    assert len(of(RunStarted, found)) == len(of(RunFinished, found)) == 1


# A server that is away


def test_a_run_goes_on_without_a_server_and_everything_arrives_later(
    publisher: Publisher, headrace_fake: fakeredis.FakeServer
) -> None:
    headrace_fake.connected = False
    with Run("r", publisher=publisher) as run:
        for step in range(200):
            run.log(step=step, loss=1.0)
    headrace_fake.connected = True
    found = events(publisher)
    assert [event.step for event in of(RunMetrics, found)] == list(range(200))
    assert isinstance(found[0], RunStarted)
    assert isinstance(found[-1], RunFinished)


def test_overflow_drops_the_oldest_metrics_never_beginning_and_end_and_counts_them(
    settings: Settings, headrace_fake: fakeredis.FakeServer
) -> None:
    headrace_fake.connected = False
    with Publisher(settings.with_(buffer_events=50)) as publisher:
        with Run("r", publisher=publisher) as run:
            for step in range(1_000):
                run.log(step=step, loss=1.0)
        assert publisher.waiting <= 50
        headrace_fake.connected = True
    found = log(settings, RUNS)
    kept = [event.step for event in of(RunMetrics, found)]
    assert isinstance(found[0], RunStarted)
    assert isinstance(found[-1], RunFinished)
    assert kept == list(range(1_000 - len(kept), 1_000))
    report = of(PublisherReport, log(settings, WORKERS))[-1]
    assert report.dropped == {"run.metrics": 1_000 - len(kept)}


def test_what_is_left_behind_metrics_keeps_its_place(publisher: Publisher) -> None:
    with Run("r", publisher=publisher) as run:
        for step in (1, 2):
            run.log(step=step, loss=1.0)
            run.candidate(f"c{step}", score=0.5)
        run.log(step=3, loss=1.0)
    told = [getattr(event, "step", getattr(event, "candidate", "")) for event in events(publisher)]
    assert told == ["", 1, "c1", 2, "c2", 3, ""]


def test_a_candidate_outlasts_metrics_when_nobody_takes_over_what_runs_leave(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Publisher(settings.with_(buffer_events=10, linger_ms=10_000)) as publisher:
        run = Run("r", publisher=publisher)
        publisher.flush()
        with monkeypatch.context() as alone:
            alone.setattr(sender.Sender, "rouse", lambda self: None)
            run.candidate("c0", score=0.5)
            for step in range(20):
                run.log(step=step, loss=1.0)
        run.finish()
    found = log(settings, RUNS)
    assert [event.candidate for event in of(RunCandidate, found)] == ["c0"]
    kept = [event.step for event in of(RunMetrics, found)]
    assert kept[-1] == 19
    assert of(PublisherReport, log(settings, WORKERS))[-1].dropped == {"run.metrics": 20 - len(kept)}


def test_beginning_and_end_wait_on_disk_for_the_next_publisher(
    settings: Settings, headrace_fake: fakeredis.FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    headrace_fake.connected = False
    gone = Publisher(settings)
    with Run("r", publisher=gone) as run:
        run.log(loss=1.0)
        run.candidate("c0")
    gone.close(0.05)
    assert gone.dropped == {"run.metrics": 1, "run.candidate": 1}
    assert gone.sender.buffer.spilled == 2
    assert len(list(settings.spill.iterdir())) == 1

    headrace_fake.connected = True
    with Publisher(settings.with_(prefix="another")) as stranger:
        Run("s", publisher=stranger).finish()
    assert log(settings, RUNS) == []
    with caplog.at_level(logging.INFO, "headrace"), Publisher(settings) as following:
        Run("n", publisher=following).finish()
        wait_until_sync(lambda: not list(settings.spill.iterdir()))
    found = [event for event in log(settings, RUNS) if getattr(event, "run", "") == run.id]
    assert [type(event) for event in found] == [RunStarted, RunFinished]
    assert "2 events that waited on disk are sent" in caplog.text


def test_what_was_spilled_after_a_lost_reply_is_not_doubled(settings: Settings) -> None:
    """The server had it all; only the answers were lost. And files sent twice add nothing."""
    from headrace.errors import UnavailableError

    publish = Link.publish

    def lossy(self: Link, call: Any, meanwhile: Any = None) -> Any:
        publish(self, call, meanwhile)
        raise UnavailableError("redis://test", "the reply was lost")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Link, "publish", lossy)
        gone = Publisher(settings)
        with Run("r", publisher=gone):
            wait_until_sync(lambda: log(settings, RUNS))
        gone.close(0.3)
    copies = [(path, path.read_bytes()) for path in settings.spill.iterdir()]
    assert copies
    for _ in range(2):
        assert spill.Spill(settings).send(Link(settings).publish) >= 2
        for path, content in copies:
            path.write_bytes(content)
    assert [type(event) for event in log(settings, RUNS)] == [RunStarted, RunFinished]


def test_a_run_on_a_closed_publisher_is_kept_on_disk_and_counted(settings: Settings) -> None:
    publisher = Publisher(settings)
    with Run("r", publisher=publisher) as run:
        publisher.close()
        run.log(loss=1.0)
    assert publisher.dropped == {"run.metrics": 1}
    assert publisher.sender.buffer.spilled == 1
    assert len(list(settings.spill.iterdir())) == 1


def test_a_disk_that_refuses_costs_the_events_but_not_the_run(
    settings: Settings, headrace_fake: fakeredis.FakeServer, tmp_path: Path
) -> None:
    headrace_fake.connected = False
    (tmp_path / "file").touch()
    publisher = Publisher(settings.with_(spill=tmp_path / "file"))
    with Run("r", publisher=publisher):
        pass
    publisher.close(0.05)
    assert publisher.dropped == {"run.started": 1, "run.finished": 1}


def test_a_damaged_spill_file_is_removed(settings: Settings) -> None:
    one = spill.Spill(settings)
    settings.spill.mkdir()
    (settings.spill / f"{one._tag}-x.spill").write_bytes(b"nonsense")
    assert one.send(Link(settings).publish) == 0
    assert list(settings.spill.iterdir()) == []


def test_the_cost_of_logging_is_measured_and_sent(publisher: Publisher) -> None:
    with Run("r", publisher=publisher) as run:
        for _ in range(640):
            run.log(loss=1.0)
        assert run.cost_us > 0
    assert of(RunFinished, events(publisher))[0].cost_us > 0
