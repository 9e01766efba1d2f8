"""Labels meet their predictions once each; what does not fit is refused by name; quality is counted exactly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import CodecError, EventError
from headrace.events import PredictionJoined, PredictionLabelled
from headrace.positions import Position
from headrace.subscriber.aggregation.quality import Joining, Label, Quality, addressed, join, merged
from headrace.subscriber.aggregation.tally import BINS, CLASSES, HALF, PAIRS, SLICES, SPAN_S, SPANS, TWINS, WORST
from headrace.waiting import Waiting


@dataclass(frozen=True)
class Card:
    kind: str = "classification"
    labels: Sequence[str] = ("cat", "dog", "owl")
    image_shape: tuple[int, int] | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)


def request(number: int) -> Position:
    return Position(1_000, number)


def label(number: int, labels: list[str | int | float], place: int = 0) -> Label:
    event = PredictionLabelled(prediction=f"0-{request(number)}", labels=labels)
    return addressed(Position(2_000, place or number), event, 0)


def predicted(*classes: float, model: str = "pets", kind: str = "c") -> bytes:
    confidence = [0.9] * len(classes) if kind == "c" else []
    return Waiting(model, 3, "c" if kind == "c" else "r", list(classes), confidence, "id").encode()


def joined(labels: list[Label], waiting: dict[Position, bytes], undecided: bool = False) -> Joining:
    return join(labels, waiting, lambda position: undecided, lambda model, version: Card(), 0)


def test_a_label_by_name_and_one_by_index_join_as_class_indices() -> None:
    verdict = joined([label(1, ["owl"]), label(2, [1])], {request(1): predicted(2), request(2): predicted(0)})
    [event] = verdict.events
    assert (event.model, event.version) == ("pets", 3)
    assert (event.predicted, event.actual, event.confidence) == ([2.0, 0.0], [2.0, 1.0], [0.9, 0.9])
    assert event.predictions == ["0-1000-1", "0-1000-2"]
    assert verdict.requests == [request(1), request(2)]


def test_a_request_of_several_rows_takes_one_label_for_each() -> None:
    verdict = joined([label(1, ["cat", 1, "owl"])], {request(1): predicted(0, 1, 1)})
    [event] = verdict.events
    assert event.predictions == ["0-1000-1"] * 3
    assert event.actual == [0.0, 1.0, 2.0]


def test_each_model_version_gets_one_event() -> None:
    waiting = {request(1): predicted(0), request(2): predicted(0, model="birds"), request(3): predicted(1)}
    verdict = joined([label(n, ["cat"]) for n in (1, 2, 3)], waiting)
    assert [(event.model, len(event.actual)) for event in verdict.events] == [("pets", 2), ("birds", 1)]


def test_the_second_label_of_one_prediction_is_unmatched() -> None:
    verdict = joined([label(1, ["cat"], 1), label(1, ["dog"], 2)], {request(1): predicted(0)}, undecided=True)
    assert verdict.events[0].actual == [0.0]
    assert verdict.unmatched == [Position(2_000, 2)]


def test_a_label_waits_for_a_prediction_that_may_come_and_is_unmatched_otherwise() -> None:
    assert joined([label(1, ["cat"])], {}, undecided=True).early == [Position(2_000, 1)]
    assert joined([label(1, ["cat"])], {}, undecided=False).unmatched == [Position(2_000, 1)]


@pytest.mark.parametrize(
    ("labels", "waiting", "reason"),
    [
        (["cat", "dog"], predicted(0), "2 labels for a prediction of 1 row"),
        (["cow"], predicted(0), "'cow' is no class of pets version 3; its classes are cat, dog, owl"),
        ([3], predicted(0), "3 is no class index of pets version 3; send 0 to 2"),
        ([-1], predicted(0), "-1 is no class index"),
        ([1.5], predicted(0), "1.5 is no class index"),
        ([float("nan")], predicted(0), "nan is no class index"),
        (["7"], predicted(0.5, kind="r"), "is not a value; pets is a regression"),
        ([float("inf")], predicted(0.5, kind="r"), "is not a value"),
        (["cat"], b"\x00", "not a waiting prediction"),
    ],
)
def test_a_label_that_does_not_fit_is_dead_with_its_reason(
    labels: list[str | int | float], waiting: bytes, reason: str
) -> None:
    verdict = joined([label(1, labels)], {request(1): waiting})
    [(position, said)] = verdict.dead
    assert position == Position(2_000, 1)
    assert reason in said
    assert verdict.requests == []


def test_a_bad_label_leaves_the_prediction_to_a_good_one() -> None:
    verdict = joined([label(1, ["cow"], 1), label(1, ["cat"], 2)], {request(1): predicted(0)})
    assert verdict.matched == [Position(2_000, 2)]


def test_without_a_card_indices_still_join_and_names_cannot() -> None:
    found = join(
        [label(1, [7]), label(2, ["cat"])],
        {request(1): predicted(7), request(2): predicted(0)},
        lambda position: False,
        lambda model, version: None,
        0,
    )
    assert found.events[0].actual == [7.0]
    assert "not known here: send class indices" in found.dead[0][1]


@pytest.mark.parametrize(
    ("prediction", "reason"), [("0-12", "not a position"), ("x", "not a prediction"), ("1-5-5", "partition 1")]
)
def test_a_label_for_no_prediction_of_this_partition_is_refused(prediction: str, reason: str) -> None:
    with pytest.raises(EventError, match=reason):
        addressed(Position(1, 1), PredictionLabelled(prediction=prediction, labels=[0]), 0)


@given(st.lists(st.integers(0, 60), max_size=6), st.integers(0, 5), st.booleans())
def test_every_label_has_exactly_one_verdict(present: list[int], again: int, undecided: bool) -> None:
    labels = [label(n, ["cat"], place) for place, n in enumerate([*range(10), again], start=1)]
    verdict = joined(labels, {request(n): predicted(0) for n in present}, undecided)
    decided = [*verdict.matched, *verdict.unmatched, *verdict.early, *(position for position, _ in verdict.dead)]
    assert sorted(decided) == [item.position for item in labels]


def batch(actual: list[float], guessed: list[float], regression: bool = False) -> PredictionJoined:
    return PredictionJoined(
        model="m",
        version=1,
        predictions=["0-1-1"] * len(actual),
        predicted=guessed,
        actual=actual,
        confidence=[] if regression else [1.0] * len(actual),
    )


pairs = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=20)


@given(st.lists(pairs, min_size=1, max_size=5))
def test_the_confusion_matrix_counts_every_row_once(batches: list[list[tuple[int, int]]]) -> None:
    quality = Quality()
    for rows in batches:
        quality.fold(batch([float(a) for a, _ in rows], [float(p) for _, p in rows]), 100.0)
    view = quality.view("m", 1, 100.0)
    rows = [pair for some in batches for pair in some]
    expected = np.zeros((len(view.confusion), len(view.confusion)), int)
    for actual, guessed in rows:
        expected[actual, guessed] += 1
    assert view.confusion == expected.tolist()
    assert (view.joined, view.correct) == (len(rows), sum(a == p for a, p in rows))
    assert view.recent == [(100.0, view.joined, view.correct)]


def test_regression_sums_give_the_errors_of_numpy() -> None:
    actual, guessed = np.array([1.0, 2.0, 4.0]), np.array([1.5, 2.0, 2.0])
    quality = Quality()
    quality.fold(batch(actual.tolist(), guessed.tolist(), regression=True), 100.0)
    view = quality.view("m", 1, 100.0)
    assert view.sum_abs / view.joined == pytest.approx(np.abs(actual - guessed).mean())
    assert view.sum_sq / view.joined == pytest.approx(((actual - guessed) ** 2).mean())
    assert (view.sum_y, view.sum_y2, view.confusion) == (7.0, 21.0, [])


def test_recent_accuracy_comes_by_ten_seconds_for_five_minutes() -> None:
    quality = Quality()
    for second in (105, 95, 99, 1000):
        quality.fold(batch([0.0], [float(second == 95)]), second)
    assert quality.view("m", 1, 110.0).recent == [(90.0, 2, 1), (100.0, 1, 1), (1000.0, 1, 1)]
    assert quality.view("m", 1, 1000.0).recent == [(1000.0, 1, 1)]
    for second in range(0, 10_000, 10):
        quality.fold(batch([0.0], [0.0]), 2000 + second)
    assert len(quality.view("m", 1, 11_995.0).recent) == SLICES


def test_with_too_many_classes_there_is_accuracy_but_no_matrix() -> None:
    quality = Quality()
    quality.fold(batch([float(CLASSES)], [0.0]), 1.0)
    quality.fold(batch([1.0], [1.0]), 1.0)
    view = quality.view("m", 1, 1.0)
    assert (view.confusion, view.joined, view.correct) == ([], 2, 1)


@given(st.lists(pairs, min_size=1, max_size=4))
def test_quality_comes_back_from_what_was_saved_and_adds_up_over_partitions(
    batches: list[list[tuple[int, int]]],
) -> None:
    whole, saved = Quality(), dict[str, bytes]()
    parts = [Quality(), Quality()]
    for number, rows in enumerate(batches):
        event = batch([float(a) for a, _ in rows], [float(p) for _, p in rows])
        whole.fold(event, 50.0)
        parts[number % 2].fold(event, 50.0)
        loaded = Quality.load(saved)
        loaded.fold(event, 50.0)
        saved.update(loaded.take_changes())
    expected = whole.view("m", 1, 60.0)
    assert Quality.load(saved).view("m", 1, 60.0) == expected
    assert merged(parts, "m", 1, 60.0) == expected
    assert Quality.load(saved).take_changes() == {}


def test_saved_quality_that_is_broken_is_named() -> None:
    with pytest.raises(CodecError, match="1:m"):
        Quality.load({"1:m": b"\x00"})


def sure(rows: list[tuple[float, float, float]], handles: list[str] | None = None) -> PredictionJoined:
    """Rows of (actual, predicted, confidence)."""
    return PredictionJoined(
        model="m",
        version=1,
        predictions=handles or [f"0-1-{n}" for n in range(len(rows))],
        predicted=[row[1] for row in rows],
        actual=[row[0] for row in rows],
        confidence=[row[2] for row in rows],
    )


dyadic = st.integers(0, 64).map(lambda n: n / 64)
"""Confidences whose sums have no rounding."""
judged = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), dyadic), min_size=1, max_size=8)


@given(st.lists(judged, min_size=1, max_size=6), st.integers(0, 5))
def test_calibration_and_mistakes_are_the_same_after_a_takeover_and_over_partitions(
    batches: list[list[tuple[int, int, float]]], takeover: int
) -> None:
    whole, leader, parts, saved = Quality(), Quality(), [Quality(), Quality()], dict[str, bytes]()
    for number, rows in enumerate(batches):
        event = sure([(float(a), float(p), c) for a, p, c in rows], [f"0-{number}-{n}" for n in range(len(rows))])
        if number == takeover:
            leader = Quality.load(saved)
        for quality in (whole, leader, parts[number % 2]):
            quality.fold(event, 50.0 * number)
        saved.update(leader.take_changes())
    view = whole.view("m", 1, 300.0)
    assert leader.view("m", 1, 300.0) == view
    assert merged(parts, "m", 1, 300.0) == view
    rows_ = [row for some in batches for row in some]
    for place, (count, correct, total) in enumerate(view.calibration):
        inside = [row for row in rows_ if min(int(row[2] * BINS), BINS - 1) == place]
        assert (count, correct, total) == (len(inside), sum(a == p for a, p, _ in inside), sum(c for *_, c in inside))
    wrong = Counter((c, a, p) for a, p, c in rows_ if a != p)
    shown = sorted((c for (c, *_), count in wrong.items() for _ in range(min(count, TWINS))), reverse=True)
    assert [one[4] for one in view.worst] == shown[:WORST]


def test_an_input_that_comes_again_and_again_does_not_hide_other_mistakes() -> None:
    quality = Quality()
    for n in range(30):
        quality.fold(sure([(8, 1, 0.9), (5, 6, 0.8 - n / 100)], [f"0-{n}-1", f"0-{n}-2"]), 1.0)
    worst = quality.view("m", 1, 1.0).worst
    assert [one[2:] for one in worst[:3]] == [(1, 8, 0.9), (1, 8, 0.9), (6, 5, 0.8)]
    assert len({one[2:] for one in worst}) == WORST - TWINS + 1


def test_a_mistake_says_which_row_of_which_request_it_is() -> None:
    quality = Quality()
    quality.fold(sure([(0, 0, 1.0), (0, 1, 0.75), (2, 1, 0.5)], ["0-1-1", "0-1-2", "0-1-2"]), 1.0)
    assert quality.view("m", 1, 1.0).worst == [("0-1-2", 0, 1, 0, 0.75), ("0-1-2", 1, 1, 2, 0.5)]


def test_new_mistakes_are_seen_beside_worse_ones_that_are_old() -> None:
    quality = Quality()
    for span in range(SPANS + 1):
        bad = 1.0 - span / 10
        some = range(WORST + 3)
        quality.fold(sure([(0, 1, bad - n / 1000) for n in some], [f"0-{span}-{n}" for n in some]), span * SPAN_S)
    worst = quality.view("m", 1, 0.0).worst
    assert len(worst) == WORST
    assert all(0.88 < one[4] <= 0.9 for one in worst)  # those of the first span are too old
    quality.fold(sure([(0, 1, 0.95)], ["0-99-1"]), SPANS * SPAN_S)
    assert quality.view("m", 1, 0.0).worst[0] == ("0-99-1", 0, 1, 0, 0.95)


errors = st.lists(st.floats(-6e4, 6e4, width=16), min_size=1, max_size=30)


@given(errors, st.integers(0, 30))
def test_every_residual_is_in_the_bin_where_it_belongs_whatever_the_order_and_the_partition(
    found: list[float], cut: int
) -> None:
    whole, parts = Quality(), [Quality(), Quality()]
    whole.fold(batch([0.0] * len(found), found, regression=True), 1.0)
    for part, some in zip(parts, (found[:cut], found[cut:]), strict=True):
        if some:
            part.fold(batch([0.0] * len(some), some[::-1], regression=True), 1.0)
    view = whole.view("m", 1, 1.0)
    both = merged(parts, "m", 1, 1.0)
    assert (both.residual_width, both.residual_first, both.residuals) == (
        view.residual_width,
        view.residual_first,
        view.residuals,
    )
    assert len(view.residuals) <= 2 * HALF
    width, expected = view.residual_width, [0] * len(view.residuals)
    for error in found:
        expected[int(np.floor(error / width)) - view.residual_first] += 1
    assert view.residuals == expected


def test_errors_over_time_and_the_newest_pairs_of_a_regression() -> None:
    quality = Quality()
    quality.fold(batch([1.0, 3.0], [2.0, 1.0], regression=True), 105.0)
    quality = Quality.load(quality.take_changes())
    quality.fold(batch([5.0], [5.5], regression=True), 109.0)
    quality.fold(batch([7.0], [7.0], regression=True), 110.0)
    view = quality.view("m", 1, 111.0)
    assert view.errors == [(100, 3, 3.5, 5.25, 9.0, 35.0), (110, 1, 0.0, 0.0, 7.0, 49.0)]
    assert view.pairs == [(2.0, 1.0), (1.0, 3.0), (5.5, 5.0), (7.0, 7.0)]
    assert view.worst[0][:4] == ("0-1-1", 1, 1.0, 3.0)
    for n in range(50):
        quality.fold(batch([float(n)], [float(n)], regression=True), 120.0 + n)
    assert [actual for _, actual in quality.view("m", 1, 170.0).pairs] == [float(n) for n in range(50 - PAIRS, 50)]


def test_what_needs_room_is_left_out_of_a_view_without_details() -> None:
    quality = Quality()
    quality.fold(sure([(0, 1, 0.5)]), 1.0)
    view = merged([quality], "m", 1, 1.0, detailed=False)
    assert (view.joined, view.worst, view.calibration) == (1, [], [])
