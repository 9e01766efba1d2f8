"""Estimators without callbacks, fitted step by step to the same model as in one fit: exactly, or not at all."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

from sklearn.base import is_classifier
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.utils.multiclass import unique_labels

from headrace.errors import SettingsError

FORESTS = (ExtraTreesClassifier, ExtraTreesRegressor, RandomForestClassifier, RandomForestRegressor)
BOOSTED = (HistGradientBoostingClassifier, HistGradientBoostingRegressor)
NEWTON = ("newton-cg", "newton-cholesky")


def stepped(estimator: Any, X: Any, y: Any, *, chunk: int = 1, epochs: int = 0, **fit: Any) -> Iterator[int]:
    """Fit in steps, and yield after each how far it is: trees, iterations or epochs; the model grows in `estimator`.

    Forests and HistGradientBoosting grow by `chunk` and end bit for bit as by one `fit` (with a `random_state`;
    HistGradientBoosting without early stopping); `newton-cg` and `newton-cholesky` end within rounding of it. With
    `epochs`, learners with `partial_fit` pass so often over the rows. Raises SettingsError for those where steps would
    give another model: `warm_start` forgets the gradient memory of sag and saga and the state of Adam, and liblinear
    ignores it.
    """
    if epochs and hasattr(estimator, "partial_fit"):
        return _epochs(estimator, X, y, epochs, fit)
    if isinstance(estimator, FORESTS):
        return _growing(estimator, X, y, "n_estimators", chunk, fit)
    if isinstance(estimator, BOOSTED) and not _stops_early(estimator, len(X)):
        return _growing(estimator, X, y, "max_iter", chunk, fit)
    if type(estimator) is LogisticRegression and estimator.solver in NEWTON:
        return _newton(estimator, X, y, fit)
    raise SettingsError(
        f"{type(estimator).__name__} cannot be fitted step by step to the same model. Steps are exact for forests, "
        "HistGradientBoosting with early_stopping=False, LogisticRegression with newton-cg or newton-cholesky, and, "
        "with epochs=N, for what has partial_fit. Watch others as a whole, or through adapters.tap"
    )


def _epochs(estimator: Any, X: Any, y: Any, epochs: int, fit: dict[str, Any]) -> Iterator[int]:
    classes = {"classes": unique_labels(y)} if is_classifier(estimator) else {}
    for epoch in range(1, epochs + 1):
        estimator.partial_fit(X, y, **{**classes, **fit})
        yield epoch


def _growing(estimator: Any, X: Any, y: Any, parameter: str, chunk: int, fit: dict[str, Any]) -> Iterator[int]:
    wanted, warm = getattr(estimator, parameter), estimator.warm_start
    size = min(chunk, wanted)
    try:
        # The first fit begins anew, as one fit would.
        estimator.set_params(**{parameter: size, "warm_start": False}).fit(X, y, **fit)
        yield size
        estimator.set_params(warm_start=True)
        while size < wanted:
            size = min(size + chunk, wanted)
            estimator.set_params(**{parameter: size}).fit(X, y, **fit)
            yield size
    finally:
        estimator.set_params(**{parameter: wanted, "warm_start": warm})


def _newton(estimator: Any, X: Any, y: Any, fit: dict[str, Any]) -> Iterator[int]:
    wanted, warm = estimator.max_iter, estimator.warm_start
    step = 0
    try:
        estimator.set_params(max_iter=1, warm_start=False)
        while step < wanted:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                estimator.fit(X, y, **fit)
            unfinished = [one for one in caught if issubclass(one.category, ConvergenceWarning)]
            for one in caught:
                if one not in unfinished:
                    warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
            step += 1
            yield step
            if not unfinished:
                return
            estimator.set_params(warm_start=True)
        warnings.warn(f"not converged after max_iter={wanted} steps", ConvergenceWarning, stacklevel=2)
    finally:
        estimator.set_params(max_iter=wanted, warm_start=warm)
        if step:
            estimator.n_iter_[:] = step


def _stops_early(estimator: Any, rows: int) -> bool:
    return bool(rows > 10_000 if estimator.early_stopping == "auto" else estimator.early_stopping)
