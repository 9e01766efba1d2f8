"""Counts in sentences."""

from __future__ import annotations

import pytest

from headrace.words import counted


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 entries"), (1, "1 entry"), (2, "2 entries"), (1_234_567, "1,234,567 entries")]
)
def test_a_count_stands_with_its_noun(count: int, said: str) -> None:
    assert counted(count, "entry", "entries") == said


def test_most_nouns_take_an_s() -> None:
    assert [counted(1, "run"), counted(0, "run")] == ["1 run", "0 runs"]
