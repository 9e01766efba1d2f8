"""Arrays: what goes in comes out, without a copy, and what is not an array is an EventError before it costs memory."""

from __future__ import annotations

import math
from array import array
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.arrays import SIZES, pack, pack_rows, unpack, unpack_any, unpack_rows
from headrace.codec import decode, encode
from headrace.errors import EventError
from headrace.events import Matrix, PredictionRequested

shapes = st.lists(st.integers(0, 5), min_size=1, max_size=3).map(tuple)


@given(st.sampled_from(sorted(SIZES)), shapes, st.randoms())
def test_every_dtype_and_shape_survives(dtype: str, shape: tuple[int, ...], chance: Any) -> None:
    count = math.prod(shape)
    values = np.array([chance.randrange(-100, 100) for _ in range(count)], dtype).reshape(shape)
    matrix = pack(values)
    assert (matrix.dtype, matrix.shape) == (dtype, shape)
    again = unpack(matrix)
    assert again.dtype == values.dtype
    assert np.array_equal(again, values)
    assert not again.flags.writeable


@pytest.mark.parametrize("codec", ["msgpack", "json"])
def test_it_survives_the_wire(codec: Any) -> None:
    rows = np.array([[1.5, math.nan], [math.inf, -0.0]])
    again = decode(encode(PredictionRequested(model="m", inputs=pack(rows)), codec))
    assert isinstance(again, PredictionRequested)
    assert unpack_rows(again.inputs).tobytes() == rows.tobytes()


def test_big_endian_and_strided_arrays_are_brought_into_shape() -> None:
    values = np.arange(12, dtype=">f8").reshape(3, 4)
    assert pack(values).dtype == "<f8"
    assert np.array_equal(unpack(pack(values)), values)
    strided = np.arange(12.0).reshape(3, 4)[::2, ::3]
    assert np.array_equal(unpack(pack(strided)), strided)


@pytest.mark.parametrize("dtype", ["<f2", "<c16", "<U3", "?", "<u4", "datetime64[s]"])
def test_a_dtype_that_the_wire_lacks_is_refused(dtype: str) -> None:
    with pytest.raises(EventError, match="use float32, float64, int16, int32 or int64"):
        pack(np.zeros(2, dtype))


class Frame:
    """A table with the one method that libraries of tables share."""

    def __init__(self, values: Any) -> None:
        self._values = values

    def to_numpy(self) -> Any:
        return self._values


@pytest.mark.parametrize(
    "rows",
    [
        [[1.0, 2.0], [3.0, 4.0]],
        ((1, 2), (3, 4)),
        [array("d", [1, 2]), array("d", [3, 4])],
        np.array([[1, 2], [3, 4]]),
        np.array([[1, 2], [3, 4]], np.float32),
        np.array([[1, 2], [3, 4]], np.uint8),
        memoryview(array("d", [1, 2, 3, 4])).cast("B").cast("d", (2, 2)),
        memoryview(array("f", [1, 2, 3, 4])).cast("B").cast("f", (2, 2)),
        Frame(np.array([[1.0, 2.0], [3.0, 4.0]])),
    ],
)
def test_rows_of_every_kind(rows: Any) -> None:
    assert unpack_rows(pack_rows(rows)).tolist() == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize("row", [[1.0, 2.0], (1, 2), array("d", [1, 2]), array("f", [1, 2]), np.array([1, 2])])
def test_a_flat_sequence_is_one_row(row: Any) -> None:
    assert unpack_rows(pack_rows(row)).tolist() == [[1.0, 2.0]]


def test_none_is_a_missing_value() -> None:
    assert np.isnan(unpack_rows(pack_rows([[1.0, None]]))).tolist() == [[False, True]]
    assert np.isnan(unpack_rows([[1.0, None]])).tolist() == [[False, True]]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([[1, 2], [3]], "row 1 has 1 values, row 0 has 2"),
        ([[1, 2], 3], "row 1 holds something that is not a number"),
        ([["a"]], "row 0 holds something that is not a number"),
        ([[[1.0]]], "row 0 holds something that is not a number"),
        ([[10**400]], "row 0 holds something that is not a number"),
        ("abc", "row 0 holds something that is not a number"),
        (5, "not 5"),
        (None, "not None"),
        (b"abc", "a buffer of rows must hold floats"),
        (np.zeros((1, 1, 1)), "these have 3"),
        (np.array([["a"]]), "rows must be numbers"),
        (np.array([[1j]]), "rows must be numbers"),
        (np.array([[object()]]), "rows must be numbers"),
    ],
)
def test_what_is_no_rows_is_said(rows: Any, says: str) -> None:
    with pytest.raises(EventError, match=says):
        pack_rows(rows)


@pytest.mark.parametrize(
    "matrix",
    [
        Matrix("<f8", (2,), b"\x00" * 8),
        Matrix("<f8", (10**9, 10**9), b""),
        Matrix("<f8", (-1, -1), b"\x00" * 8),
        Matrix("<f8", (), b""),
        Matrix("<i8", (1, 1), b"\x00" * 7),
    ],
)
def test_bytes_that_do_not_fit_their_shape_are_refused(matrix: Matrix) -> None:
    with pytest.raises(EventError, match="bytes cannot be an array of"):
        unpack(matrix)


@pytest.mark.parametrize("dtype", ["", "f8", ">f8", "|O", "<U9", "<f8\x00"])
def test_dtypes_of_strangers_are_refused(dtype: str) -> None:
    with pytest.raises(EventError, match="are not accepted"):
        unpack(Matrix(dtype, (1,), b"\x00" * 8))


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([], "at least one row"),
        ([[]], "at least one row"),
        ([[1.0], []], "row 1 has 0 values"),
        (Matrix("<f8", (0, 3), b""), "at least one row"),
        (Matrix("<f8", (3, 0), b""), "at least one row"),
        (Matrix("<f8", (2,), b"\x00" * 16), "2-d array of floats"),
        (Matrix("<i8", (1, 1), b"\x00" * 8), "2-d array of floats"),
    ],
)
def test_a_request_needs_rectangular_rows_of_floats(rows: Any, says: str) -> None:
    with pytest.raises(EventError, match=says):
        unpack_rows(rows)


@given(st.text(max_size=4), shapes, st.binary(max_size=64))
def test_no_matrix_raises_anything_else(dtype: str, shape: tuple[int, ...], data: bytes) -> None:
    for kind in (dtype, "<f8", "<i2"):
        try:
            found = unpack(Matrix(kind, shape, data))
        except EventError:
            continue
        assert found.nbytes == len(data)


def test_fields_of_a_result_whichever_way_they_travelled() -> None:
    assert unpack_any(None) is None
    listed, packed = unpack_any([1, 2]), unpack_any(pack(np.array([1, 2])))
    assert listed is not None
    assert packed is not None
    assert listed.tolist() == packed.tolist() == [1, 2]
