"""Numpy arrays to wire matrices and back; the only core module that needs numpy, which it imports when called.

Shapes and sizes are checked before anything is allocated: a payload that claims a billion rows is refused by its size.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from headrace.errors import EventError
from headrace.events import Matrix, Rows

if TYPE_CHECKING:
    import numpy.typing as npt

SIZES = {"<f4": 4, "<f8": 8, "<i2": 2, "<i4": 4, "<i8": 8}


def pack(values: npt.NDArray[Any]) -> Matrix:
    """The array as a matrix of its own dtype. Raises EventError for a dtype that the wire does not have."""
    import numpy as np

    little = np.ascontiguousarray(values)
    kind = little.dtype.newbyteorder("<").str
    if kind not in SIZES:
        raise EventError(f"arrays of {values.dtype} cannot be sent; use float32, float64, int16, int32 or int64")
    if little.dtype.byteorder == ">":
        little = little.astype(kind)
    return Matrix(kind, little.shape, little.tobytes())


def pack_rows(rows: Any) -> Matrix:
    """Rows given as nested sequences, a buffer or an array, as a 2-d matrix; a flat sequence is one row.

    Needs no numpy for nested lists. Raises EventError when rows differ in length or are not numbers.
    """
    if hasattr(rows, "dtype"):
        import numpy as np

        matrix = np.atleast_2d(np.asarray(rows))
        if matrix.ndim != 2:
            raise EventError(f"rows must have 2 dimensions, these have {matrix.ndim}")
        if matrix.dtype.kind not in "fiub":
            raise EventError(f"rows must be numbers, these are {matrix.dtype}")
        return pack(matrix if matrix.dtype.str in ("<f4", "<f8") else matrix.astype("<f8"))
    if hasattr(rows, "to_numpy"):
        return pack_rows(rows.to_numpy())
    try:
        view = memoryview(rows)
    except TypeError:
        return _pack_nested(rows)
    if view.ndim not in (1, 2) or view.format not in ("f", "d"):
        raise EventError("a buffer of rows must hold floats in one or two dimensions")
    size = tuple(view.shape or (0,))
    kind = "<f4" if view.format == "f" else "<f8"
    return Matrix(kind, size if view.ndim == 2 else (1, *size), view.tobytes())


def _pack_nested(rows: Sequence[Any]) -> Matrix:
    try:
        nested = list(rows)
    except TypeError:
        raise EventError(f"rows must be nested sequences, a buffer or an array of numbers, not {rows!r:.80}") from None
    if nested and not hasattr(nested[0], "__len__"):
        nested = [nested]
    width = len(nested[0]) if nested else 0
    flat = array("d")
    for index, row in enumerate(nested):
        try:
            if len(row) != width:
                raise EventError(
                    f"row {index} has {len(row)} values, row 0 has {width}: all rows must have the same width"
                )
            flat.extend(math.nan if value is None else value for value in row)
        except (TypeError, OverflowError):
            raise EventError(f"row {index} holds something that is not a number: {row!r:.80}") from None
    if sys.byteorder == "big":
        flat.byteswap()
    return Matrix("<f8", (len(nested), width), flat.tobytes())


def unpack(matrix: Matrix) -> npt.NDArray[Any]:
    """The array, read-only, without a copy. Raises EventError if bytes, shape and dtype do not agree."""
    import numpy as np

    size = SIZES.get(matrix.dtype)
    if size is None:
        raise EventError(f"arrays of {matrix.dtype!r} are not accepted; use one of {', '.join(SIZES)}")
    if any(n < 0 for n in matrix.shape) or math.prod(matrix.shape) * size != len(matrix.data):
        raise EventError(f"{len(matrix.data)} bytes cannot be an array of {matrix.shape} of {matrix.dtype}")
    return np.frombuffer(matrix.data, matrix.dtype).reshape(matrix.shape)


def unpack_rows(rows: Rows) -> npt.NDArray[Any]:
    """Rows of a request as an array (n, width). Raises EventError if they are not rectangular or empty."""
    import numpy as np

    if isinstance(rows, Matrix):
        found = unpack(rows)
        if found.ndim != 2 or found.dtype.kind != "f":
            raise EventError(f"rows must be a 2-d array of floats, got shape {matrix_text(rows)}")
    else:
        width = len(rows[0]) if rows else 0
        for index, row in enumerate(rows):
            if len(row) != width:
                raise EventError(f"row {index} has {len(row)} values, row 0 has {width}")
        found = np.array(rows, dtype=np.float64).reshape(len(rows), width)
    if found.shape[0] == 0 or found.shape[1] == 0:
        raise EventError("a request needs at least one row with at least one value")
    return found


def matrix_text(matrix: Matrix) -> str:
    return f"{matrix.shape} of {matrix.dtype}"


def unpack_any(values: Rows | list[int] | list[float] | None) -> npt.NDArray[Any] | None:
    """An array field of a result, whichever way it travelled; None stays None."""
    import numpy as np

    if values is None:
        return None
    return unpack(values) if isinstance(values, Matrix) else np.array(values)
