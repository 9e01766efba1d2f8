"""One search four ways: a grid, random draws, halving, and Optuna with early stopping; the best score by budget spent.

All look for C and gamma of one SVM on the same digits, by the same three folds, and pay in the same coin: rows that a
model was fitted on. Halving starts every point of the grid on few rows and gives more to the better third. Random draws
and Optuna (what took the place of Tune-sklearn) get what halving has spent; Optuna's sampler learns from what it has
seen, and its pruner stops a trial which does worse at a rung than the better third of those before.

From: Bergstra and Bengio, Random search, 2012; Jamieson and Talwalkar, Successive halving, 2016; Li and others, ASHA,
2020; Akiba and others, Optuna, 2019.
Look at: the runs side by side: `best`, what a search would choose by now, its step being rows spent; their candidates
with parameters, rungs, and trials that were pruned.
Checked: what each finds is what scikit-learn or Optuna says, told from events alone; its candidates are all in the log;
the budget that models counted as they were fitted is that of an account by folds and rungs.
Needs: optuna
Weight: light
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from scipy.stats import loguniform
from sklearn.datasets import load_digits
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - what makes HalvingGridSearchCV importable
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    StratifiedKFold,
    train_test_split,
)
from sklearn.svm import SVC
from sklearn.utils import resample

from headrace import Run, adapters
from headrace.events import RunCandidate, RunMetrics
from stage import Show, play

FOLDS = 3
FACTOR = 3
RUNGS = 3
"""Each has FACTOR times the rows of the one before; the last has all."""
GRID = {"C": np.logspace(-2, 3, 6).tolist(), "gamma": np.logspace(-6, -1, 6).tolist()}
SPACE = {name: (values[0], values[-1]) for name, values in GRID.items()}
LAG = 0.05
"""How much less accurate on held-out rows than the whole grid a search may be that spends a part of it."""


class Machine(SVC):  # type: ignore[misc]
    """An SVM that counts the rows it is fitted on, and those of all together."""

    spent = 0

    def fit(self, rows: Any, labels: Any) -> Machine:
        self.rows_ = len(rows)
        Machine.spent += len(rows)
        super().fit(rows, labels)
        return self


class Progress:
    """What a search would choose by now, the best on the most rows: logged whenever all folds of a candidate are in."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.judged = 0
        self._best = (0, 0.0)
        self._folds: list[tuple[int, float]] = []

    def __call__(self, machine: Machine, rows: Any, labels: Any) -> float:
        """The accuracy of one fold: the `scoring` of all searches."""
        score = float(machine.score(rows, labels))
        self._folds.append((machine.rows_, score))
        if len(self._folds) == FOLDS:
            sizes, scores = zip(*self._folds, strict=True)
            self._best = max(self._best, (sum(sizes), float(np.mean(scores))))
            self._folds.clear()
            self.judged += 1
            self.run.log(step=Machine.spent, best=self._best[1])
        return score


