"""What is known of a model (`Card`), of one stored version (`ModelVersion`), and of what is in service.

These are the registry's file formats: fields may be added with a default, and never change type.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import Struct

Kind = Literal["classification", "regression"]
Form = Literal["skops", "onnx"]
"""How a model is written to its file."""
Param = bool | int | float | str | None


class Card(Struct, frozen=True, kw_only=True):
    """What the one who trained a model knows of it.

    `labels[i]` names the class at index i of the probabilities; regression has none. `features` name the columns, or
    are empty. `image_shape` is (height, width) where a row is a picture. `training_sha256` identifies the rows that it
    learned from.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    image_shape: tuple[int, int] | None = None
    metrics: dict[str, float] = {}
    params: dict[str, Param] = {}
    training_sha256: str = ""


class ModelVersion(Card, frozen=True, kw_only=True):
    """One stored version: the card, and what was found out when its file was vetted and stored.

    `libraries` maps python, numpy, scikit-learn, skops and onnxruntime to the versions that vetted the file.
    `takes_missing` tells whether NaN is a value to this model. `created` is UTC.
    """

    version: int
    sha256: str
    size_bytes: int
    algorithm: str
    n_features: int
    takes_missing: bool
    libraries: dict[str, str]
    created: datetime
    form: Form = "skops"


class Promotion(Struct, frozen=True, kw_only=True):
    """`version` of `name` went into service at `time` (UTC) in place of `previous`; `rollback` if by going back."""

    name: str
    version: int
    sha256: str
    previous: int | None
    rollback: bool
    time: datetime


class Service(Struct, frozen=True, kw_only=True):
    """Which version of a model is in service, and how it came about.

    `stack` holds versions in order of promotion, the one in service last, so that going back takes one off. `history`
    holds every change, oldest first. Both are bounded.
    """

    stack: tuple[int, ...] = ()
    history: tuple[Promotion, ...] = ()
