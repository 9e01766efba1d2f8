"""Batching: a read asks for at least one entry, never for too many, and for about so many bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.batching import BatchBound

reads = st.lists(st.tuples(st.integers(0, 1_000), st.integers(0, 10_000_000)), max_size=20)


@given(st.integers(1, 2_000), st.integers(1, 50_000_000), reads)
def test_the_bound_holds_whatever_was_read(entries: int, bytes_: int, seen: list[tuple[int, int]]) -> None:
    bound = BatchBound(entries, bytes_)
    for count, size in seen:
        bound.observe(count, size)
        asked = bound.next_count()
        assert 1 <= asked <= entries
        if count and asked > 1:
            assert asked * (size / count) <= bytes_ * (1 + 1e-9)


def test_before_anything_was_read_it_asks_for_all_or_for_what_it_was_told() -> None:
    assert BatchBound(512, 1_000).next_count() == 512
    assert BatchBound(512, 1_000, 16).next_count() == 16


def test_growth_counts_at_once_and_shrinking_slowly() -> None:
    bound = BatchBound(512, 10_000)
    bound.observe(10, 1_000)
    assert bound.next_count() == 100
    bound.observe(1, 5_000)
    assert bound.next_count() == 2
    bound.observe(10, 1_000)
    assert 2 <= bound.next_count() < 4
    for _ in range(100):
        bound.observe(10, 1_000)
    assert bound.next_count() == pytest.approx(100, abs=1)


def test_a_read_of_nothing_teaches_nothing() -> None:
    bound = BatchBound(512, 1_000)
    bound.observe(0, 0)
    assert bound.next_count() == 512
