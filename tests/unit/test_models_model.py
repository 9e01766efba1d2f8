"""A model says what is wrong with rows it does not take, and scores the others as scikit-learn does, to the bit."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from headrace.errors import InputError
from headrace.models import datasets
from headrace.models.card import Kind, ModelVersion
from headrace.models.linear import shortcut
from headrace.models.model import Model
from headrace.models.training import CANDIDATES, Trainer, train


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """As in a scorer: threads of several test processes would only get in each other's way."""
    with threadpool_limits(1):
        yield


@cache
def _baseline(name: str) -> Any:
    return train(name).estimator


def _model(estimator: Any, labels: int, kind: Kind = "classification", **facts: Any) -> Model:
    card = {
        "name": "digits",
        "kind": kind,
        "labels": tuple(map(str, range(labels))),
        "version": 1,
        "sha256": "",
        "size_bytes": 0,
        "algorithm": "",
        "n_features": estimator.n_features_in_,
        "takes_missing": False,
        "libraries": {},
        "created": datetime(2024, 1, 1, tzinfo=UTC),
    }
    return Model(ModelVersion(**{**card, **facts}), estimator)


@pytest.fixture
def digits() -> Model:
    return _model(_baseline("digits"), 10)


@pytest.mark.parametrize("name", datasets.NAMES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scores_of_the_baselines_equal_scikit_learns(name: str, dtype: type[Any]) -> None:
    data, estimator = datasets.load(name), _baseline(name)
    model = _model(estimator, len(data.labels), data.kind)
    model.warm_up()
    for n in (1, 2, 7, 64, len(data.held_out_x)):
        rows = data.held_out_x[:n].astype(dtype)
        model.check(rows)
        scores = model.score(rows)
        if data.kind == "regression":
            assert scores.values is not None
            assert (scores.values == estimator.predict(rows)).all()
            assert scores.values.dtype == np.float64
            continue
        assert scores.labels is not None
        assert scores.probabilities is not None
        assert (scores.probabilities == estimator.predict_proba(rows).astype(np.float32)).all()
        assert scores.probabilities.dtype == np.float32
        assert scores.probabilities.shape == (n, len(data.labels))
        assert (estimator.classes_[scores.labels] == estimator.predict(rows)).all()


@pytest.mark.parametrize("load", [load_digits, load_breast_cancer])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_shortcut_equals_predict_proba_to_the_last_bit(load: Any, dtype: type[Any]) -> None:
    x, y = load(return_X_y=True)
    x = x / x.max(axis=0).clip(1)
    for estimator in (LogisticRegression(max_iter=500), LogisticRegression(max_iter=500, fit_intercept=False)):
        short = shortcut(estimator.fit(x, y))
        assert short is not None
        for n in (1, 3, 32, 500):
            plain = x[:n].astype(dtype)
            for rows in (plain, np.asfortranarray(plain), x.astype(dtype)[: 2 * n : 2], plain * 1e4):
                assert (short(rows) == estimator.predict_proba(rows)).all()


def test_other_estimators_have_no_shortcut() -> None:
    class Own(LogisticRegression):  # type: ignore[misc]
        pass

    assert shortcut(Own().fit(np.eye(6), [0, 1, 2, 0, 1, 2])) is None
    assert shortcut(_baseline("breast_cancer")) is None


def test_a_live_candidate_scores_like_its_estimator() -> None:
    data = datasets.load("digits")
    trainer = Trainer(data, CANDIDATES[3])
    next(iter(trainer))
    estimator = trainer.trained().estimator
    scores = _model(estimator, 10).score(data.held_out_x)
    assert scores.probabilities is not None
    assert (scores.probabilities == estimator.predict_proba(data.held_out_x).astype(np.float32)).all()


def test_whole_numbers_and_foreign_byte_order_score_like_floats(digits: Model) -> None:
    rows = datasets.load("digits").held_out_x[:20]
    wanted = digits.score(rows).probabilities
    for other in (rows.astype(np.uint8), rows.astype(np.int64), rows.astype(">f4"), rows.astype(np.float16)):
        digits.check(other)
        assert np.array_equal(wanted, digits.score(other).probabilities)  # type: ignore[arg-type]


def _with(value: float) -> np.ndarray[Any, Any]:
    rows = np.zeros((5, 64), dtype=np.float32)
    rows[3, 17] = value
    return rows


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        (np.zeros((2, 63)), "model 'digits' takes 64 features, got 63"),
        (np.zeros(64), "takes a matrix of rows, got an array of 1 dimensions; a single row goes in a list of its own"),
        (np.zeros((1, 8, 8)), "got an array of 3 dimensions"),
        (np.zeros((0, 64)), "takes at least one row, got none"),
        (np.full((1, 64), "7"), "takes real numbers, got <U1"),
        (np.zeros((1, 64), dtype=object), "takes real numbers, got object"),
        (np.zeros((1, 64), dtype=complex), "takes real numbers, got complex128"),
        (_with(float("nan")), "takes finite numbers: row 3, column 17 (pixel_2_1) is nan"),
        (_with(float("inf")), "takes finite numbers: row 3, column 17 (pixel_2_1) is inf"),
        (_with(float("-inf")), "takes finite numbers: row 3, column 17 (pixel_2_1) is -inf"),
    ],
)
def test_wrong_rows_are_refused_and_located(rows: np.ndarray[Any, Any], text: str) -> None:
    model = _model(_baseline("digits"), 10, features=datasets.load("digits").features)
    with pytest.raises(InputError) as caught:
        model.check(rows)
    assert text in str(caught.value)


def test_numbers_too_large_for_a_result_are_refused_by_row(digits: Model) -> None:
    rows = np.zeros((4, 64))
    rows[2] = 1.7e308 * np.sign(digits.estimator.coef_[0])
    digits.check(rows)
    with pytest.raises(InputError, match="no finite result for row 2"):
        digits.score(rows)


def test_what_the_estimator_itself_refuses_is_an_input_error() -> None:
    x, y = load_digits(return_X_y=True)
    forest = _model(RandomForestClassifier(3, max_depth=3, random_state=0).fit(x, y), 10)
    rows = np.full((1, 64), 1e300)
    forest.check(rows)
    with pytest.raises(InputError, match=r"refused the rows: .*too large"):
        forest.score(rows)


def test_a_model_that_knows_missing_values_takes_nan_but_not_infinity() -> None:
    x, y = load_digits(return_X_y=True)
    estimator = HistGradientBoostingClassifier(max_iter=2, max_depth=2, random_state=0).fit(x[:300], y[:300])
    model = _model(estimator, 10, takes_missing=True)
    model.check(_with(float("nan")))
    assert np.isfinite(model.score(_with(float("nan"))).probabilities).all()  # type: ignore[arg-type]
    with pytest.raises(InputError, match="row 3, column 17 is inf"):
        model.check(_with(float("inf")))
