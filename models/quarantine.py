"""The confined child process: reads a model file on standard input, says one line about it, and ends.

Limits come first, before anything large is imported and before a byte of the file is read. Arguments: address space in
bytes, CPU time in seconds, bytes that may be written to a file.
"""

from __future__ import annotations

import hashlib
import os
import resource
import sys
import warnings
from contextlib import suppress
from typing import Any

import msgspec

from headrace.errors import RefusedModelError
from headrace.models.vetting import Refusal, Verdict, libraries


def confine(memory_bytes: int, cpu_s: int, report_bytes: int) -> None:
    """This process gets no more than that from here on, and leaves no core file."""
    bounds = (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, cpu_s + 1),
        (resource.RLIMIT_FSIZE, report_bytes),
        (resource.RLIMIT_AS, memory_bytes),
    )
    for kind, bound in bounds:
        # macOS does not limit address space; wall-clock and CPU time still hold there.
        with suppress(ValueError, OSError):
            hard = resource.getrlimit(kind)[1]
            least = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
            # At the hard limit of CPU time the kernel kills without saying why; a second before, it says so.
            resource.setrlimit(kind, (max(1, least - 1) if kind == resource.RLIMIT_CPU else least, least))


def examine(content: bytes) -> Verdict:
    """What `content` holds, having scored with it; RefusedModelError if it cannot serve."""
    from headrace.models import vault

    return _graph(content) if vault.screen(content) == "onnx" else _estimator(content)


def _graph(content: bytes) -> Verdict:
    from headrace.models.graph import Graph

    graph = Graph(content)
    return Verdict(
        sha256=hashlib.sha256(content).hexdigest(),
        algorithm=graph.algorithm,
        kind=graph.kind,
        n_features=graph.n_features,
        n_classes=graph.n_classes,
        # A graph may calculate anything with NaN and say nothing: nobody has told it what a missing value is.
        takes_missing=False,
        libraries=libraries(),
        form="onnx",
    )


def _estimator(content: bytes) -> Verdict:
    import numpy as np
    from sklearn.base import is_classifier, is_regressor
    from sklearn.exceptions import InconsistentVersionWarning

    from headrace.models import vault

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", InconsistentVersionWarning)
        try:
            estimator = vault.unpack(content)
        except InconsistentVersionWarning as warning:
            raise RefusedModelError(
                f"the model file was made by scikit-learn {warning.original_sklearn_version}, and "
                f"{warning.current_sklearn_version} runs here; train it again"
            ) from None
        if not (is_classifier(estimator) or is_regressor(estimator)):
            raise RefusedModelError(f"a {type(estimator).__name__} is neither a classifier nor a regressor")
        n_features = getattr(estimator, "n_features_in_", None)
        if not isinstance(n_features, int):
            raise RefusedModelError(f"the {type(estimator).__name__} is not fitted to rows of numbers")
        rows = np.random.default_rng(0).normal(size=(3, n_features))
        rows[0] = 0.0
        n_classes = _score(estimator, rows, is_classifier(estimator))
        return Verdict(
            sha256=hashlib.sha256(content).hexdigest(),
            algorithm=_algorithm(estimator),
            kind="classification" if is_classifier(estimator) else "regression",
            n_features=n_features,
            n_classes=n_classes,
            takes_missing=_takes_missing(estimator, rows),
            libraries=libraries(),
        )


def main(arguments: list[str]) -> int:
    """Confine, read, examine, and print the verdict as one line of JSON; zero if there is one."""
    memory_bytes, cpu_s, report_bytes = map(int, arguments)
    confine(memory_bytes, cpu_s, report_bytes)
    # What a model prints must not mix with the verdict.
    verdict_file = os.dup(1)
    os.dup2(2, 1)
    said: Verdict | Refusal
    try:
        said = examine(sys.stdin.buffer.read())
    except RefusedModelError as error:
        said = Refusal(str(error))
    except MemoryError:
        said = Refusal(f"the model file needs more than {memory_bytes:,} bytes of memory to open and score with")
    os.write(verdict_file, msgspec.json.encode(said) + b"\n")
    return 0


def _score(estimator: Any, rows: Any, classifies: bool) -> int:
    """Number of classes, zero in regression, once the estimator has scored `rows` as a serving model must."""
    import numpy as np

    name = type(estimator).__name__
    if classifies and not hasattr(estimator, "predict_proba"):
        raise RefusedModelError(f"a {name} gives no probabilities; wrap it in CalibratedClassifierCV")
    try:
        scores = estimator.predict_proba(rows) if classifies else estimator.predict(rows)
    except MemoryError:
        raise
    except Exception as error:
        raise RefusedModelError(f"the {name} fails to score: {type(error).__name__}: {str(error)[:300]}") from error
    n_classes = len(estimator.classes_) if classifies else 0
    wanted = (len(rows), n_classes) if classifies else (len(rows),)
    if np.shape(scores) != wanted:
        raise RefusedModelError(f"the {name} gives scores of shape {np.shape(scores)}; one result a row is needed")
    if not np.isfinite(scores).all():
        raise RefusedModelError(f"the {name} gives results that are not finite")
    return n_classes


def _takes_missing(estimator: Any, rows: Any) -> bool:
    """Whether NaN in a row is scored: tried out, for what an estimator declares does not reach through pipelines."""
    missing = rows.copy()
    missing[:, 0] = float("nan")
    try:
        estimator.predict(missing)
    except ValueError:
        return False
    return True


def _algorithm(estimator: Any) -> str:
    """Class name; of a pipeline its last step's."""
    steps = getattr(estimator, "steps", None)
    return type(steps[-1][1] if steps else estimator).__name__


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
