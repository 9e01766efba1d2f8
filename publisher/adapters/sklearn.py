"""scikit-learn 1.9 as live runs, through its callback API (SLEP023): searches candidate by candidate, `lbfgs` by step.

    with watch(GridSearchCV(model, grid, n_jobs=-1), "grid") as run:
        search.fit(X, y)

Folds are published by the process that fitted them, whatever joblib's backend is. The callback is told neither scores
nor parameters, so a scorer around the search's own remembers the estimator it judged, for the callback of the same
task in the same thread. Afterwards the estimator is what it would have been: a callback that stays would go into files.
https://scikit-learn.org/1.9/modules/callbacks.html
"""

from __future__ import annotations

import hashlib
import math
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.metrics import check_scoring, log_loss

from headrace.events import Scalar
from headrace.publisher.adapters.hook import Reporter, hook
from headrace.publisher.adapters.stepping import stepped
from headrace.publisher.publisher import Publisher
from headrace.publisher.run import Run, scalars

__all__ = ["Candidates", "Iterations", "Scorer", "monitor", "stepped", "watch"]

NAME_CHARS = 120

_task = threading.local()
"""What the scorer saw in the task that this thread is in."""


@contextmanager
def watch(
    estimator: Any,
    run: Run | str = "",
    params: Mapping[str, Any] | None = None,
    *,
    loss: bool = False,
    publisher: Publisher | None = None,
) -> Iterator[Run]:
    """Within it, `estimator.fit` is a live run. It changes no result, and leaves nothing on the estimator.

    Searches publish folds and candidates; `LogisticRegression(solver="lbfgs")`, alone or in a Pipeline, its
    iterations, with the training loss if `loss` (which costs more than the iterations). Others begin and end.
    """
    reporter = Reporter(run, params, publisher=publisher)
    is_search = hasattr(estimator, "_run_search") and hasattr(estimator, "set_callbacks")
    opened = reporter.begin(_described(estimator), name=type(estimator).__name__)
    try:
        with _searched(estimator, opened) if is_search else _iterated(estimator, opened, loss):
            yield opened
    except BaseException as error:
        reporter.end("failed", f"{type(error).__name__}: {error}")
        raise
    reporter.end()


class Candidates(Reporter):
    """A callback for `set_callbacks` of a search: each candidate with parameters, fold scores, resources and rung.

    Needs `Scorer` as the search's `scoring`; `watch` sets both. `run` must be open.
    """

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._names: list[str] = []
        self._nested = False

    @hook
    def setup(self, estimator: Any, context: Any) -> None:
        """Note what the search varies, once for all its folds."""
        self._names = searched(estimator)
        self._nested = any("__" in name for name in self._names)

    def teardown(self, estimator: Any, context: Any) -> None:
        """Nothing: who opened the run ends it."""

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        """Forget what this thread judged before."""
        _task.judged = None

    @hook
    def on_fit_task_end(self, estimator: Any, context: Any) -> None:
        """Publish the fold that was fitted, or what the whole search came to."""
        if context.task_name == "candidate-split-evaluation":
            self._fold(estimator, context)
        elif context.parent is None:
            self._results(estimator)

    def _fold(self, search: Any, context: Any) -> None:
        judged, _task.judged = getattr(_task, "judged", None), None
        if judged is None or self.run is None:
            return  # its fit failed: nobody knows with which parameters before the search ends
        fitted, scores = judged
        if self._nested:
            every = fitted.get_params()
            params = {name: every.get(name) for name in self._names}
        else:  # a tenth of the time
            params = {name: getattr(fitted, name, None) for name in self._names}
        params = scalars(params)
        rung = context.parent.task_id if context.parent.task_name == "halving-iteration" else 0
        number, fold = divmod(context.task_id, search.n_splits_)
        self.run.candidate(
            candidate_name(params) or str(number + 1),
            params,
            status="running",
            rung=rung,
            resource=search.n_resources_[rung] if hasattr(search, "n_resources_") else 0,
            fold=fold + 1,
            folds=search.n_splits_,
            **scores,
        )

    def _results(self, search: Any) -> None:
        """What the search knows in the end completes what workers said, some of which may have been lost with them."""
        found, folds = search.cv_results_, search.n_splits_
        names = [key.removeprefix("mean_test_") for key in found if key.startswith("mean_test_")]
        base, wanted = search.estimator.get_params(), self._names
        for at, own in enumerate(found["params"]):
            params = scalars({name: own.get(name, base.get(name)) for name in wanted} or own)
            metrics: dict[str, Any] = {name: float(found[f"mean_test_{name}"][at]) for name in names}
            for name in names:
                for fold in range(folds):
                    metrics[f"{name} fold {fold + 1}"] = float(found[f"split{fold}_test_{name}"][at])
            assert self.run is not None
            self.run.candidate(
                candidate_name(params) if wanted else str(at + 1),
                params,
                status="failed" if any(math.isnan(metrics[name]) for name in names) else "finished",
                rung=int(found["iter"][at]) if "iter" in found else 0,
                resource=float(found["n_resources"][at]) if "n_resources" in found else 0.0,
                **metrics,
            )


