"""The time to full is that of the pace lately, and is not guessed."""

from __future__ import annotations

import pytest

from headrace.subscriber.aggregation.filling import Filling


def seen(*used: float, every_s: float = 1.0, window_s: float = 30.0) -> Filling[str]:
    filling: Filling[str] = Filling(window_s)
    for second, one in enumerate(used):
        filling.step("x", one, 1000.0 + second * every_s)
    return filling


def test_a_steady_pace_gives_the_time_that_is_left() -> None:
    assert seen(*range(0, 400, 10)).full_s("x", 1390) == pytest.approx(100.0)


@pytest.mark.parametrize("used", [[50] * 40, range(400, 0, -10)])
def test_what_stands_or_shrinks_does_not_fill(used: list[float]) -> None:
    assert seen(*used).full_s("x", 1000) is None


def test_no_limit_no_time_and_beyond_the_limit_none_is_left() -> None:
    filling = seen(*range(40))
    assert filling.full_s("x", 0) is None
    assert filling.full_s("nobody", 100) is None
    assert filling.full_s("x", 39) == 0.0


def test_a_pace_is_not_told_from_a_moment() -> None:
    assert seen(*range(0, 90, 10)).full_s("x", 1000) is None
    assert seen(*range(0, 120, 10)).full_s("x", 1000) is not None


def test_only_the_window_counts() -> None:
    filling = seen(*range(0, 1000, 100), *[1000] * 40)
    assert filling.full_s("x", 2000) is None


def test_frames_more_often_than_seconds_and_a_clock_that_went_back_do_no_harm() -> None:
    filling = seen(*(n / 4 for n in range(160)), every_s=0.25)
    assert filling.full_s("x", 139) == pytest.approx(100.0, abs=1.0)
    filling.step("x", 5, 10.0)
    assert filling.full_s("x", 139) is None
