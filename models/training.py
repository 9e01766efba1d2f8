"""Training of the shipped models: baselines at once, candidates epoch by epoch so that somebody can watch.

Nothing here publishes, stores, waits or prints; callers do with the numbers what they like.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from msgspec import Struct
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from headrace.errors import ModelError, SettingsError
from headrace.models import evaluation
from headrace.models.card import Card, Param
from headrace.models.datasets import Dataset, load

VALIDATION = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A fitted estimator and its card, ready for `Registry.save`; the card's metrics are of held-out rows."""

    estimator: Any
    card: Card


class Candidate(Struct, frozen=True, kw_only=True):
    """What one live training run tries: a linear model or a network of one hidden layer, and how it learns."""

    name: str
    algorithm: Literal["linear", "network"] = "linear"
    solver: Literal["sgd", "adam"] = "sgd"
    learning_rate: float = 0.01
    hidden: int = 32
    l2: float = 1e-4
    batch_rows: int = 32
    epochs: int = 30
    seed: int = 0


class Epoch(Struct, frozen=True):
    """Losses (mean log loss) and accuracy after `number` passes over the training rows, counted from 1."""

    number: int
    train_loss: float
    val_loss: float
    val_accuracy: float


CANDIDATES = (
    Candidate(name="network adam", algorithm="network", solver="adam", learning_rate=2e-3, hidden=48),
    Candidate(name="network sgd", algorithm="network", learning_rate=0.02, hidden=24),
    Candidate(name="linear hasty", learning_rate=0.3),
    Candidate(name="linear slow", learning_rate=1e-4),
    Candidate(name="linear", learning_rate=3e-3),
    Candidate(name="network tiny", algorithm="network", solver="adam", learning_rate=5e-3, hidden=6),
    Candidate(
        name="network wide",
        algorithm="network",
        solver="adam",
        learning_rate=1e-3,
        hidden=256,
        l2=1e-2,
        batch_rows=16,
    ),
)
"""Candidates for digits whose curves tell apart good from bad learning rates and solvers."""


def train(name: str, params: Mapping[str, Param] | None = None) -> Trained:
    """The shipped baseline of the data set `name`, the same on each machine up to rounding.

    `params` replace single parameters of its last estimator (`C` for digits and breast_cancer, `alpha` for diabetes).
    SettingsError for a data set or parameter that there is not.
    """
    dataset = load(name)
    estimator = _BASELINES[name]()
    last = estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator
    try:
        last.set_params(**(params or {}))
        estimator.fit(dataset.train_x, dataset.train_y)
    except (ValueError, TypeError) as error:
        raise SettingsError(f"{name} cannot be trained with {params}: {error}") from error
    defaults = type(last)().get_params()
    chosen = {key: value for key, value in last.get_params().items() if value != defaults[key]}
    return Trained(estimator, dataset.card({"estimator": type(last).__name__, **chosen}, grade(estimator, dataset)))


def grade(estimator: Any, dataset: Dataset) -> dict[str, float]:
    """Measures on the held-out rows: accuracy and log_loss, or mae, rmse and r2."""
    truth = dataset.held_out_y.tolist()
    if dataset.kind == "regression":
        found = evaluation.sums(zip(truth, estimator.predict(dataset.held_out_x).tolist(), strict=True))
        measures = {"mae": evaluation.mae(found), "rmse": evaluation.rmse(found), "r2": evaluation.r2(found)}
    else:
        probabilities = estimator.predict_proba(dataset.held_out_x)
        pairs = zip(truth, probabilities.argmax(axis=1).tolist(), strict=True)
        counts = evaluation.confusion(pairs, len(dataset.labels))
        loss = float(log_loss(dataset.held_out_y, probabilities))
        measures = {"accuracy": evaluation.accuracy(counts).value, "log_loss": loss}
    return {name: value for name, value in measures.items() if value is not None}


class Trainer:
    """One live training run: iterate for an Epoch after each pass, then take `trained()`.

    A fifth of the training rows is kept for validation, so that choosing among candidates by it leaves the held-out
    rows unseen. The same candidate learns the same way every time.
    """

    def __init__(self, dataset: Dataset, candidate: Candidate) -> None:
        if dataset.kind != "classification":
            raise SettingsError(f"{dataset.name} is for regression; live candidates are for classification")
        self.dataset = dataset
        self.candidate = candidate
        self.epochs: list[Epoch] = []
        # Every candidate is validated with the same rows, whatever its seed.
        parts = train_test_split(
            dataset.train_x, dataset.train_y, test_size=VALIDATION, random_state=0, stratify=dataset.train_y
        )
        learn_x, val_x, self._learn_y, self._val_y = parts
        self._scaler = StandardScaler().fit(learn_x)
        self._learn_x, self._val_x = self._scaler.transform(learn_x), self._scaler.transform(val_x)
        self._learner = _LEARNERS[candidate.algorithm](candidate)

    def __iter__(self) -> Iterator[Epoch]:
        """Learn on; the run may be left between epochs and taken up again."""
        classes = np.arange(len(self.dataset.labels))
        while len(self.epochs) < self.candidate.epochs:
            self._learner.partial_fit(self._learn_x, self._learn_y, classes=classes)
            probabilities = self._learner.predict_proba(self._val_x)
            self.epochs.append(
                Epoch(
                    len(self.epochs) + 1,
                    float(log_loss(self._learn_y, self._learner.predict_proba(self._learn_x), labels=classes)),
                    float(log_loss(self._val_y, probabilities, labels=classes)),
                    float((probabilities.argmax(axis=1) == self._val_y).mean()),
                )
            )
            yield self.epochs[-1]

    def trained(self) -> Trained:
        """The estimator as it is after the last epoch, taking rows in their own units."""
        if not self.epochs:
            raise ModelError(f"candidate {self.candidate.name!r} has not learned anything yet; iterate over it first")
        estimator = Pipeline([("scale", self._scaler), ("learn", self._learner)])
        params: dict[str, Param] = {
            field: getattr(self.candidate, field) for field in self.candidate.__struct_fields__ if field != "name"
        }
        params |= {"candidate": self.candidate.name, "epochs": len(self.epochs)}
        return Trained(estimator, self.dataset.card(params, grade(estimator, self.dataset)))


def _digits() -> LogisticRegression:
    # On plain pixels, for all have one scale: a scaler would only cost time at each prediction.
    return LogisticRegression(C=0.03, max_iter=2000)


def _breast_cancer() -> Pipeline:
    return Pipeline([("scale", StandardScaler()), ("learn", LogisticRegression())])


def _diabetes() -> Pipeline:
    return Pipeline([("scale", StandardScaler()), ("learn", Ridge(alpha=10.0))])


def _linear(candidate: Candidate) -> SGDClassifier:
    return SGDClassifier(
        loss="log_loss",
        learning_rate="constant",
        eta0=candidate.learning_rate,
        alpha=candidate.l2,
        random_state=candidate.seed,
    )


def _network(candidate: Candidate) -> MLPClassifier:
    return MLPClassifier(
        hidden_layer_sizes=(candidate.hidden,),
        solver=candidate.solver,
        learning_rate_init=candidate.learning_rate,
        alpha=candidate.l2,
        batch_size=candidate.batch_rows,
        random_state=candidate.seed,
    )


_BASELINES: dict[str, Callable[[], Any]] = {
    "digits": _digits,
    "breast_cancer": _breast_cancer,
    "diabetes": _diabetes,
}
_LEARNERS: dict[str, Callable[[Candidate], Any]] = {"linear": _linear, "network": _network}
