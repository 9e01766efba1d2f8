"""Estimator to bytes and back by skops, for scikit-learn's own types and nothing else; and ONNX graphs from elsewhere.

Bytes are never unpickled. What `unpack` makes of bytes from outside is only as safe as the compiled code behind the
allowed types, so a process that serves has them opened by `vetting` first.
"""

from __future__ import annotations

import copy
import io
import zipfile
from typing import Any

from headrace.errors import RefusedModelError
from headrace.models.card import Form

TRUSTED = (
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.metrics._scorer._PassthroughScorer",
    "sklearn.model_selection._split.StratifiedKFold",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
)
"""Types allowed beyond those that skops itself trusts: the compiled and private parts of common estimators."""

UNPACKED_BYTES = 1 << 30
"""Bound of what a file may grow to when it is opened."""

_PICKLES = (
    (b"\x80", "a pickle"),
    (b"\x1f\x8b", "a gzip file, as joblib writes it around a pickle"),
    (b"BZh", "a bzip2 file, as joblib writes it around a pickle"),
    (b"\xfd7zXZ", "an xz file, as joblib writes it around a pickle"),
    (b"]\x00\x00", "an lzma file, as joblib writes it around a pickle"),
    (b"\x04\x22\x4d\x18", "an lz4 file, as joblib writes it around a pickle"),
    (b"ZF", "a joblib file, which is a pickle"),
    (b"\x78\x01", "a zlib file, as joblib writes it around a pickle"),
    (b"\x78\x5e", "a zlib file, as joblib writes it around a pickle"),
    (b"\x78\x9c", "a zlib file, as joblib writes it around a pickle"),
    (b"\x78\xda", "a zlib file, as joblib writes it around a pickle"),
)


_ONNX = b"\x08"
"""An ONNX file begins with the field of its version. This is all that can be seen without parsing it."""


def pack(estimator: Any) -> bytes:
    """The fitted estimator as bytes that `unpack` takes, without its callbacks; the estimator stays as it is.

    RefusedModelError if it holds a type that is not allowed.
    """
    # Here and below skops is imported when needed, for it loads scikit-learn, and listing a registry must not.
    import skops.io

    try:
        content: bytes = skops.io.dumps(_without_callbacks(estimator))
    except Exception as error:
        raise RefusedModelError(f"{type(estimator).__name__} cannot be stored: {error}") from error
    _refuse_types(content)
    return content


def screen(content: bytes) -> Form:
    """What kind of file this is, by its first bytes; refuses others by name, a pickle above all. Nothing is parsed."""
    if content.startswith(b"PK\x03\x04"):
        return "skops"
    if content.startswith(_ONNX):
        return "onnx"
    what = next((name for magic, name in _PICKLES if content.startswith(magic)), "no model file")
    raise RefusedModelError(
        f"the file is {what}, and opening one could run any code in it; save the model with skops or `Registry.save`"
    )


def unpack(content: bytes) -> Any:
    """The estimator in `content`; RefusedModelError if it is a pickle, damaged, too large or of a type not allowed."""
    if screen(content) == "onnx":
        from headrace.models.graph import Graph

        return Graph(content)
    import skops.io
    from sklearn.base import BaseEstimator

    _refuse_bombs(content)
    _refuse_types(content)
    try:
        estimator = skops.io.loads(content, trusted=list(TRUSTED))
    except (MemoryError, Warning):
        raise
    except Exception as error:
        raise RefusedModelError(f"the model file is damaged: {_line(error)}") from error
    if not isinstance(estimator, BaseEstimator):
        raise RefusedModelError(f"the file holds a {type(estimator).__name__}, not a scikit-learn estimator")
    return estimator


def _refuse_bombs(content: bytes) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise RefusedModelError(f"the model file is damaged: {_line(error)}") from error
    if size > UNPACKED_BYTES:
        raise RefusedModelError(f"the model file would grow to {size:,} bytes; at most {UNPACKED_BYTES:,} are taken")


def _refuse_types(content: bytes) -> None:
    import skops.io

    try:
        unknown = sorted(set(skops.io.get_untrusted_types(data=content)) - set(TRUSTED))
    except (MemoryError, Warning):
        raise
    except Exception as error:
        raise RefusedModelError(f"the model file is damaged: {_line(error)}") from error
    if unknown:
        raise RefusedModelError(
            f"the model file holds types that are not allowed: {', '.join(unknown)}; "
            "only scikit-learn's own estimators are taken"
        )


def _without_callbacks(estimator: Any) -> Any:
    """The estimator itself if it has no callbacks, else a copy without them.

    scikit-learn leaves callbacks on what they watched, and with them connections and types of the one who trained.
    """
    watched = _watched(estimator)
    if not watched:
        return estimator
    # What a copy shares it does not copy: callbacks may hold sockets and locks.
    shared = {id(callback): callback for part in watched for callback in vars(part)["_skl_callbacks"]}
    bare = copy.deepcopy(estimator, shared)
    for part in _watched(bare):
        part.set_callbacks()
    return bare


def _watched(estimator: Any) -> list[Any]:
    """Every estimator inside `estimator`, itself included, that has callbacks."""
    found: list[Any] = []
    seen: set[int] = set()
    waiting = [estimator]
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, dict):
            waiting.extend(part.values())
        elif isinstance(part, (list, tuple)):
            waiting.extend(part)
        elif hasattr(part, "get_params") and hasattr(part, "__dict__"):
            waiting.extend(vars(part).values())
            if "_skl_callbacks" in vars(part):
                found.append(part)
    return found


def _line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:300]
