"""Training frameworks as live runs: one small module each, on a hook that the framework itself offers.

    from headrace import adapters

    with adapters.sklearn.watch(search, "grid"):
        search.fit(X, y)

A module is loaded when it is named, and imports its framework then; nothing else here does. What they share stands in
`hook`: a run that is given or opened, bounded in what it says, and never an exception in a training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headrace.publisher.adapters import (
        catboost,
        joblib,
        keras,
        lightgbm,
        lightning,
        logging,
        optuna,
        ray,
        sklearn,
        spark,
        tap,
        torch,
        transformers,
        xgboost,
    )

__all__ = [
    "catboost",
    "joblib",
    "keras",
    "lightgbm",
    "lightning",
    "logging",
    "optuna",
    "ray",
    "sklearn",
    "spark",
    "tap",
    "torch",
    "transformers",
    "xgboost",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
