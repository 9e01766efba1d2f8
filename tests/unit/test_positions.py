"""Positions: they spell, parse and compare as the log does; nonsense is an EventError."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import EventError
from headrace.positions import START, Handle, Position

positions = st.builds(Position, st.integers(0, 2**63), st.integers(0, 2**63))


@given(positions)
def test_a_position_survives_spelling(position: Position) -> None:
    assert Position.parse(str(position)) == position
    assert Position.parse(str(position).encode()) == position


@given(positions, positions)
def test_positions_compare_by_time_then_number(one: Position, other: Position) -> None:
    assert (one < other) == ((one.ms, one.number) < (other.ms, other.number))
    assert one >= START


@given(st.integers(0, 10_000), positions)
def test_a_handle_survives_spelling(partition: int, position: Position) -> None:
    handle = Handle(partition, position)
    assert Handle.parse(str(handle)) == handle


BAD = ["", "-", "1", "1-", "-1", "1-2-3", "a-1", "1-a", "-1-2", "1--2", " 1-2", "1-2 ", "1.0-2", "+1-2", "٣-٤", "1-²"]


@pytest.mark.parametrize("text", BAD)
def test_nonsense_is_no_position(text: str) -> None:
    with pytest.raises(EventError, match="is not a position: it must look like"):
        Position.parse(text)


@pytest.mark.parametrize("text", [*(f"0-{text}" for text in BAD), "1-2", "x-1-2", "-1-1-2", "٣-1-2"])
def test_nonsense_is_no_handle(text: str) -> None:
    with pytest.raises(EventError, match="must look like"):
        Handle.parse(text)


@given(st.one_of(st.text(), st.binary()))
def test_parsing_raises_nothing_else(text: str | bytes) -> None:
    try:
        position = Position.parse(text)
    except EventError:
        return
    assert position.ms >= 0
    assert position.number >= 0
