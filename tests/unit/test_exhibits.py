"""What exhibits of the gallery rely on in scikit-learn beyond what adapters do: a release that breaks it is seen."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model._sag import sag_solver
from threadpoolctl import threadpool_limits

X, Y = make_classification(n_samples=200, n_features=8, random_state=0)
STRENGTH = 1 / len(X)
"""Of the penalty, with C = 1."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with threadpool_limits(1):
        yield


def loss(weights: Any) -> float:
    """The mean log loss and the penalty."""
    return float(np.logaddexp(0, -np.where(Y, 1, -1) * (X @ weights)).mean() + STRENGTH / 2 * weights @ weights)


def model(solver: str, **options: Any) -> LogisticRegression:
    return LogisticRegression(**{"solver": solver, "fit_intercept": False, "random_state": 0, "tol": 1e-8, **options})


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("solver", ["sag", "saga"])
def test_sag_goes_on_where_it_stopped_if_it_is_given_its_memory(solver: str) -> None:
    rows, memory, rng = csr_array(X), {"coef": np.zeros((8, 1))}, np.random.RandomState(0)
    losses = []
    for epoch in range(60):
        weights, epochs, memory = sag_solver(
            rows,
            Y.astype(float),
            None,
            "log",
            alpha=1.0,
            max_iter=1,
            tol=0.0,
            random_state=rng,
            check_input=False,
            warm_start_mem=memory,
            is_saga=solver == "saga",
        )
        assert epochs == 1
        losses.append(loss(weights))
        if not epoch:
            first = model(solver, max_iter=1).fit(rows, Y).coef_[0]
            np.testing.assert_array_equal(weights, first)
    one_fit = model(solver, max_iter=1_000).fit(rows, Y).coef_[0]
    assert losses[-1] == pytest.approx(loss(one_fit), abs=1e-9)
    # From the start with warm_start, which forgets the gradients, it is not there by then.
    forgetful = model(solver, max_iter=1, warm_start=True)
    for _ in range(60):
        forgetful.fit(rows, Y)
    assert loss(forgetful.coef_[0]) > losses[-1] + 1e-6


def test_liblinear_prints_the_objective_before_each_step_and_what_the_step_took(capfd: Any) -> None:
    fitted = model("liblinear", verbose=1).fit(csr_array(X), Y)
    lines = re.findall(r"iter +(\d+) act (\S+) .* f (\S+) \|g\| \S+ CG +(\d+)", capfd.readouterr().out)
    assert [int(line[0]) for line in lines] == list(range(1, len(lines) + 1))
    assert len(lines) == fitted.n_iter_[0]
    objectives = [float(line[2]) * STRENGTH for line in lines]
    assert objectives[0] == pytest.approx(np.log(2), rel=1e-3)
    gained = sum(float(line[1]) for line in lines) * STRENGTH
    assert np.log(2) - gained == pytest.approx(loss(fitted.coef_[0]), abs=1e-3)
    assert all(int(line[3]) >= 1 for line in lines)


class Rows(csr_array):  # type: ignore[misc]
    reads = 0

    def __matmul__(self, other: Any) -> Any:
        self.reads += 1
        return super().__matmul__(other)


@pytest.mark.parametrize(("solver", "least"), [("newton-cholesky", 1), ("lbfgs", 1), ("newton-cg", 2)])
def test_a_solver_reads_its_rows_through_the_product_of_the_matrix_it_is_given(solver: str, least: int) -> None:
    rows = Rows(csr_array(X))
    fitted = model(solver).fit(rows, Y)
    assert rows.reads > least * fitted.n_iter_[0]
    if solver == "newton-cholesky":  # the start, and where each step leads to
        assert rows.reads == fitted.n_iter_[0] + 1
    np.testing.assert_array_equal(fitted.coef_, model(solver).fit(csr_array(X), Y).coef_)


def test_all_solvers_have_one_minimum_without_an_intercept() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        ends = {
            solver: loss(model(solver, max_iter=2_000).fit(csr_array(X), Y).coef_[0])
            for solver in ("liblinear", "newton-cg", "newton-cholesky", "lbfgs", "sag", "saga")
        }
    assert max(ends.values()) - min(ends.values()) < 1e-9, ends
