"""An ONNX file as an estimator: a graph of known operators over one matrix, run by ONNX Runtime on one thread.

A graph that serves takes one matrix of floats, a row a request row, and gives one matrix of probabilities (two classes
or more, each row summing to one) or one column of values. A label output beside it is left alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from headrace.errors import RefusedModelError
from headrace.models.card import Kind

Array = np.ndarray[Any, np.dtype[Any]]

TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64}
ROUNDING = 1e-3
"""How far a row of probabilities may be from summing to one."""


class Graph:
    """The graph in `content`; RefusedModelError if it cannot serve. Safe for threads that share it.

    `kind`, `n_features` and `n_classes` (0 in regression) are found by scoring a few rows.
    """

    def __init__(self, content: bytes) -> None:
        # A tensor that is kept in another file names it under this key; such a graph would read files of this machine.
        if b"location" in content:
            raise RefusedModelError(
                "the ONNX file refers to other files, or has 'location' in a name; export it with everything inside"
            )
        self._session = _session(content)
        given = self._session.get_inputs()
        shape = list(given[0].shape) if given else []
        if len(given) != 1 or len(shape) != 2 or not isinstance(shape[1], int) or given[0].type not in TYPES:
            raise RefusedModelError(
                "the ONNX graph does not take one matrix of floats with a fixed number of columns; "
                f"it takes {', '.join(f'{each.type} {each.shape}' for each in given) or 'nothing'}"
            )
        if isinstance(shape[0], int):
            raise RefusedModelError(f"the ONNX graph takes {shape[0]} rows at a time; export it with a free first axis")
        scores = [each.name for each in self._session.get_outputs() if each.type in TYPES]
        if len(scores) != 1:
            raise RefusedModelError(
                f"the ONNX graph has {len(scores)} outputs of floats and needs one; skl2onnx gives one without zipmap"
            )
        self._input, self._output, self._dtype = given[0].name, scores[0], TYPES[given[0].type]
        self.n_features: int = shape[1]
        self.algorithm = f"ONNX graph of {self._session.get_modelmeta().producer_name or 'unknown origin'}"
        self.kind, self.n_classes = self._tried()

    def predict_proba(self, rows: Array) -> Array:
        """Probabilities (n, n_classes). ValueError if the graph fails on these rows."""
        return self._run(rows)

    def predict(self, rows: Array) -> Array:
        """Values (n,). ValueError if the graph fails on these rows."""
        return self._run(rows).reshape(len(rows))

    def _run(self, rows: Array) -> Array:
        try:
            found: Array = self._session.run([self._output], {self._input: rows.astype(self._dtype, copy=False)})[0]
        except Exception as error:  # ONNX Runtime's errors have no common type that is public
            raise ValueError(f"the ONNX graph failed: {_line(error)}") from error
        return found

    def _tried(self) -> tuple[Kind, int]:
        """What the graph does, by its results."""
        rows = np.random.default_rng(0).normal(size=(3, self.n_features))
        rows[0] = 0.0
        try:
            found = self._run(rows)
        except ValueError as error:
            raise RefusedModelError(str(error)) from error
        if not np.isfinite(found).all():
            raise RefusedModelError("the ONNX graph gives results that are not finite")
        if found.shape in ((3,), (3, 1)):
            return "regression", 0
        if found.ndim != 2 or len(found) != 3:
            raise RefusedModelError(f"the ONNX graph gives results of shape {found.shape} for 3 rows")
        if (found < -ROUNDING).any() or np.abs(found.sum(axis=1) - 1).max() > ROUNDING:
            raise RefusedModelError(
                "the results of the ONNX graph are no probabilities: rows do not sum to one; export it with a softmax"
            )
        return "classification", found.shape[1]


def _session(content: bytes) -> Any:
    """The graph, loaded. One thread, as everywhere: headrace scales by processes."""
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise RefusedModelError("ONNX files need `pip install 'headrace[onnx]'` (there is no onnxruntime)") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what is wrong comes as an exception too
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except MemoryError:
        raise
    except Exception as error:
        raise RefusedModelError(f"the ONNX file is damaged or not taken: {_line(error)}") from error


def _line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:300]