class Digits:
    """Rows to search with, rows to be judged by in the end, and the folds that all searches take."""

    def __init__(self, rows: int) -> None:
        self.train_x, self.test_x, self.train_y, self.test_y = train_test_split(
            *load_digits(return_X_y=True), train_size=rows, random_state=0
        )
        self.rungs = [rows // FACTOR**rung for rung in reversed(range(RUNGS))]
        self.cv = StratifiedKFold(FOLDS)

    def folds(self, size: int) -> Iterator[Any]:
        """Folds with so many rows of all, drawn as halving draws them: rows to learn from, rows to be judged by."""
        for fold in self.cv.split(self.train_x, self.train_y):
            share = size / len(self.train_x)
            yield [resample(part, replace=False, random_state=0, n_samples=int(share * len(part))) for part in fold]

    def price(self, size: int) -> int:
        """Rows that a candidate is fitted on to be judged by such folds."""
        return sum(len(train) for train, _ in self.folds(size))

    def held_out(self, params: Mapping[str, float]) -> float:
        """The accuracy on rows that no search has seen, after learning from all others."""
        return float(SVC(**params).fit(self.train_x, self.train_y).score(self.test_x, self.test_y))


@dataclass(frozen=True, slots=True)
class Found:
    """What a search says that it found, and the rows that it has spent on that."""

    name: str
    params: Mapping[str, float]
    score: float
    spent: int


def main(show: Show) -> str:
    digits = Digits(show.sizes["rows"] // FACTOR ** (RUNGS - 1) * FACTOR ** (RUNGS - 1))
    rungs = {"min_resources": digits.rungs[0], "factor": FACTOR, "random_state": 0}
    halving = searched(show, digits, "halving", HalvingGridSearchCV, GRID, **rungs)
    affordable = halving.spent // digits.price(digits.rungs[-1])
    draws = {name: loguniform(*ends) for name, ends in SPACE.items()}
    random = searched(show, digits, "random", RandomizedSearchCV, draws, n_iter=affordable, random_state=0)
    bayesian, pruned = optimized(show, digits, halving.spent)
    grid = searched(show, digits, "grid", GridSearchCV, GRID)
    said, best = [], digits.held_out(grid.params)
    for found in (grid, random, halving, bayesian):
        held_out = digits.held_out(found.params)
        show.check(held_out > best - LAG, f"what {found.name} found tells {held_out:.3f} right, the grid's {best:.3f}")
        said.append(f"{found.name} {found.score:.3f} ({found.spent / 1e3:.0f}; {held_out:.3f})")
    return f"best score (thousand rows fitted on; held-out accuracy): {', '.join(said)}; {pruned}"


def searched(show: Show, digits: Digits, name: str, kind: Any, space: Mapping[str, Any], **options: Any) -> Found:
    """One of scikit-learn's searches, whose events and expenses are what it says."""
    Machine.spent = 0
    with show.run(f"search: {name}", {"rows": len(digits.train_x)}) as run:
        progress = Progress(run)
        options |= {"scoring": progress, "cv": digits.cv, "refit": False, "return_train_score": False}
        search = kind(Machine(), space, **options)
        with adapters.sklearn.watch(search, run):
            search.fit(digits.train_x, digits.train_y)
    sizes = search.cv_results_.get("n_resources", [len(digits.train_x)] * len(search.cv_results_["params"]))
    show.expect(run, metrics=progress.judged, candidates=len(sizes) * (FOLDS + 1))
    found = Found(name, search.best_params_, search.best_score_, Machine.spent)
    prove(show, digits, run, found, sizes)
    return found


def optimized(show: Show, digits: Digits, budget: int) -> tuple[Found, str]:
    """Optuna until it has spent a budget, and what its pruner did."""
    Machine.spent = 0
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=0),
        pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=digits.rungs[0], reduction_factor=FACTOR),
    )
    with show.run("search: optuna", {"rows": len(digits.train_x)}) as run:
        progress = Progress(run)

        def objective(trial: optuna.Trial) -> float:
            params = {name: trial.suggest_float(name, *ends, log=True) for name, ends in SPACE.items()}
            for size in digits.rungs:
                score = float(np.mean([judged(params, *fold) for fold in digits.folds(size)]))
                trial.report(score, size)
                if size < digits.rungs[-1] and trial.should_prune():
                    raise optuna.TrialPruned
            return score

        def judged(params: Mapping[str, float], train: Any, test: Any) -> float:
            machine = Machine(**params).fit(digits.train_x[train], digits.train_y[train])
            return progress(machine, digits.train_x[test], digits.train_y[test])

        def enough(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
            if Machine.spent >= budget:
                study.stop()

        adapters.optuna.optimize(study, objective, run, callbacks=[enough])
    sizes = [size for trial in study.trials for size in trial.intermediate_values]
    show.expect(run, metrics=progress.judged, candidates=len(sizes) + len(study.trials))
    found = Found("optuna", study.best_params, study.best_value, Machine.spent)
    pruned = prove(show, digits, run, found, sizes)
    stopped = sum(trial.state is optuna.trial.TrialState.PRUNED for trial in study.trials)
    show.check(pruned == stopped, f"the log holds {pruned} of {stopped} trials that were pruned")
    return found, f"optuna pruned {stopped} of {len(study.trials)}"


def prove(show: Show, digits: Digits, run: Run, found: Found, sizes: Sequence[int]) -> int:
    """The log tells the same best and the same expenses; `sizes` are rows of each judgement. How many were pruned."""
    show.publisher.flush()
    events = [event for event in show.log("runs") if getattr(event, "run", "") == run.id]
    ended = [event for event in events if isinstance(event, RunCandidate) and not event.folds]
    # Of equals the first is taken, as the searches do.
    best = max((event for event in ended if event.status == "finished"), key=lambda event: (event.resource, of(event)))
    show.check(of(best) == found.score and best.params == found.params, f"the log tells another best of {found.name}")
    last = [event for event in events if isinstance(event, RunMetrics)][-1]
    ends = abs((last.metrics["best"] or 0.0) - found.score) < 1e-9
    show.check(ends, f"the curve of {found.name} ends at {last.metrics['best']}, and it found {found.score}")
    account = sum(digits.price(size) for size in sizes)
    show.check(
        last.step == found.spent == account,
        f"{found.name} was fitted on {found.spent:,} rows, said {last.step:,} and should have taken {account:,}",
    )
    return sum(event.status == "pruned" for event in ended)


def of(candidate: RunCandidate) -> float:
    """What a candidate was judged by: scikit-learn calls it a score, Optuna a value."""
    return candidate.metrics.get("score", candidate.metrics.get("value")) or 0.0


if __name__ == "__main__":
    play(main, ("scikit-learn", "optuna"), rows=(900, 270))
