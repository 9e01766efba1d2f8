"""The shipped data sets are split once and for all, and what is trained on them is good and repeatable."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

from headrace.errors import ModelError, SettingsError
from headrace.models import datasets
from headrace.models.training import CANDIDATES, Candidate, Trainer, grade, train


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """As in a scorer: threads of several test processes would only get in each other's way."""
    with threadpool_limits(1):
        yield


@pytest.mark.parametrize(
    ("name", "rows", "features", "labels"),
    [("digits", 1797, 64, 10), ("breast_cancer", 569, 30, 2), ("diabetes", 442, 10, 0)],
)
def test_a_data_set_is_whole_named_and_split(name: str, rows: int, features: int, labels: int) -> None:
    found = datasets.load(name)
    assert found.name == name
    assert len(found.train_x) + len(found.held_out_x) == rows
    assert len(found.train_y) == len(found.train_x)
    assert len(found.held_out_y) == len(found.held_out_x) == pytest.approx(0.3 * rows, abs=1)
    assert found.train_x.shape[1] == len(found.features) == len(set(found.features)) == features
    assert len(found.labels) == labels
    trained_on = {row.tobytes() for row in found.train_x}
    assert not any(row.tobytes() in trained_on for row in found.held_out_x)
    with pytest.raises(ValueError, match="read-only"):
        found.train_x[0, 0] = 1.0


def test_digits_keep_their_pictures_labels_and_order() -> None:
    found, all_digits = datasets.load("digits"), load_digits()
    assert found.image_shape == (8, 8)
    assert found.labels == tuple("0123456789")
    truth = {image.tobytes(): target for image, target in zip(all_digits.data, all_digits.target, strict=True)}
    assert all(truth[row.tobytes()] == label for row, label in zip(found.held_out_x, found.held_out_y, strict=True))


def test_the_training_set_has_a_hash_that_any_change_changes() -> None:
    found = datasets.load("digits")
    # The same on every machine: a model's card says by this number what the model learned from.
    assert found.training_sha256 == "418d44a5d79961b77407f98495f7983dedb45273914f8df27991106e7d8e6198"
    changed = found.train_x.copy()
    changed[5, 20] += 1
    assert datasets.sha256(changed, found.train_y) != found.training_sha256
    assert datasets.sha256(found.train_x[::-1], found.train_y[::-1]) != found.training_sha256


def test_an_unknown_data_set_is_refused_by_name() -> None:
    with pytest.raises(SettingsError, match="unknown data set 'iris'; there are digits, breast_cancer, diabetes"):
        train("iris")


def test_baselines_are_good_on_rows_they_have_not_seen() -> None:
    digits, cancer, diabetes = train("digits").card, train("breast_cancer").card, train("diabetes").card
    assert digits.metrics["accuracy"] > 0.95
    assert digits.metrics["log_loss"] < 0.15
    assert cancer.metrics["accuracy"] > 0.95
    assert diabetes.metrics["r2"] > 0.35
    assert diabetes.metrics["mae"] < 50
    assert digits.training_sha256 == datasets.load("digits").training_sha256
    assert (digits.kind, diabetes.kind, cancer.labels) == (
        "classification",
        "regression",
        ("malignant", "benign"),
    )


def test_a_baseline_takes_parameters_and_refuses_ones_it_does_not_know() -> None:
    strong = train("digits", {"C": 0.0001, "max_iter": 500})
    assert strong.card.params == {"estimator": "LogisticRegression", "C": 0.0001, "max_iter": 500}
    assert strong.card.metrics["accuracy"] < train("digits").card.metrics["accuracy"]
    for wrong in ({"depth": 3}, {"C": -1.0}, {"C": "much"}):
        with pytest.raises(SettingsError, match="digits cannot be trained with"):
            train("digits", wrong)


def test_a_live_run_shows_each_epoch_and_ends_with_a_model() -> None:
    digits = datasets.load("digits")
    trainer = Trainer(digits, Candidate(name="a", algorithm="network", solver="adam", learning_rate=3e-3, epochs=12))
    epochs = list(trainer)
    assert [epoch.number for epoch in epochs] == list(range(1, 13))
    assert epochs[-1].train_loss < epochs[0].train_loss / 3
    assert epochs[-1].val_loss < epochs[0].val_loss / 2
    assert epochs[-1].val_accuracy > 0.9
    trained = trainer.trained()
    assert trained.card.metrics == grade(trained.estimator, digits)
    assert trained.card.metrics["accuracy"] > 0.9
    assert trained.card.params["candidate"] == "a"
    assert trained.card.params["epochs"] == 12


def test_the_same_candidate_learns_the_same_way_and_can_be_left_and_taken_up() -> None:
    digits, candidate = datasets.load("digits"), Candidate(name="a", epochs=6, seed=4)
    left = Trainer(digits, candidate)
    for epoch in left:
        if epoch.number == 2:
            break
    assert left.trained().card.params["epochs"] == 2
    assert [*left.epochs[:2], *left] == list(Trainer(digits, candidate))


def test_the_shipped_candidates_tell_apart() -> None:
    digits = datasets.load("digits")
    losses = []
    for candidate in CANDIDATES:
        trainer = Trainer(digits, candidate)
        losses.append([next(iter(trainer)).val_loss for _ in range(5)][-1])
    assert len({candidate.name for candidate in CANDIDATES}) == len(CANDIDATES)
    ordered = np.sort(losses)
    assert ordered[-1] > 5 * ordered[0]
    assert (np.diff(ordered) > 0.01).all()


def test_live_runs_need_classes_and_an_epoch() -> None:
    with pytest.raises(SettingsError, match="diabetes is for regression"):
        Trainer(datasets.load("diabetes"), CANDIDATES[0])
    with pytest.raises(ModelError, match="has not learned anything yet"):
        Trainer(datasets.load("digits"), CANDIDATES[0]).trained()
