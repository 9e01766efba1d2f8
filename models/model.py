"""An opened model version: refuses rows it does not take, and scores a matrix in one vectorised call.

Holds no state between calls, so that threads may share one. How many cores a call uses is the process's choice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from headrace.errors import InputError
from headrace.models.card import Kind, ModelVersion
from headrace.models.linear import shortcut

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Results of n rows. Classification: `labels` (n,) int64 indices, `probabilities` (n, k) float32. Regression:
    `values` (n,) float64."""

    labels: Array | None = None
    probabilities: Array | None = None
    values: Array | None = None


class Model:
    """A version of a model, ready to score; made by `Registry.open`."""

    def __init__(self, card: ModelVersion, estimator: Any) -> None:
        self.card = card
        self.name: str = card.name
        self.version: int = card.version
        self.kind: Kind = card.kind
        self.labels: tuple[str, ...] = card.labels
        self.n_features: int = card.n_features
        self.estimator = estimator
        self._predict: Callable[[Array], Array] = estimator.predict
        if card.kind == "classification":
            self._predict = shortcut(estimator) or estimator.predict_proba

    def check(self, matrix: Array) -> None:
        """Pass a `matrix` (n, n_features) that `score` takes; InputError says what is wrong with another, and where."""
        if matrix.ndim != 2:
            raise InputError(
                f"model {self.name!r} takes a matrix of rows, got an array of {matrix.ndim} dimensions; "
                "a single row goes in a list of its own"
            )
        if matrix.shape[1] != self.n_features:
            raise InputError(f"model {self.name!r} takes {self.n_features} features, got {matrix.shape[1]}")
        if not len(matrix):
            raise InputError(f"model {self.name!r} takes at least one row, got none")
        if matrix.dtype.kind not in "fiub":
            raise InputError(f"model {self.name!r} takes real numbers, got {matrix.dtype}")
        if matrix.dtype.kind == "f" and not np.isfinite(matrix).all():
            self._refuse_infinite(matrix)

    def score(self, matrix: Array) -> Scores:
        """Scores of a matrix that passed `check`; the label is the class of highest probability.

        float32 and float64 are scored as they are, other numbers as float64. InputError if the estimator refuses the
        rows after all, or numbers are so large that a result is not finite.
        """
        if matrix.dtype not in (np.float32, np.float64) or not matrix.dtype.isnative:
            matrix = matrix.astype(np.float64)
        # Overflow is found in the results below, row by row.
        with np.errstate(over="ignore", invalid="ignore"):
            try:
                results = self._predict(matrix)
            except ValueError as error:
                raise InputError(f"model {self.name!r} refused the rows: {error}") from error
        finite = np.isfinite(results)
        if not finite.all():
            row = np.argwhere(~finite)[0][0]
            raise InputError(f"model {self.name!r} has no finite result for row {row}: its numbers are too large")
        if self.kind == "regression":
            return Scores(values=results.astype(np.float64, copy=False))
        return Scores(labels=results.argmax(axis=1), probabilities=results.astype(np.float32, copy=False))

    def warm_up(self) -> None:
        """Score once with one row and once with many, so that the first request does not pay for what loads late."""
        for rows in (1, 256):
            self.score(np.zeros((rows, self.n_features), dtype=np.float32))

    def _refuse_infinite(self, matrix: Array) -> None:
        """InputError names the first value that is infinite, or NaN where NaN is no value to the model."""
        wrong = np.isinf(matrix) if self.card.takes_missing else ~np.isfinite(matrix)
        if not wrong.any():
            return
        row, column = np.argwhere(wrong)[0]
        feature = f" ({self.card.features[column]})" if self.card.features else ""
        raise InputError(
            f"model {self.name!r} takes finite numbers: row {row}, column {column}{feature} is {matrix[row, column]}"
        )
