"""Retry: delays double up to a limit and spread; entries come out when they are due, earliest first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headrace.positions import Position
from headrace.retry import Backoff, Schedule


def test_delays_double_up_to_the_limit() -> None:
    backoff = Backoff(100, 1_000)
    assert [backoff.delay_ms(n, draw=0.0) for n in range(1, 7)] == [50, 100, 200, 400, 500, 500]


@given(st.integers(1, 10_000), st.integers(1, 100_000), st.integers(1, 10**9), st.floats(0, 1, exclude_max=True))
def test_a_delay_lies_in_the_upper_half_of_its_step(base: int, limit: int, attempt: int, draw: float) -> None:
    step = min(limit, base * 2.0 ** min(attempt - 1, 30))
    assert step / 2 <= Backoff(base, limit).delay_ms(attempt, draw) <= step


def test_chance_spreads_the_workers() -> None:
    backoff = Backoff(100, 1_000)
    assert len({backoff.delay_ms(1) for _ in range(20)}) > 1


positions = st.builds(Position, st.integers(0, 50), st.integers(1, 50))
items = st.dictionaries(positions, st.tuples(st.sampled_from(["a", "b", "c"]), st.floats(0, 100)), max_size=30)


@given(items, st.lists(st.tuples(st.floats(0, 120), st.integers(1, 5)), max_size=20))
def test_what_is_due_comes_out_once_earliest_first(
    waiting: dict[Position, tuple[str, float]], takes: list[tuple[float, int]]
) -> None:
    schedule = Schedule()
    for position, (holder, due_s) in waiting.items():
        schedule.add(position, holder, due_s)
    left = dict(waiting)
    for now_s, most in [*sorted(takes), (1000.0, 1000)]:
        due = sorted((due_s, position) for position, (_, due_s) in left.items() if due_s <= now_s)[:most]
        assert schedule.take(now_s, most) == [(position, left[position][0]) for _, position in due]
        for _, position in due:
            del left[position]
        assert len(schedule) == len(left)
        assert schedule.next_s() == min((due_s for _, due_s in left.values()), default=None)
        held = schedule.holders()
        assert {position: holder for holder, there in held.items() for position in there} == {
            position: holder for position, (holder, _) in left.items()
        }
    assert left == {}


@given(items, st.sets(positions))
def test_what_others_decided_does_not_come_out(waiting: dict[Position, tuple[str, float]], gone: set[Position]) -> None:
    schedule = Schedule()
    for position, (holder, due_s) in waiting.items():
        schedule.add(position, holder, due_s)
    schedule.drop(gone)
    assert {position for position, _ in schedule.take(1000.0, 1000)} == set(waiting) - gone
