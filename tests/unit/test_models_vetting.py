"""A file is opened first where it can do no harm: whatever it does there, this process only gets a refusal."""

from __future__ import annotations

import io
import json
import os
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.cluster import KMeans
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.preprocessing import StandardScaler

from headrace.errors import ModelError, RefusedModelError
from headrace.models import vault, vetting
from headrace.models.quarantine import examine
from headrace.models.training import train
from headrace.models.vetting import Limits, vet

X = np.random.default_rng(0).normal(size=(60, 4))
Y = (X[:, 0] > 0).astype(int)
CONTENT = b"PK\x03\x04 what the child makes of this, the test says"


def _child(body: str) -> list[str]:
    """A child that is confined like the real one, and then does what `body` says in place of opening the file."""
    code = (
        "import os, sys",
        "from headrace.models import quarantine",
        f"def examine(content):\n    {body}",
        "quarantine.examine = examine",
        "sys.exit(quarantine.main(sys.argv[1:]))",
    )
    return [sys.executable, "-P", "-B", "-c", "\n".join(code)]


def _refused(body: str, **limits: Any) -> str:
    with pytest.raises(RefusedModelError) as caught:
        vet(CONTENT, Limits(**limits), _child(body))
    return str(caught.value)


def _aged(content: bytes) -> bytes:
    """The same file as an older scikit-learn would have written it."""
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(written, "w") as new:
        for name in old.namelist():
            part = old.read(name)
            if name == "schema.json":
                schema = json.loads(part)
                schema["content"]["content"]["_sklearn_version"]["content"] = '"1.2.2"'
                part = json.dumps(schema).encode()
            new.writestr(name, part)
    return written.getvalue()


def test_a_real_model_passes_and_is_described() -> None:
    trained = train("digits")
    verdict = vet(vault.pack(trained.estimator))
    assert (verdict.kind, verdict.n_features, verdict.n_classes) == ("classification", 64, 10)
    assert (verdict.algorithm, verdict.takes_missing) == ("LogisticRegression", False)
    assert verdict.libraries == vetting.libraries()
    assert set(verdict.libraries) == {"python", "numpy", "scikit-learn", "skops", "onnxruntime"}


def test_a_pickle_is_refused_by_the_child_too(tmp_path: Path) -> None:
    # What it would do if it were opened: make a file.
    trap = tmp_path / "opened"
    pickled = b"cos\nsystem\n(S'touch " + str(trap).encode() + b"'\ntR."
    with pytest.raises(RefusedModelError, match="no model file"):
        vet(pickled)
    assert not trap.exists()


def test_a_child_that_ends_refuses_the_file() -> None:
    assert "ended with exit code 7 and no verdict" in _refused("os._exit(7)")
    assert "ended with exit code 0 and no verdict" in _refused("os._exit(0)")


def test_a_child_that_crashes_refuses_the_file() -> None:
    assert "crashed the process that opened it: SIGSEGV" in _refused("os.kill(os.getpid(), 11)")
    if sys.platform == "linux":
        assert "crashed the process that opened it: signal 40" in _refused("os.kill(os.getpid(), 40)")
    assert "no verdict: ZeroDivisionError" in _refused("1 / 0")


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS does not limit address space")
def test_a_child_that_takes_too_much_memory_refuses_the_file() -> None:
    text = _refused("return [b'x' * (1 << 20) for _ in range(1 << 20)]", memory_bytes=512 << 20)
    assert text == "the model file needs more than 536,870,912 bytes of memory to open and score with"


def test_a_child_that_computes_forever_refuses_the_file() -> None:
    text = _refused("\n    while True: pass", cpu_s=1)
    assert text == "the model file needs more than 1 s of CPU time to open and score with"