class Scorer:
    """The `scoring` of a search, which it gives back unchanged, remembering what was judged for `Candidates`."""

    def __init__(self, scoring: Any, error_score: Any = math.nan) -> None:
        self.scoring, self.error_score = scoring, error_score

    def __call__(self, estimator: Any, *data: Any, **params: Any) -> Any:
        scores = self.scoring(estimator, *data, **params)
        if isinstance(scores, dict):
            scores = {name: self._judged(name, score) for name, score in scores.items()}
        if getattr(_task, "judged", None) is None:  # the second time it is asked about the training rows
            try:
                _task.judged = (estimator, scores if isinstance(scores, dict) else {"score": float(scores)})
            except Exception:  # the search itself says what is wrong with such a score
                _task.judged = None
        return scores

    def __getattr__(self, name: str) -> Any:
        # What a search asks its scorer beyond scores, such as which metadata it takes.
        if name in ("scoring", "error_score") or (name.startswith("__") and name.endswith("__")):
            raise AttributeError(name)
        return getattr(self.scoring, name)

    def __repr__(self) -> str:
        return f"Scorer({self.scoring!r})"

    def _judged(self, name: str, score: Any) -> Any:
        """One of several scores; text stands for the exception of a scorer that failed."""
        if not isinstance(score, str):
            return score
        warnings.warn(f"Scoring {name} failed; it is set to {self.error_score}. Details:\n{score}", stacklevel=2)
        return self.error_score


class Iterations(Reporter):
    """A callback for `set_callbacks` of LogisticRegression with `lbfgs`, or of a Pipeline around it: a step each.

    A task of its own ends after the last iteration; so an iteration is logged when the next one begins.
    """

    max_propagation_depth = None

    def __init__(self, run: Run) -> None:
        super().__init__(run)

    def setup(self, estimator: Any, context: Any) -> None:
        """Nothing: the run is open."""

    def teardown(self, estimator: Any, context: Any) -> None:
        """Nothing: who opened the run ends it."""

    @hook
    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        """Log the iteration before this one."""
        if context.task_name == "lbfgs-iter" and context.task_id:
            self.tell({}, context.task_id)

    def on_fit_task_end(self, estimator: Any, context: Any) -> None:
        """Nothing: see the class."""


class Losses(Iterations):
    """The same with the mean log loss on the training rows, without regularisation."""

    @hook
    def on_fit_task_begin(
        self, estimator: Any, context: Any, *, X: Any = None, y: Any = None, fitted_estimator: Any = None
    ) -> None:
        """Log the iteration before this one, and its loss."""
        if context.task_name == "lbfgs-iter" and context.task_id:
            shares = fitted_estimator.predict_proba(X)
            self.tell({"loss": log_loss(y, shares, labels=fitted_estimator.classes_)}, context.task_id)


def monitor(run: Run) -> Callable[[int, Any, dict[str, Any]], bool]:
    """For `GradientBoosting*.fit(..., monitor=monitor(run))`: the loss on the rows of each stage. Stops nothing."""
    reporter = _Stages(run)

    def stage(number: int, estimator: Any, state: dict[str, Any]) -> bool:
        reporter.stage(number, estimator)
        return False

    return stage


class _Stages(Reporter):
    @hook
    def stage(self, number: int, estimator: Any) -> None:
        self.tell({"loss": float(estimator.train_score_[number])}, number + 1)


def searched(search: Any) -> list[str]:
    """Names of the parameters that a search varies."""
    space = getattr(search, "param_grid", None) or getattr(search, "param_distributions", None) or {}
    grids = [space] if isinstance(space, Mapping) else list(space)
    return list(dict.fromkeys(str(name) for grid in grids for name in grid))


def candidate_name(params: Mapping[str, Scalar]) -> str:
    """Parameters in one line: the same for the same parameters in every process and at every rung."""
    text = ", ".join([f"{name}={value}" for name, value in params.items()])
    if len(text) <= NAME_CHARS:
        return text
    return f"{text[: NAME_CHARS - 10]}… {hashlib.blake2s(text.encode(), digest_size=4).hexdigest()}"


@contextmanager
def _searched(search: Any, run: Run) -> Iterator[None]:
    scoring = search.scoring
    several = scoring is not None and not isinstance(scoring, str) and not callable(scoring)
    inner = check_scoring(search.estimator, scoring, raise_exc=search.error_score == "raise")
    with _called(search, Candidates(run)):
        search.scoring = Scorer(inner, search.error_score)
        try:
            yield
        finally:
            search.scoring = scoring
            if isinstance(getattr(search, "scorer_", None), Scorer):
                search.scorer_ = inner._scorers if several else inner


@contextmanager
def _iterated(estimator: Any, run: Run, loss: bool) -> Iterator[None]:
    last = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
    follows = isinstance(last, LogisticRegression) and not isinstance(last, LogisticRegressionCV)
    if not follows or last.solver != "lbfgs" or not hasattr(estimator, "set_callbacks"):
        yield
        return
    with _called(estimator, Losses(run) if loss else Iterations(run)):
        yield


@contextmanager
def _called(estimator: Any, callback: Any) -> Iterator[None]:
    """With the callback beside those that are set; afterwards as before."""
    before = list(vars(estimator).get("_skl_callbacks", ()))
    estimator.set_callbacks(*before, callback)
    try:
        yield
    finally:
        estimator.set_callbacks(*before)


def _described(estimator: Any) -> dict[str, Any]:
    """What was set, on the estimator or on the one inside of a search."""
    inner = getattr(estimator, "estimator", None)
    described = {"estimator": type(inner if inner is not None else estimator).__name__}
    if inner is not None:
        described["search"] = type(estimator).__name__
    return {**described, **(inner if inner is not None else estimator).get_params(deep=False)}
