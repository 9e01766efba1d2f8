"""Solver race: six ways down one logistic loss, the loss of each against time and against passes over the rows.

liblinear, newton-cg, newton-cholesky, lbfgs, sag and saga of scikit-learn minimise the same function: two classes, the
mean log loss plus |w|^2 / 2Cn, and no intercept, which liblinear alone would punish. Each is fitted once unwatched, for
its seconds and its passes, and once live: lbfgs by its callback, the Newtons step by step, liblinear by what it prints,
sag and saga epoch by epoch, their memory of gradients kept. A pass reads every row: for a loss, its gradient included,
for a product with the Hessian, or for a Hessian.

From: the solvers of LogisticRegression; Lin, Weng and Keerthi, 2008, liblinear; Byrd and others, 1995, lbfgs; Schmidt,
Le Roux and Bach, 2013, sag; Defazio, Bach and Lacoste-Julien, 2014, saga.
Look at: the runs side by side, by step (a pass) and since start; `excess`, on a logarithmic axis, is what is left.
Checked: strong convexity bounds how far each end lies above the minimum; liblinear and lbfgs end as unwatched, bit for
bit, the Newtons within rounding; losses never rise where the solver promises it; the log holds the curves as taken.
Needs: nothing more
Weight: light
"""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model._sag import sag_solver

from headrace import Run, adapters
from headrace.events import RunMetrics
from headrace.publisher.adapters.hook import hook
from headrace.publisher.lines import Reading
from stage import Show, play

TOLERANCES = {
    "newton-cg": 1e-7,
    "newton-cholesky": 1e-7,
    "liblinear": 1e-5,
    "lbfgs": 1e-7,
    "sag": 1e-5,
    "saga": 1e-5,
}
"""What each calls its tolerance differs: of gradients, of gradients against the first one, of changes of weights."""
C = 0.1
FEATURES = 200
FILLED = 20
"""Values of a row that are not zero."""
NARROW = 0.05
"""The scale of the last column, that of the first being 1: what makes first-order methods work."""
CLOSE = 1e-7
"""How far above the minimum a solver may end."""
DIGITS = 5e-4
"""Relative error of a number that liblinear prints."""
LINE = re.compile(r"iter +\d+ act .* f (\S+) \|g\| \S+ CG +(\d+)")


class Rows(csr_array):  # type: ignore[misc]
    """A sparse matrix that counts how often its rows are read for losses, whose gradients come along, or products.

    What newton-cholesky reads for its Hessian, once an iteration, does not pass by here.
    """

    reads = 0

    def __matmul__(self, other: Any) -> Any:
        self.reads += 1
        return super().__matmul__(other)


class Problem:
    """Seeded sparse rows whose columns differ in scale, labels by chance, and the loss that all solvers minimise."""

    def __init__(self, rows: int) -> None:
        rng = np.random.default_rng(1)
        scales = np.geomspace(1, NARROW, FEATURES)
        columns = np.sort(rng.permuted(np.tile(np.arange(FEATURES), (rows, 1)), axis=1)[:, :FILLED], axis=1)
        values = rng.normal(size=columns.shape) * scales[columns]
        ends = np.arange(0, rows * FILLED + 1, FILLED)
        self.rows = csr_array((values.ravel(), columns.ravel().astype(np.int32), ends.astype(np.int32)))
        truth = rng.normal(size=FEATURES) / np.sqrt(scales)
        self.labels = (rng.random(rows) < 1 / (1 + np.exp(-(self.rows @ truth)))).astype(int)
        self.strength = 1 / (C * rows)

    def loss(self, weights: Any) -> float:
        """The mean log loss of the rows, and the penalty."""
        margins = np.where(self.labels, 1, -1) * (self.rows @ weights)
        return float(np.logaddexp(0, -margins).mean() + self.strength / 2 * weights @ weights)

    def bound(self, weights: Any) -> float:
        """How far the loss is above its minimum, at most: the loss is as convex as its penalty."""
        chances = 1 / (1 + np.exp(-(self.rows @ weights)))
        gradient = self.rows.T @ (chances - self.labels) / len(self.labels) + self.strength * weights
        return float(gradient @ gradient / (2 * self.strength))


class Curve:
    """The losses of one solver as they become known, published; looking at them is not in its seconds."""

    def __init__(self, run: Run, problem: Problem, lowest: float) -> None:
        self.run, self.problem, self.lowest = run, problem, lowest
        self.points: list[tuple[int, float]] = []
        self.passes = 1
        """Of liblinear: those before its next line."""
        self._began_s, self._looked_s = time.perf_counter(), 0.0

    def look(self, weights: Any, passes: int, **more: float) -> None:
        """The loss of these weights, after so many passes."""
        stopped_s = time.perf_counter()
        loss, spent_s = self.problem.loss(weights), stopped_s - self._began_s - self._looked_s
        self.run.log({"excess": max(loss - self.lowest, 1e-16), **more}, step=passes, loss=loss, seconds=spent_s)
        self.points.append((passes, loss))
        self._looked_s += time.perf_counter() - stopped_s

    def read(self, line: str) -> Reading | None:
        """A line of liblinear: its objective before a step of the trust region, and the products that this takes."""
        if (found := LINE.search(line)) is None:
            return None
        passes, loss = self.passes, float(found[1]) * self.problem.strength
        self.passes += int(found[2]) + 1
        self.points.append((passes, loss))
        return Reading(passes, {"loss": loss})


