"""What is stored comes back with equal predictions; what could run code, or is not scikit-learn's, is refused."""

from __future__ import annotations

import io
import pickle
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import skops.io
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from threadpoolctl import threadpool_limits

from headrace.errors import RefusedModelError
from headrace.models import datasets, vault
from headrace.models.training import CANDIDATES, Trainer, train

X, Y = (part[:300] for part in load_digits(return_X_y=True))
X = X / 16


class Foreign(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """An estimator of somebody's own: its code is not in the file, and would have to be imported."""

    def fit(self, x: Any, y: Any) -> Foreign:
        self.classes_ = np.unique(y)
        return self


def _pass(rows: Any) -> Any:
    return rows


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """As in a scorer: threads of several test processes would only get in each other's way."""
    with threadpool_limits(1):
        yield


@pytest.mark.parametrize("name", datasets.NAMES)
def test_baselines_come_back_with_equal_predictions(name: str) -> None:
    estimator, rows = train(name).estimator, datasets.load(name).held_out_x
    opened = vault.unpack(vault.pack(estimator))
    assert (opened.predict(rows) == estimator.predict(rows)).all()
    if hasattr(estimator, "predict_proba"):
        assert (opened.predict_proba(rows) == estimator.predict_proba(rows)).all()


@pytest.mark.parametrize("candidate", CANDIDATES[2:5], ids=lambda candidate: candidate.name)
def test_live_candidates_come_back_with_equal_predictions(candidate: Any) -> None:
    data = datasets.load("digits")
    trainer = Trainer(data, candidate)
    next(iter(trainer))
    estimator = trainer.trained().estimator
    opened = vault.unpack(vault.pack(estimator))
    assert (opened.predict_proba(data.held_out_x) == estimator.predict_proba(data.held_out_x)).all()


@pytest.mark.parametrize(
    "estimator",
    [
        RandomForestClassifier(3, max_depth=4, random_state=0),
        GradientBoostingClassifier(n_estimators=1, max_depth=2, random_state=0),
        HistGradientBoostingClassifier(max_iter=2, max_depth=2, random_state=0),
        CalibratedClassifierCV(GaussianNB(), cv=2),
        GridSearchCV(SGDClassifier(loss="log_loss", random_state=0), {"alpha": [1e-3, 1e-2]}, cv=2),
        make_pipeline(StandardScaler(), GaussianNB()),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_common_estimators_come_back_with_equal_predictions(estimator: Any) -> None:
    estimator.fit(X, Y)
    opened = vault.unpack(vault.pack(estimator))
    assert (opened.predict_proba(X) == estimator.predict_proba(X)).all()


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_refused(protocol: int) -> None:
    with pytest.raises(RefusedModelError, match="the file is a pickle"):
        vault.unpack(pickle.dumps(GaussianNB().fit(X, Y), protocol=protocol))


@pytest.mark.parametrize("compress", [0, "zlib", "gzip", "bz2", "xz", "lzma"])
def test_a_joblib_file_is_refused(compress: Any, tmp_path: Path) -> None:
    path = tmp_path / "model"
    joblib.dump(GaussianNB().fit(X, Y), path, compress=compress)
    with pytest.raises(RefusedModelError, match="pickle"):
        vault.unpack(path.read_bytes())


@pytest.mark.parametrize("content", [b"", b"cposix\nsystem\n(S'true'\ntR.", b"hello", b"PK"])
def test_anything_else_is_refused(content: bytes) -> None:
    with pytest.raises(RefusedModelError, match="no model file"):
        vault.unpack(content)


def test_an_estimator_of_another_type_is_refused_by_name_when_stored_and_when_opened() -> None:
    for estimator in (Foreign().fit(X, Y), make_pipeline(StandardScaler(), Foreign()).fit(X, Y)):
        with pytest.raises(RefusedModelError, match=r"types that are not allowed: .*\.Foreign"):
            vault.pack(estimator)
        with pytest.raises(RefusedModelError, match=r"types that are not allowed: .*\.Foreign"):
            vault.unpack(skops.io.dumps(estimator))


def test_a_function_inside_a_pipeline_is_refused() -> None:
    estimator = make_pipeline(FunctionTransformer(_pass), GaussianNB()).fit(X, Y)
    with pytest.raises(RefusedModelError, match=r"not allowed: .*_pass"):
        vault.unpack(skops.io.dumps(estimator))


def test_a_file_that_names_a_dangerous_function_is_refused_before_it_is_imported() -> None:
    content = _edited(vault.pack(GaussianNB().fit(X, Y)), '"GaussianNB"', '"system"')
    content = _edited(content, '"sklearn.naive_bayes"', '"os"')
    with pytest.raises(RefusedModelError, match=r"not allowed: os\.system|damaged"):
        vault.unpack(content)


def test_a_damaged_file_is_refused() -> None:
    content = vault.pack(GaussianNB().fit(X, Y))
    for damaged in (content[:500], content[:-30], _without(content, "schema.json"), _without(content, ".npy")):
        with pytest.raises(RefusedModelError, match="the model file is damaged"):
            vault.unpack(damaged)


def test_a_file_that_would_grow_beyond_its_bound_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vault, "UNPACKED_BYTES", 1 << 20)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", b" " * (2 << 20))
    assert len(packed.getvalue()) < 10_000
    with pytest.raises(RefusedModelError, match="would grow to 2,097,152 bytes; at most 1,048,576"):
        vault.unpack(packed.getvalue())


def test_something_that_is_no_estimator_is_refused() -> None:
    with pytest.raises(RefusedModelError, match="holds a dict, not a scikit-learn estimator"):
        vault.unpack(skops.io.dumps({"coef": X}))


class Watcher:
    """A training callback; like those that publish it holds what cannot be copied or stored."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.ends = 0

    def setup(self, estimator: Any, context: Any) -> None: ...

    def teardown(self, estimator: Any, context: Any) -> None: ...

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None: ...

    def on_fit_task_end(self, estimator: Any, context: Any) -> None:
        self.ends += 1


def test_callbacks_are_left_out_of_the_file_and_stay_on_the_estimator() -> None:
    watcher = Watcher()
    inner = LogisticRegression(C=0.1).set_callbacks(watcher)
    pipeline = make_pipeline(StandardScaler(), inner).set_callbacks(watcher).fit(X, Y)
    assert watcher.ends > 0
    opened = vault.unpack(vault.pack(pipeline))
    assert (opened.predict_proba(X) == pipeline.predict_proba(X)).all()
    assert "_skl_callbacks" not in vars(opened) | vars(opened.steps[1][1])
    assert vars(pipeline)["_skl_callbacks"] == vars(inner)["_skl_callbacks"] == [watcher]


def _edited(content: bytes, old: str, new: str) -> bytes:
    """The skops file with every `old` in its schema replaced."""
    return _rewritten(content, lambda name, part: part.replace(old.encode(), new.encode()) if "json" in name else part)


def _without(content: bytes, name: str) -> bytes:
    return _rewritten(content, lambda entry, part: None if entry.endswith(name) else part)


def _rewritten(content: bytes, change: Any) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(written, "w") as new:
        for name in old.namelist():
            part = change(name, old.read(name))
            if part is not None:
                new.writestr(name, part)
    return written.getvalue()
