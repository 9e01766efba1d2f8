"""scikit-learn is followed by its own callbacks, changed in nothing, and stepped only where steps are exact.

Each fact of scikit-learn and joblib that the adapters rely on has a test here: a release that breaks one is seen.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import sklearn
from joblib._parallel_backends import ThreadingBackend
from joblib.parallel import BACKENDS
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, SGDClassifier
from sklearn.metrics import make_scorer
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from headrace import Publisher, Run, adapters
from headrace.errors import SettingsError
from headrace.events import RunCandidate, RunFinished, RunStarted
from headrace.settings import Settings
from headrace.subscriber.aggregation.runs import Runs
from headrace.testing import wait_until_sync
from tests.unit.said import ended, events, metrics

X, Y = make_classification(n_samples=120, n_features=6, random_state=0)
GRID: dict[str, list[Any]] = {"C": [0.1, 1.0], "fit_intercept": [True, False]}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield


@pytest.fixture
def publisher(headrace_settings: Settings, tmp_path: Path) -> Iterator[Publisher]:
    with Publisher(headrace_settings.with_(spill=tmp_path / "spill")) as one:
        yield one


def candidates(publisher: Publisher) -> list[RunCandidate]:
    return [event for event in events(publisher) if isinstance(event, RunCandidate)]


def fails_on_small_c(estimator: Any, x: Any, y: Any) -> float:
    if estimator.C < 1:
        raise ValueError("too small")
    return float(estimator.score(x, y))


# Searches


@pytest.mark.parametrize(
    "scoring", [None, "accuracy", ["accuracy", "roc_auc"], make_scorer(lambda y, found: float((y == found).mean()))]
)
@pytest.mark.parametrize("backend", ["sequential", "threading"])
def test_a_search_says_each_fold_and_each_candidate_and_finds_the_same(
    publisher: Publisher, scoring: Any, backend: str
) -> None:
    options: dict[str, Any] = {"cv": 3, "scoring": scoring, "n_jobs": 2, "return_train_score": True}
    options["refit"] = "accuracy" if isinstance(scoring, list) else True
    plain = GridSearchCV(LogisticRegression(), GRID, **options).fit(X, Y)
    search = GridSearchCV(LogisticRegression(), GRID, **options)
    with joblib.parallel_config(backend), adapters.sklearn.watch(search, "grid", publisher=publisher):
        search.fit(X, Y)
    names = ["accuracy", "roc_auc"] if isinstance(scoring, list) else ["score"]
    same = [key for key in plain.cv_results_ if "test" in key or "train" in key]
    for key in same:
        np.testing.assert_array_equal(search.cv_results_[key], plain.cv_results_[key])
    assert repr(search.scorer_) == repr(plain.scorer_)
    assert search.scoring is scoring

    folds = [event for event in candidates(publisher) if event.folds]
    whole = [event for event in candidates(publisher) if not event.folds]
    assert {(event.candidate, event.fold) for event in folds} == {
        (f"C={c}, fit_intercept={fit}", fold) for c in GRID["C"] for fit in GRID["fit_intercept"] for fold in (1, 2, 3)
    }
    by_params = {event.candidate: event for event in whole}
    assert len(by_params) == 4
    for at, params in enumerate(plain.cv_results_["params"]):
        one = by_params[f"C={params['C']}, fit_intercept={params['fit_intercept']}"]
        assert one.params == params
        assert one.status == "finished"
        for name in names:
            assert one.metrics[name] == plain.cv_results_[f"mean_test_{name}"][at]
            for fold in (1, 2, 3):
                split = plain.cv_results_[f"split{fold - 1}_test_{name}"][at]
                [said] = [event for event in folds if event.candidate == one.candidate and event.fold == fold]
                assert one.metrics[f"{name} fold {fold}"] == said.metrics[name] == split
    assert ended(publisher).status == "finished"
    assert ended(publisher).cost_us > 0


def test_folds_alone_make_whole_candidates_on_the_page(publisher: Publisher) -> None:
    search = GridSearchCV(LogisticRegression(), GRID, cv=3)
    with adapters.sklearn.watch(search, "grid", publisher=publisher):
        search.fit(X, Y)
    folds, final = Runs(), Runs()
    for event in events(publisher):
        for runs in (folds, final):
            if runs is final or not isinstance(event, RunCandidate) or event.folds:
                runs.fold(event, event.time)
    [seen], [wanted] = folds.view(0.0), final.view(0.0)
    assert seen.candidates == wanted.candidates == 4
    assert seen.metrics == pytest.approx(wanted.metrics)
    assert set(seen.metrics) == {"candidates/score"}


def test_a_fit_that_fails_is_a_failed_candidate_and_a_search_that_fails_a_failed_run(publisher: Publisher) -> None:
    grid = {"C": [1.0, -1.0]}
    search = GridSearchCV(LogisticRegression(), grid, cv=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with adapters.sklearn.watch(search, publisher=publisher):
            search.fit(X, Y)
        assert {event.candidate: event.status for event in candidates(publisher)} == {
            "C=1.0": "finished",
            "C=-1.0": "failed",
        }
        search = GridSearchCV(LogisticRegression(), grid, cv=2, error_score="raise")
        with pytest.raises(ValueError, match="C"), adapters.sklearn.watch(search, publisher=publisher):
            search.fit(X, Y)
    assert [event.status for event in events(publisher) if isinstance(event, RunFinished)] == ["finished", "failed"]
    assert "_skl_callbacks" not in vars(search)


@pytest.mark.parametrize("scoring", [fails_on_small_c, {"a": fails_on_small_c, "b": "accuracy"}])
def test_a_scorer_that_fails_fails_as_it_would(publisher: Publisher, scoring: Any) -> None:
    found = []
    for watched in (False, True):
        search = GridSearchCV(
            LogisticRegression(), {"C": [0.1, 1.0]}, cv=2, scoring=scoring, refit=False, error_score=0.25
        )
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            if watched:
                with adapters.sklearn.watch(search, publisher=publisher):
                    search.fit(X, Y)
            else:
                search.fit(X, Y)
        assert any("coring" in str(one.message) for one in caught)
        found.append({key: list(value) for key, value in search.cv_results_.items() if "test" in key})
    assert found[0] == found[1]


def test_nothing_of_ours_stays_on_the_estimator_and_other_callbacks_do(publisher: Publisher) -> None:
    class Other:
        def setup(self, estimator: Any, context: Any) -> None: ...
        def teardown(self, estimator: Any, context: Any) -> None: ...
        def on_fit_task_begin(self, estimator: Any, context: Any) -> None: ...
        def on_fit_task_end(self, estimator: Any, context: Any) -> None: ...

    other = Other()
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    for estimator in (GridSearchCV(LogisticRegression(), GRID, cv=2), pipeline, LogisticRegression()):
        with adapters.sklearn.watch(estimator, publisher=publisher):
            estimator.fit(X, Y)
        assert b"headrace" not in pickle.dumps(estimator)
        estimator.set_callbacks(other)
        with adapters.sklearn.watch(estimator, publisher=publisher):
            estimator.fit(X, Y)
        assert vars(estimator)["_skl_callbacks"] == [other]


def test_metadata_routing_passes_the_scorer(publisher: Publisher) -> None:
    with sklearn.config_context(enable_metadata_routing=True):
        scorer = make_scorer(lambda y, found, sample_weight: float(np.average(y == found, weights=sample_weight)))
        scorer.set_score_request(sample_weight=True)
        model = LogisticRegression().set_fit_request(sample_weight=True)
        weights = np.linspace(0.1, 1, len(Y))
        found = []
        for watched in (False, True):
            search = GridSearchCV(model, {"C": [1.0]}, cv=2, scoring=scorer)
            if watched:
                with adapters.sklearn.watch(search, publisher=publisher):
                    search.fit(X, Y, sample_weight=weights)
            else:
                search.fit(X, Y, sample_weight=weights)
            found.append(search.best_score_)
    assert found[0] == found[1]


def test_random_candidates_are_known_by_their_parameters(publisher: Publisher) -> None:
    search = RandomizedSearchCV(LogisticRegression(), {"C": np.logspace(-2, 2, 50)}, n_iter=3, cv=2)
    with adapters.sklearn.watch(search, publisher=publisher):
        search.fit(X, Y)
    assert {event.params["C"] for event in candidates(publisher)} == {p["C"] for p in search.cv_results_["params"]}
    assert len({event.candidate for event in candidates(publisher)}) == 3


def test_a_long_name_of_a_candidate_stays_one_name() -> None:
    first, second = ({f"parameter_{n}": n for n in range(40)} | {"last": last} for last in (1, 2))
    name = adapters.sklearn.candidate_name
    assert name(first) == name(dict(first))
    assert name(first) != name(second)
    assert len(name(first)) <= 120


# Callbacks of single estimators


@pytest.mark.parametrize("loss", [False, True])
def test_lbfgs_says_every_iteration_and_no_more(publisher: Publisher, loss: bool) -> None:
    model = LogisticRegression()
    plain = LogisticRegression().fit(X, Y)
    with adapters.sklearn.watch(model, "lr", {"note": "x"}, loss=loss, publisher=publisher):
        model.fit(X, Y)
    np.testing.assert_array_equal(model.coef_, plain.coef_)
    steps = metrics(publisher)
    assert [step for step, _ in steps] == list(range(1, model.n_iter_[0] + 1))
    if loss:
        from sklearn.metrics import log_loss

        losses = [found["loss"] or 0.0 for _, found in steps]
        assert losses[-1] == pytest.approx(log_loss(Y, model.predict_proba(X)))
        assert losses[0] > losses[-1] > 0
    started = events(publisher)[0]
    assert isinstance(started, RunStarted)
    assert (started.params["estimator"], started.params["C"], started.params["note"]) == (
        "LogisticRegression",
        1.0,
        "x",
    )


def test_lbfgs_in_a_pipeline_is_followed_too(publisher: Publisher) -> None:
    model = make_pipeline(StandardScaler(), LogisticRegression())
    with adapters.sklearn.watch(model, publisher=publisher):
        model.fit(X, Y)
    assert len(metrics(publisher)) == model[-1].n_iter_[0]


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(solver="newton-cg"),
        LogisticRegressionCV(cv=2, l1_ratios=(0,), use_legacy_attributes=False, scoring="accuracy"),
        RandomForestClassifier(5),
    ],
)
def test_others_begin_and_end_without_a_warning(publisher: Publisher, model: Any) -> None:
    with adapters.sklearn.watch(model, publisher=publisher):
        model.fit(X, Y)
    assert [type(event).__name__ for event in events(publisher)] == ["RunStarted", "RunFinished"]


def test_gradient_boosting_says_the_loss_of_each_stage(publisher: Publisher) -> None:
    model = GradientBoostingClassifier(n_estimators=7, random_state=0)
    with adapters.sklearn.watch(model, publisher=publisher) as run:
        model.fit(X, Y, monitor=adapters.sklearn.monitor(run))
    assert metrics(publisher) == [(at, {"loss": value}) for at, value in enumerate(model.train_score_, 1)]


# Steps


@pytest.mark.parametrize(
    "model",
    [
        RandomForestClassifier(11, random_state=0),
        RandomForestRegressor(11, random_state=0),
        ExtraTreesClassifier(11, random_state=0),
        HistGradientBoostingClassifier(max_iter=11, random_state=0),
    ],
)
def test_trees_grown_in_steps_are_those_of_one_fit(model: Any) -> None:
    whole, grown = clone(model).fit(X, Y), clone(model)
    assert list(adapters.sklearn.stepped(grown, X, Y, chunk=4)) == [4, 8, 11]
    predict = "predict_proba" if hasattr(model, "predict_proba") else "predict"
    np.testing.assert_array_equal(getattr(grown, predict)(X), getattr(whole, predict)(X))
    assert grown.get_params() == model.get_params()


@pytest.mark.parametrize("solver", ["newton-cg", "newton-cholesky"])
def test_newton_steps_end_within_rounding_of_one_fit(solver: str) -> None:
    whole = LogisticRegression(solver=solver, tol=1e-8).fit(X, Y)
    grown = LogisticRegression(solver=solver, tol=1e-8)
    steps = list(adapters.sklearn.stepped(grown, X, Y))
    assert steps == list(range(1, len(steps) + 1))
    np.testing.assert_allclose(grown.coef_, whole.coef_, rtol=1e-6)
    assert grown.n_iter_.tolist() == [len(steps)]
    assert grown.get_params() == whole.get_params()


def test_newton_steps_warn_when_they_were_too_few() -> None:
    model = LogisticRegression(solver="newton-cg", tol=1e-12, max_iter=1)
    with pytest.warns(ConvergenceWarning):
        assert list(adapters.sklearn.stepped(model, X, Y)) == [1]


def test_partial_fit_keeps_the_state_of_its_solver() -> None:
    model, other = (MLPClassifier((4,), random_state=0) for _ in range(2))
    assert list(adapters.sklearn.stepped(model, X, Y, epochs=3)) == [1, 2, 3]
    for _ in range(3):
        other.partial_fit(X, Y, classes=[0, 1])
    np.testing.assert_array_equal(model.coefs_[0], other.coefs_[0])
    assert list(adapters.sklearn.stepped(SGDClassifier(), X, Y, epochs=2)) == [1, 2]


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(solver="sag"),
        LogisticRegression(solver="saga"),
        LogisticRegression(solver="liblinear"),
        LogisticRegressionCV(solver="newton-cg"),
        MLPClassifier(),
        GradientBoostingClassifier(),
        HistGradientBoostingClassifier(early_stopping=True),
    ],
)
def test_steps_that_would_give_another_model_are_refused(model: Any) -> None:
    with pytest.raises(SettingsError, match="step by step"):
        adapters.sklearn.stepped(model, X, Y)


# Output of C code


@pytest.mark.parametrize(
    ("solver", "names"),
    [("liblinear", {"objective", "gradient"}), ("sag", {"change"}), ("saga", {"change"})],
)
def test_c_code_is_tapped_and_its_output_still_passed_on(
    publisher: Publisher, capfd: pytest.CaptureFixture[str], solver: str, names: set[str]
) -> None:
    model = LogisticRegression(solver=solver, verbose=1, tol=1e-3, max_iter=200, random_state=0)
    with Run(solver, publisher=publisher) as run:
        with adapters.tap.tap(run):
            os.write(1, b"before\n")
            model.fit(X, Y)
            print("after", flush=True)
        os.write(1, b"untapped loss=1\n")
    said = capfd.readouterr().out
    assert all(
        line in said for line in ("before\n", "after\n", "untapped loss=1\n", "change" if "sag" in solver else "|g|")
    )
    steps = metrics(publisher)
    assert steps
    assert all(set(found) == names for _, found in steps)


def test_c_output_is_live(publisher: Publisher) -> None:
    """It lies in the buffer of the C library until somebody flushes it."""
    libc = ctypes.CDLL(None)
    with Run("c", publisher=publisher) as run, adapters.tap.tap(run):
        libc.printf(b"Epoch 1, change: 0.5\n")
        wait_until_sync(lambda: run._step == 1)
    assert metrics(publisher) == [(1, {"change": 0.5})]


# Lanes


def test_lanes_count_tasks_of_threads(publisher: Publisher) -> None:
    """A barrier holds two workers at once, so that there are two lanes."""
    barrier = threading.Barrier(2, timeout=30)

    def task(number: int) -> int:
        if number < 2:
            barrier.wait()
        return number

    with Run("lanes", publisher=publisher) as run, adapters.joblib.lanes(run, "threading", n_jobs=2) as lanes:
        assert joblib.Parallel(batch_size=1)(joblib.delayed(task)(n) for n in range(20)) == list(range(20))
    assert lanes.tasks == sum(lanes.counts.values()) == 20
    assert len(lanes.counts) == 2
    last = metrics(publisher)[-1][1]
    assert last["tasks"] == 20
    assert (last["lane 1 tasks"] or 0) + (last["lane 2 tasks"] or 0) == 20
    assert 0 <= (last["idle"] or 0) <= 1
    assert (last["straggler"] or 0) >= 1


def test_a_forest_grows_in_lanes_as_it_would(publisher: Publisher) -> None:
    with Run("forest", publisher=publisher) as run, adapters.joblib.lanes(run, "threading", n_jobs=2) as lanes:
        found = RandomForestClassifier(10, random_state=0).fit(X, Y)
    np.testing.assert_array_equal(
        found.predict_proba(X), RandomForestClassifier(10, random_state=0).fit(X, Y).predict_proba(X)
    )
    assert lanes.tasks == 10


def test_an_error_in_a_lane_is_the_error_of_the_caller(publisher: Publisher) -> None:
    def task() -> None:
        raise KeyError("x")

    run = Run("lanes", publisher=publisher)
    with pytest.raises(KeyError), run, adapters.joblib.lanes(run, "threading", n_jobs=2):
        joblib.Parallel()(joblib.delayed(task)() for _ in range(3))


class Unpacking(ThreadingBackend):  # type: ignore[misc]
    """A backend that takes batches apart and runs their items one by one, as Dask's does."""

    def submit(self, func: Any, callback: Any = None) -> Any:
        return super().submit(lambda: [task(*args, **kwargs) for task, args, kwargs in func.items], callback)


