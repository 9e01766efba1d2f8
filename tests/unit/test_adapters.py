"""Adapters log what a framework says, never raise into it, cost what they say, and leave nothing behind."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import headrace
from headrace import Publisher, Run, adapters, track
from headrace.events import RunCandidate, RunFinished, RunMetrics, RunStarted
from headrace.publisher.adapters import hook as hooks
from headrace.publisher.adapters.hook import Reporter, hook
from headrace.settings import Settings
from tests.unit.said import ended, events, metrics


@pytest.fixture
def publisher(headrace_settings: Settings, tmp_path: Path) -> Iterator[Publisher]:
    with Publisher(headrace_settings.with_(spill=tmp_path / "spill")) as one:
        yield one


# What all have in common


class Faulty(Reporter):
    @hook
    def go(self) -> str:
        raise RuntimeError("the framework has changed")


def test_a_hook_that_goes_wrong_is_told_once_and_raises_nothing(
    publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    with Faulty("r", publisher=publisher) as faulty:
        faulty.begin()
        for _ in range(3):
            assert faulty.go() is None
    assert [record.levelname for record in caplog.records if "the framework has changed" in record.message] == [
        "WARNING"
    ]
    assert ended(publisher).status == "finished"


def test_a_name_opens_a_run_and_a_run_that_is_given_goes_on(publisher: Publisher) -> None:
    with Run("given", publisher=publisher) as run:
        with Reporter(run) as reporter:
            reporter.tell({"loss": 1.0}, 1)
        run.log(loss=0.5, step=2)
    reporter = Reporter("named", {"a": 1}, publisher=publisher)
    reporter.begin({"a": 0, "b": 2}, total_steps=7)
    with pytest.raises(KeyError), reporter:
        raise KeyError("x")
    found = events(publisher)
    starts = [(event.name, event.params, event.total_steps) for event in found if isinstance(event, RunStarted)]
    ends = [(event.status, event.error) for event in found if isinstance(event, RunFinished)]
    assert starts == [("given", {}, 0), ("named", {"a": 1, "b": 2}, 7)]
    assert ends == [("finished", ""), ("failed", "KeyError: 'x'")]


def test_steps_beyond_the_rate_are_left_out_but_the_last_and_those_to_be_kept(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(hooks, "RATE", 1e-9)
    monkeypatch.setattr(hooks, "BURST", 10)
    with caplog.at_level(logging.INFO, "headrace"), Reporter("r", publisher=publisher) as reporter:
        for step in range(1, 101):
            reporter.tell({"loss": 1.0}, step)
            if step == 50:
                reporter.tell({"epoch": 1.0}, step, keep=True)
    assert [step for step, _ in metrics(publisher)] == [*range(1, 11), 50, 100]
    assert "90 steps came too fast" in caplog.text


def test_the_time_of_hooks_is_the_cost_of_the_run(publisher: Publisher) -> None:
    with Run("r", publisher=publisher) as run:
        run.spent(3_000)
        run.spent(5_000)
        assert run.cost_us == 4.0
        assert run.alive().cost_us == 4.0
    assert ended(publisher).cost_us == 4.0


def test_adapters_travel_without_connection_and_log_into_the_same_run(publisher: Publisher) -> None:
    with Run("r", publisher=publisher) as run:
        copy: Reporter = pickle.loads(pickle.dumps(Reporter(run)))  # noqa: S301 - as joblib sends it to a worker
        copy.tell({"loss": 1.0}, 1)
        assert copy.run is not None
        copy.run.publisher.close()
    opened: Reporter = pickle.loads(pickle.dumps(Reporter("later", publisher=publisher)))  # noqa: S301 - the same
    opened.begin().publisher.close()
    found = events(publisher)
    assert [event.run for event in found if isinstance(event, RunMetrics)] == [run.id]
    assert {event.name for event in found if isinstance(event, RunStarted)} == {"r", "later"}


def test_every_adapter_is_named_and_none_is_loaded_before_it_is_used() -> None:
    folder = Path(adapters.__file__).parent
    parts = {path.stem for path in folder.glob("*.py")} - {"__init__", "hook", "stepping"}
    assert set(adapters.__all__) == parts
    assert adapters is headrace.adapters
    assert not hasattr(adapters, "horovod")


# A loop, log records, output of C code


def test_a_tracked_loop_says_how_far_it_is(publisher: Publisher) -> None:
    steps = track([1, 2, 3], "loop", publisher=publisher)
    for number in steps:
        steps.log(loss=1 / number)
    found = events(publisher)
    assert found[0].total_steps == 3
    assert [event.metrics["loss"] for event in found if "loss" in getattr(event, "metrics", ())] == [1.0, 0.5, 1 / 3]
    assert metrics(publisher)[-1][0] == 3
    assert ended(publisher).summary["left s"] == 0


def test_a_tracked_loop_ends_as_it_ended(publisher: Publisher) -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise OSError("no such file")

    with pytest.raises(OSError, match="no such file"):
        list(track(broken(), publisher=publisher))
    for _ in track(range(10), "left early", publisher=publisher):
        break
    with Run("given", publisher=publisher) as run:
        assert list(track(iter("ab"), run)) == ["a", "b"]
        assert len([event for event in events(publisher) if isinstance(event, RunFinished)]) == 2
    states = [(event.status, event.error) for event in events(publisher) if isinstance(event, RunFinished)]
    assert states == [("failed", "OSError: no such file"), ("finished", ""), ("finished", "")]


def test_log_records_become_metrics(publisher: Publisher) -> None:
    log = logging.getLogger("a.training")
    log.setLevel(logging.INFO)
    with Run("r", publisher=publisher) as run:
        handler = adapters.logging.Handler(run)
        log.addHandler(handler)
        try:
            log.info("step=%d loss=%.2f", 3, 0.5)
            log.info("epoch done", extra={"metrics": {"step": 4, "accuracy": 0.9}})
            log.warning("the loss is not going down")
            log.info("nothing with numbers")
            handler.handle(logging.makeLogRecord({"msg": "%d", "args": ("broken",)}))
            logging.getLogger("headrace").warning("loss=9")
        finally:
            log.removeHandler(handler)
    assert metrics(publisher) == [(3, {"loss": 0.5}), (4, {"accuracy": 0.9}), (5, {"warnings": 1})]


# Frameworks that are light enough for every run of the tests: the facts that the adapters rely on


def rows() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(200, 4))
    return x, (x[:, 0] + 0.1 * generator.normal(size=200) > 0).astype(int)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_optuna_tells_trials_values_and_ends(publisher: Publisher) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", -1, 1)
        for step in range(3):
            trial.report(x * x + step, step)
            if trial.number == 1 and trial.should_prune():
                raise optuna.TrialPruned
        if trial.number == 2:
            raise ValueError("no")
        return x * x

    study = optuna.create_study(
        study_name="squares", sampler=optuna.samplers.RandomSampler(0), pruner=optuna.pruners.ThresholdPruner(upper=0.5)
    )
    adapters.optuna.optimize(study, objective, publisher=publisher, n_trials=4, catch=(ValueError,))
    found = [event for event in events(publisher) if isinstance(event, RunCandidate)]
    last = {event.candidate: event for event in found}
    assert [event.status for event in last.values()] == ["finished", "pruned", "failed", "finished"]
    assert last["trial 0"].params == study.trials[0].params
    assert last["trial 0"].metrics == {"value": study.trials[0].value}
    running = [event for event in found if event.status == "running" and event.candidate == "trial 0"]
    assert [event.resource for event in running] == [0.0, 1.0, 2.0]
    assert events(publisher)[0].name == "squares"
    assert ended(publisher).status == "finished"


def test_xgboost_tells_every_round(publisher: Publisher) -> None:
    import xgboost

    x, y = rows()
    data = xgboost.DMatrix(x, y)
    with adapters.xgboost.Callback("boosted", publisher=publisher) as callback:
        model = xgboost.train(
            {"objective": "binary:logistic", "nthread": 1},
            data,
            5,
            evals=[(data, "train")],
            verbose_eval=False,
            callbacks=[callback],
        )
        history: dict[str, Any] = {}
        plain = xgboost.train(
            {"objective": "binary:logistic", "nthread": 1},
            data,
            5,
            evals=[(data, "train")],
            verbose_eval=False,
            evals_result=history,
        )
    assert metrics(publisher) == [
        (at, {"train logloss": value}) for at, value in enumerate(history["train"]["logloss"], 1)
    ]
    assert model.save_raw() == plain.save_raw()
    assert ended(publisher).status == "finished"


@pytest.mark.parametrize("stops", [False, True])
def test_lightgbm_tells_every_round_and_the_with_tells_an_early_stop(publisher: Publisher, stops: bool) -> None:
    import lightgbm

    x, y = rows()
    data = lightgbm.Dataset(x, y)
    held_out = data.create_valid(x, y)
    early = [lightgbm.early_stopping(1, min_delta=1e9, verbose=False)] if stops else []
    with adapters.lightgbm.Callback("boosted", publisher=publisher) as callback:
        lightgbm.train(
            {"objective": "binary", "verbose": -1, "num_threads": 1},
            data,
            5,
            valid_sets=[held_out],
            valid_names=["val"],
            callbacks=[*early, callback],
        )
    steps = metrics(publisher)
    assert [step for step, _ in steps] == list(range(1, 3 if stops else 6))
    assert all(set(found) == {"val binary_logloss"} for _, found in steps)
    started = events(publisher)[0]
    assert (started.total_steps, started.params["objective"]) == (5, "binary")
    assert ended(publisher).status == "finished"


def test_catboost_is_told_to_go_on(publisher: Publisher) -> None:
    """Without CatBoost itself: an `info` as its documentation describes it."""

    class Info:
        iteration = 1
        metrics = {"learn": {"Logloss": [0.7]}, "validation": {"Logloss": [0.8]}}

    with adapters.catboost.Callback("boosted", publisher=publisher) as callback:
        assert callback.after_iteration(Info()) is True
        assert callback.after_iteration(None) is True
    assert metrics(publisher) == [(1, {"learn Logloss": 0.7, "validation Logloss": 0.8})]
