"""A curve is bounded, keeps its mean, does not depend on order, and comes back from what was saved."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.curves import Curve, SavedCurve, SavedRun, part_field, read_curves, read_run
from headrace.errors import CodecError
from headrace.events import RunView

values = st.integers(-1000, 1000)
logs = st.lists(st.tuples(st.integers(0, 100_000), values), min_size=1, max_size=300)


def filled(points: list[tuple[int, int]], limit: int = 16) -> Curve:
    curve = Curve(limit)
    for step, value in points:
        curve.add(step, value)
    return curve


@given(logs)
def test_a_curve_never_has_more_points_than_its_limit_and_keeps_its_mean(points: list[tuple[int, int]]) -> None:
    curve = filled(points)
    assert 1 <= len(curve.points()) <= 16
    assert curve.mean == pytest.approx(sum(value for _, value in points) / len(points))


@given(logs, st.randoms())
def test_the_order_in_which_values_come_does_not_matter(points: list[tuple[int, int]], chance: random.Random) -> None:
    shuffled = list(points)
    chance.shuffle(shuffled)
    assert filled(shuffled).points() == filled(points).points()


@given(logs)
def test_a_point_spans_what_it_covers_and_no_peak_is_lost(points: list[tuple[int, int]]) -> None:
    curve, watcher = filled(points), Curve(16)
    spans = {step: (low, high) for step, low, high in curve.spans(curve.points())}
    for step, value in points:
        held = max((point for point in curve.points() if point[0] <= step), default=curve.points()[0])
        low, high = spans.get(held[0], (held[1], held[1]))
        assert low <= value <= high
    assert min(low for low, _ in [*spans.values(), *((v, v) for _, v in curve.points())]) == min(v for _, v in points)
    watcher.put(curve.points(), curve.spans(curve.points()))
    assert Curve.load([curve.save()], 16).spans(curve.points()) == curve.spans(curve.points())
    if curve.stride == 1:
        assert watcher.spans(watcher.points()) == curve.spans(curve.points())


@given(logs)
def test_every_point_stands_at_a_step_that_was_logged(points: list[tuple[int, int]]) -> None:
    logged = {step for step, _ in points}
    shown = [step for step, _ in filled(points).points()]
    assert set(shown) <= logged
    assert shown == sorted(set(shown))
    assert shown[0] == min(logged)


def test_below_its_limit_a_curve_is_the_mean_over_ranks_at_each_step() -> None:
    curve = filled([(1, 10), (2, 20), (1, 30), (2, 40)])
    assert curve.points() == [(1, 20.0), (2, 30.0)]


def test_a_long_curve_is_the_mean_over_equal_spans() -> None:
    curve = filled([(step, step) for step in range(64)])
    assert curve.points() == [(first, first + 1.5) for first in range(0, 64, 4)]


@given(st.lists(logs, min_size=1, max_size=6))
def test_parts_saved_as_they_change_are_the_whole_curve(rounds: list[list[tuple[int, int]]]) -> None:
    curve, store = Curve(64), {}
    for points in rounds:
        for step, value in points:
            curve.add(step, value)
        changed, gone = curve.take_saves()
        store.update({part_field("loss", number): payload for number, payload in changed.items()})
        for number in gone:
            store.pop(part_field("loss", number), None)
    loaded = read_curves(store)["loss"]
    assert loaded.points() == curve.points()
    assert loaded.save() == curve.save()


def test_a_new_point_costs_one_small_part() -> None:
    curve = filled([(step, 0) for step in range(500)], limit=512)
    curve.take_saves()
    curve.add(500, 1.0)
    changed, gone = curve.take_saves()
    assert len(changed) == 1
    assert sum(map(len, changed.values())) < 600
    assert gone == []
    assert curve.take_saves() == ({}, [])


def test_new_points_are_taken_once_and_the_surplus_waits() -> None:
    curve = filled([(0, 1), (1, 2), (2, 3)])
    assert curve.take_new(2) == [(0, 1.0), (1, 2.0)]
    assert curve.take_new() == [(2, 3.0)]
    assert curve.take_new() == []
    curve.add(1, 4)
    assert curve.take_new() == [(1, 3.0)]


@given(logs, st.integers(1, 50))
def test_a_watcher_that_gets_new_points_sees_the_curve(points: list[tuple[int, int]], every: int) -> None:
    curve, watcher = Curve(32), Curve(32)
    ordered = sorted(points)
    for at in range(0, len(ordered), every):
        for step, value in ordered[at : at + every]:
            curve.add(step, value)
        watcher.put(curve.take_new())
    assert len(watcher) <= 32
    assert watcher.points()[0][0] == curve.points()[0][0]
    if curve.stride == 1:
        assert watcher.points() == curve.points()


def test_a_loaded_curve_shows_its_end_again() -> None:
    curve = filled([(step, step) for step in range(100)], limit=512)
    loaded = Curve.load([curve.save()])
    assert loaded.take_new()[-1] == (99, 99.0)
    assert loaded.take_saves() == ({}, [])


def test_a_saved_run_is_read_with_and_without_its_curves() -> None:
    summary = SavedRun(view=RunView(run="r", name="digits", state="running")).encode()
    part = msgspec.msgpack.encode(SavedCurve(1, [(0, 1.0, 1), (1, 4.0, 2)]))
    assert read_run(summary).curves == {}
    saved = read_run(summary, {part_field("a:b", 0): part})
    assert saved.view.name == "digits"
    assert read_curves({part_field("a:b", 0): part})["a:b"].points() == [(0, 1.0), (1, 2.0)]
    assert saved.curves["a:b"].buckets == [(0, 1.0, 1), (1, 4.0, 2)]


def test_bytes_that_are_no_saved_run_are_refused_by_name() -> None:
    with pytest.raises(CodecError, match="saved run"):
        read_run(b"\x00")
    with pytest.raises(CodecError, match="saved curve"):
        read_curves({"0:loss": b"\xff"})
