"""Files become events line by line; a bad line is named and passed over; the pace is kept without drifting."""

from __future__ import annotations

import io
import math
import struct
from itertools import pairwise

import pytest

from headrace.errors import CodecError, EventError, SettingsError
from headrace.events import Matrix, PredictionRequested, RunMetrics
from headrace.publisher.sources import Row, lines, paced, rows

METRICS = b'{"type":"run.metrics","run":"r","step":%d,"metrics":{"loss":0.5}}'


def test_lines_become_events_and_bad_ones_are_named() -> None:
    text = b"\n".join(
        [
            METRICS % 1,
            b"",
            b"   ",
            b'{"type":"run.metrics","run":"r"}',
            b'{"type":"run.melted"}',
            b"not json",
            b'{"type":',
            b"\x81\xa1a\x01",
            METRICS % 2 + b"\r",
        ]
    )
    found = list(lines(io.BytesIO(text), 1_000))
    assert [line.number for line in found] == [1, 4, 5, 6, 7, 8, 9]
    assert [line.event.step for line in found if isinstance(line.event, RunMetrics)] == [1, 2]
    errors = [str(line.error) for line in found if line.error is not None]
    assert errors[0].startswith("line 4: not a valid run.metrics: ")
    assert "line 5: unknown event type 'run.melted'" in errors[1]
    assert errors[2] == "line 6: not a JSON object: it begins with 'not json'"
    assert errors[3].startswith("line 7: not an event")
    assert errors[4].startswith("line 8: not a JSON object")
    assert all(isinstance(line.error, CodecError) for line in found if line.event is None)


@pytest.mark.parametrize("end", [b"\n", b""])
def test_a_line_that_is_too_long_is_passed_over_in_pieces(end: bytes) -> None:
    stream = io.BytesIO(METRICS % 1 + b"\n" + b"x" * 1_000_000 + b"\n" + METRICS % 2 + end)
    first, second, third = lines(stream, 200)
    assert isinstance(first.event, RunMetrics)
    assert isinstance(second.error, EventError)
    assert str(second.error) == "line 2: longer than the limit of 200 bytes"
    assert third.number == 3
    assert isinstance(third.event, RunMetrics)
    exact = METRICS % 1
    assert [line.error for line in lines(io.BytesIO(exact + b"\r\n" + exact + end), len(exact))] == [None, None]


def values(row: Row) -> list[float]:
    assert isinstance(row.request, PredictionRequested)
    assert isinstance(row.request.inputs, Matrix)
    return list(struct.unpack(f"<{row.request.inputs.shape[1]}d", row.request.inputs.data))


def test_rows_become_requests_with_their_labels() -> None:
    table = ["\ufeffa,b,kind\n", "1,2.5,cat\n", "\n", "3,,4\n", "5,6,0.5\n", "7,8,\n"]
    found = list(rows(table, "m", label="kind", version=2))
    assert [row.number for row in found] == [2, 4, 5, 6]
    assert [row.label for row in found] == ["cat", 4, 0.5, None]
    assert [row.request.label for row in found if row.request] == [True, True, True, False]
    assert values(found[0]) == [1.0, 2.5]
    assert math.isnan(values(found[1])[1])
    assert {(row.request.model, row.request.version) for row in found if row.request} == {("m", 2)}


def test_columns_can_be_chosen_in_the_order_of_the_model() -> None:
    found = list(rows(["a;b;c", '1;"2";3'], "m", features=["c", "a"], delimiter=";"))
    assert values(found[0]) == [3.0, 1.0]


def test_bad_rows_are_named_and_passed_over() -> None:
    found = list(rows(["age,b", "1,2", "abc,2", "1,2,3", "4,5"], "m"))
    assert [str(row.error) for row in found if row.error] == [
        "line 3: column 'age': 'abc' is not a number",
        "line 4: 3 cells, but the first line names 2 columns",
    ]
    assert [row.number for row in found if row.request] == [2, 5]


@pytest.mark.parametrize(
    ("table", "label", "features", "text"),
    [
        (["a,b", "1,2"], "kind", [], "the table lacks 'kind'; its first line names: a, b"),
        (["a,b", "1,2"], "", ["a", "z"], "the table lacks 'z'"),
        ([], "", [], "the table lacks any columns; its first line names: nothing"),
        (["kind"], "kind", [], "the table lacks any columns"),
    ],
)
def test_columns_that_the_table_lacks_are_named(table: list[str], label: str, features: list[str], text: str) -> None:
    with pytest.raises(SettingsError, match=text):
        list(rows(table, "m", label=label, features=features))


class Clock:
    """Time that passes by sleeping, and when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, duration_s: float) -> None:
        assert duration_s > 0
        self.now += duration_s


def test_the_pace_is_kept_without_drifting() -> None:
    clock, times = Clock(), []
    for _ in paced(range(1_001), 100, clock=clock, sleep=clock.sleep):
        times.append(clock.now)
        clock.now += 0.004
    assert times[0] == 100.0
    assert times[-1] == pytest.approx(110.0, abs=0.001)
    assert max(b - a for a, b in pairwise(times)) == pytest.approx(0.01)


def test_a_stall_is_not_made_up_by_a_burst() -> None:
    clock, times = Clock(), []
    for at in paced(range(200), 100, clock=clock, sleep=clock.sleep):
        times.append(clock.now)
        if at == 50:
            clock.now += 60
    assert sum(1 for when in times[51:] if when == times[51]) <= 26
    assert times[-1] - times[51] >= (200 - 51 - 27) / 100


def test_no_rate_is_as_fast_as_they_are_taken() -> None:
    clock = Clock()
    assert list(paced(range(5), 0, clock=clock, sleep=clock.sleep)) == [0, 1, 2, 3, 4]
    assert clock.now == 100.0
