"""Real data that ships with scikit-learn: nothing is downloaded, and the split is the same on every machine.

The held-out rows are never trained on: they are what models are graded with and what the demo sends as traffic.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.model_selection import train_test_split

from headrace.errors import SettingsError
from headrace.models.card import Card, Kind, Param

HELD_OUT = 0.3
SEED = 20

Matrix = np.ndarray[tuple[int, int], np.dtype[np.float64]]
Vector = np.ndarray[tuple[int], np.dtype[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Rows with their truth: `train_x` (n, features) float64 and `train_y` (n,), the same held out; all read-only.

    Truth is a label index (int64) in classification and a number (float64) in regression.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...]
    features: tuple[str, ...]
    image_shape: tuple[int, int] | None
    train_x: Matrix
    train_y: Vector
    held_out_x: Matrix
    held_out_y: Vector
    training_sha256: str

    def card(self, params: dict[str, Param], metrics: dict[str, float]) -> Card:
        """The card of a model that learned from the training rows."""
        return Card(
            name=self.name,
            kind=self.kind,
            labels=self.labels,
            features=self.features,
            image_shape=self.image_shape,
            metrics=metrics,
            params=params,
            training_sha256=self.training_sha256,
        )


@cache
def load(name: str) -> Dataset:
    """The data set `name`, read once in a process; SettingsError for a name that is not in NAMES."""
    if name not in _READERS:
        raise SettingsError(f"unknown data set {name!r}; there are {', '.join(NAMES)}")
    return _READERS[name]()


def sha256(x: Matrix, y: Vector) -> str:
    """Identifies rows and truth by value, shape and order, whatever the machine's byte order."""
    digest = hashlib.sha256(repr((x.shape, y.dtype.kind)).encode())
    digest.update(np.ascontiguousarray(x, dtype="<f8").tobytes())
    digest.update(np.ascontiguousarray(y, dtype="<f8").tobytes())
    return digest.hexdigest()


def _digits() -> Dataset:
    bunch = load_digits()
    features = [f"pixel_{row}_{column}" for row in range(8) for column in range(8)]
    return _split("digits", bunch, "classification", [str(digit) for digit in range(10)], features, (8, 8))


def _breast_cancer() -> Dataset:
    bunch = load_breast_cancer()
    return _split("breast_cancer", bunch, "classification", bunch.target_names, bunch.feature_names)


def _diabetes() -> Dataset:
    # In natural units: a caller can then send an age and a blood pressure, and a page can show them.
    bunch = load_diabetes(scaled=False)
    return _split("diabetes", bunch, "regression", [], bunch.feature_names)


def _split(
    name: str, bunch: Any, kind: Kind, labels: Any, features: Any, image_shape: tuple[int, int] | None = None
) -> Dataset:
    x = np.asarray(bunch.data, dtype=np.float64)
    y = np.asarray(bunch.target, dtype=np.int64 if kind == "classification" else np.float64)
    balanced = y if kind == "classification" else None
    parts = train_test_split(x, y, test_size=HELD_OUT, random_state=SEED, stratify=balanced)
    train_x, held_out_x, train_y, held_out_y = (np.ascontiguousarray(part) for part in parts)
    for part in (train_x, held_out_x, train_y, held_out_y):
        part.flags.writeable = False
    return Dataset(
        name=name,
        kind=kind,
        labels=tuple(str(label) for label in labels),
        features=tuple(str(feature).replace(" ", "_") for feature in features),
        image_shape=image_shape,
        train_x=train_x,
        train_y=train_y,
        held_out_x=held_out_x,
        held_out_y=held_out_y,
        training_sha256=sha256(train_x, train_y),
    )


_READERS: dict[str, Callable[[], Dataset]] = {
    "digits": _digits,
    "breast_cancer": _breast_cancer,
    "diabetes": _diabetes,
}
NAMES = tuple(_READERS)