class Iterations(adapters.sklearn.Iterations):
    """The callback of lbfgs: an iteration is there when the next one begins."""

    def __init__(self, curve: Curve, rows: Rows) -> None:
        super().__init__(curve.run)
        self.curve, self.rows = curve, rows

    @hook
    def on_fit_task_begin(self, estimator: Any, context: Any, *, fitted_estimator: Any = None) -> None:
        if context.task_name == "lbfgs-iter" and context.task_id:
            self.curve.look(fitted_estimator.coef_[0], self.rows.reads)


def main(show: Show) -> str:
    problem = Problem(show.sizes["rows"])
    ends: dict[str, Any] = {}
    said = []
    with show.run("solver race", {"rows": len(problem.labels), "features": FEATURES, "C": C}) as race:
        alone = {solver: unwatched(problem, solver) for solver in TOLERANCES}
        lowest = min(problem.loss(weights) for weights, _, _ in alone.values())
        for solver, (weights, seconds, passes) in alone.items():
            with show.run(f"race: {solver}", {"solver": solver, "tol": TOLERANCES[solver]}) as run:
                curve = Curve(run, problem, lowest)
                ends[solver] = watched(curve, solver)
            show.expect(run, metrics=len(curve.points))
            prove(show, problem, solver, curve, ends[solver], weights)
            needed = passes or curve.points[-1][0]
            race.candidate(solver, {"solver": solver}, loss=problem.loss(weights), passes=needed, seconds=seconds)
            said.append(f"{solver} {needed} ({seconds:.1f})")
    show.expect(race, candidates=len(alone))
    furthest = max(problem.bound(weights) for weights in [*ends.values(), *(each for each, _, _ in alone.values())])
    show.check(furthest < CLOSE, f"a solver may have ended {furthest:.0e} above the minimum")
    return (
        f"{len(problem.labels):,} rows, all within {furthest:.0e} of one minimum; passes (seconds): {', '.join(said)}"
    )


def model(solver: str, **more: Any) -> LogisticRegression:
    return LogisticRegression(
        solver=solver, C=C, fit_intercept=False, tol=TOLERANCES[solver], max_iter=2_000, random_state=0, **more
    )


def unwatched(problem: Problem, solver: str) -> tuple[Any, float, int]:
    """Weights, seconds and passes of a fit that nobody looks at; of liblinear only what it prints says passes: 0."""
    rows, began_s = Rows(problem.rows), time.perf_counter()
    fitted = model(solver).fit(rows, problem.labels)
    seconds = time.perf_counter() - began_s
    iterations = int(fitted.n_iter_[0]) if solver in ("newton-cholesky", "sag", "saga") else 0
    return fitted.coef_[0], seconds, rows.reads + iterations


def watched(curve: Curve, solver: str) -> Any:
    """Fit while the curve looks on; the weights."""
    rows, labels, watching = Rows(curve.problem.rows), curve.problem.labels, model(solver)
    if solver == "lbfgs":
        watching.set_callbacks(Iterations(curve, rows))
        weights = watching.fit(rows, labels).coef_[0]
    elif solver == "liblinear":
        watching.set_params(verbose=1)
        with adapters.tap.tap(curve.run, curve.read):
            weights = watching.fit(rows, labels).coef_[0]
        curve.look(weights, curve.passes)
    elif solver.startswith("newton"):
        for step in adapters.sklearn.stepped(watching, rows, labels):
            weights = watching.coef_[0].copy()
            curve.look(weights, rows.reads + (step if solver == "newton-cholesky" else 0))
    else:
        for epoch, (weights, change) in enumerate(epochs(curve.problem, solver), 1):
            curve.look(weights, epoch, change=change)
    return weights


def epochs(problem: Problem, solver: str) -> Iterator[tuple[Any, float]]:
    """Weights after each pass of sag or saga, and their change, until it is what scikit-learn calls converged.

    `warm_start` would forget the gradients of the rows. The function that LogisticRegression calls gives them back.
    """
    memory = {"coef": np.zeros((FEATURES, 1))}
    rng, labels = np.random.RandomState(0), problem.labels.astype(float)
    change = np.inf
    while change > TOLERANCES[solver]:
        before = memory["coef"][:, 0].copy()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # one epoch never is enough
            weights, _, memory = sag_solver(
                problem.rows,
                labels,
                None,
                "log",
                alpha=1 / C,
                max_iter=1,
                tol=0.0,
                random_state=rng,
                check_input=False,
                warm_start_mem=memory,
                is_saga=solver == "saga",
            )
        change = float(np.abs(weights - before).max() / np.abs(weights).max())
        yield weights.copy(), change


def prove(show: Show, problem: Problem, solver: str, curve: Curve, weights: Any, alone: Any) -> None:
    """The curve falls where that is promised, ends where the unwatched fit does, and is in the log as it was taken."""
    losses = [loss for _, loss in curve.points]
    if solver not in ("sag", "saga"):
        slack = DIGITS if solver == "liblinear" else 1e-12
        rises = max(after / before - 1 for before, after in pairwise(losses))
        show.check(rises <= slack, f"the loss of {solver} rose by a share of {rises:.1e}")
    if solver in ("liblinear", "lbfgs"):
        show.check(np.array_equal(weights, alone), f"watching has changed what {solver} finds")
    apart = abs(problem.loss(weights) - problem.loss(alone))
    show.check(apart < CLOSE, f"{solver} ends {apart:.1e} from where it ends unwatched")
    show.publisher.flush()
    logged = [
        (event.step, event.metrics["loss"])
        for event in show.log("runs")
        if isinstance(event, RunMetrics) and event.run == curve.run.id
    ]
    show.check(logged == curve.points, f"the log holds another curve of {solver} than was taken")


if __name__ == "__main__":
    play(main, ("scikit-learn", "numpy", "scipy"), rows=(40_000, 3_000))