def test_a_child_that_hangs_is_killed_with_its_own_children_and_refuses_the_file(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    command = ["sh", "-c", f"exec 9>'{fifo}'; sleep 600 & wait"]
    with pytest.raises(RefusedModelError, match=r"was not opened and scored with within 0\.5 s"):
        vet(CONTENT, Limits(wall_s=0.5), command)
    # The end of the fifo comes when nobody holds its other side any more.
    os.set_blocking(reading, True)
    assert os.read(reading, 1) == b""
    os.close(reading)


def test_what_a_model_prints_does_not_mix_with_the_verdict() -> None:
    noise = "print('x' * 100); os.write(1, b'{\"refused\": \"false\"}'); raise quarantine.RefusedModelError('as it is')"
    assert _refused(noise) == "as it is"


def test_a_child_cannot_fill_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "large"
    body = f"open({str(path)!r}, 'wb').write(b'x' * (1 << 22))"
    assert "OSError: [Errno 27]" in _refused(body)
    assert path.stat().st_size <= vetting.REPORT_BYTES


def test_the_child_has_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://:secret@example.org")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    seen = _refused("raise quarantine.RefusedModelError(repr(dict(os.environ)))")
    assert "OMP_NUM_THREADS" in seen
    assert "secret" not in seen


def test_a_verdict_on_other_bytes_is_not_taken() -> None:
    body = (
        "return quarantine.Verdict(sha256='0' * 64, algorithm='', kind='regression', n_features=1, n_classes=0,"
        " takes_missing=False, libraries={})"
    )
    assert "read other bytes than it was given" in _refused(body)


def test_a_file_that_is_too_large_is_refused_before_a_child_starts() -> None:
    with pytest.raises(RefusedModelError, match=r"has 10 bytes; at most 9 are taken"):
        vet(b"PK\x03\x04 large", Limits(file_bytes=9), ["/nonexistent"])


def test_a_child_that_cannot_be_started_is_not_the_files_fault() -> None:
    with pytest.raises(ModelError, match="cannot start the process") as caught:
        vet(CONTENT, Limits(), ["/nonexistent"])
    assert not isinstance(caught.value, RefusedModelError)


def test_a_file_of_another_scikit_learn_is_refused() -> None:
    content = _aged(vault.pack(GaussianNB().fit(X, Y)))
    with pytest.raises(RefusedModelError, match=r"made by scikit-learn 1\.2\.2, and 1\.9\.\d+ runs here"):
        examine(content)


def _broken() -> LogisticRegression:
    estimator = LogisticRegression().fit(X, Y)
    estimator.coef_ = estimator.coef_[:, :2]
    return estimator


def _infinite() -> LinearRegression:
    estimator = LinearRegression().fit(X, Y)
    estimator.intercept_ = float("nan")
    return estimator


@pytest.mark.parametrize(
    ("estimator", "text"),
    [
        (LogisticRegression(), "the LogisticRegression is not fitted to rows of numbers"),
        (RidgeClassifier().fit(X, Y), "gives no probabilities; wrap it in CalibratedClassifierCV"),
        (StandardScaler().fit(X), "a StandardScaler is neither a classifier nor a regressor"),
        (KMeans(2, n_init=1, random_state=0).fit(X), "a KMeans is neither a classifier nor a regressor"),
        (LinearRegression().fit(X, np.stack([Y, Y], axis=1)), r"gives scores of shape \(3, 2\); one result a row"),
        (_broken(), "the LogisticRegression fails to score: ValueError"),
        (_infinite(), "the LinearRegression gives results that are not finite"),
    ],
)
def test_what_cannot_serve_is_refused(estimator: Any, text: str) -> None:
    with pytest.raises(RefusedModelError, match=text):
        examine(skops.io.dumps(estimator))


def test_whether_missing_values_are_taken_is_found_out() -> None:
    trees = HistGradientBoostingRegressor(max_iter=2, max_depth=2, random_state=0).fit(X, Y)
    assert examine(vault.pack(trees)).takes_missing
    assert not examine(vault.pack(LinearRegression().fit(X, Y))).takes_missing