def test_a_backend_that_takes_batches_apart_has_lanes_as_well(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BACKENDS, "unpacking", Unpacking)
    with Run("lanes", publisher=publisher) as run, adapters.joblib.lanes(run, "unpacking", n_jobs=2) as lanes:
        found = joblib.Parallel(batch_size=3)(joblib.delayed(divmod)(n, 7) for n in range(20))
    assert found == [divmod(n, 7) for n in range(20)]
    assert lanes.tasks == sum(lanes.counts.values()) == 20
    assert lanes.batches == len(metrics(publisher)) < 20
    assert metrics(publisher)[-1][0] == 20
    assert lanes.began <= lanes.ended


def test_afterwards_joblib_knows_no_more_backends_than_before(publisher: Publisher) -> None:
    before = set(BACKENDS)
    with Run("lanes", publisher=publisher) as run, adapters.joblib.lanes(run, "threading", n_jobs=2):
        assert set(BACKENDS) > before
    assert set(BACKENDS) == before


def test_a_backend_that_joblib_does_not_know_is_refused(publisher: Publisher) -> None:
    with (
        Run("lanes", publisher=publisher) as run,
        pytest.raises(SettingsError, match=r"no backend 'hamsters'.*it knows.*loky.*register_ray"),
        adapters.joblib.lanes(run, "hamsters"),
    ):
        raise AssertionError("there are no hamsters")
