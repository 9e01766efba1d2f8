"""Measures from merged counts and sums equal the measures of the whole."""

from __future__ import annotations

import math
import random

import pytest
from sklearn.metrics import confusion_matrix, mean_absolute_error, precision_recall_fscore_support, r2_score

from headrace.models import evaluation
from headrace.models.evaluation import Interval


def _pairs(n: int, seed: int) -> list[tuple[int, int]]:
    dice = random.Random(seed)
    return [(truth, truth if dice.random() < 0.8 else dice.randrange(4)) for truth in dice.choices(range(4), k=n)]


def test_merged_confusion_equals_the_confusion_of_all_pairs() -> None:
    pairs = _pairs(400, 1)
    parts = [evaluation.confusion(pairs[start : start + 90], 4) for start in range(0, 400, 90)]
    whole = evaluation.merge(*parts)
    assert whole == evaluation.merge(*reversed(parts)) == confusion_matrix(*zip(*pairs, strict=True)).tolist()
    assert evaluation.merge([], [[2]], [[1, 0], [3, 1]]) == [[3, 0], [3, 1]]
    assert evaluation.merge() == []


def test_grades_are_precision_and_recall_of_each_class() -> None:
    pairs = _pairs(300, 2)
    precision, recall, _, support = precision_recall_fscore_support(*zip(*pairs, strict=True))
    grades = evaluation.grades(evaluation.confusion(pairs, 4))
    assert [grade.precision for grade in grades] == pytest.approx(precision)
    assert [grade.recall for grade in grades] == pytest.approx(recall)
    assert [grade.support for grade in grades] == support.tolist()
    assert evaluation.grades([[0, 0], [0, 0]])[0] == evaluation.Grade(None, None, 0)


def test_accuracy_comes_with_wilsons_interval() -> None:
    # 8 of 10 at 95 %: the bounds that the published formula gives.
    found = evaluation.accuracy([[5, 1], [1, 3]])
    assert (found.value, found.n) == (0.8, 10)
    assert (found.low, found.high) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)
    assert evaluation.accuracy([]) == Interval(None, 0.0, 1.0, 0)
    for hits, n in ((0, 1), (1, 1), (0, 10_000), (10_000, 10_000)):
        bounds = evaluation.wilson(hits, n)
        assert bounds.value is not None
        assert 0.0 <= bounds.low <= bounds.value <= bounds.high <= 1.0


def test_regression_measures_come_from_merged_sums() -> None:
    dice = random.Random(3)
    pairs = [(truth, truth + dice.gauss(0, 5)) for truth in (dice.gauss(100, 20) for _ in range(200))]
    total = evaluation.add(evaluation.sums(pairs[:70]), evaluation.sums(pairs[70:]), evaluation.sums([]))
    actual, predicted = zip(*pairs, strict=True)
    assert total.n == 200
    assert evaluation.mae(total) == pytest.approx(mean_absolute_error(actual, predicted))
    squares = [(a - p) ** 2 for a, p in pairs]
    assert evaluation.rmse(total) == pytest.approx(math.sqrt(sum(squares) / 200))
    assert evaluation.r2(total) == pytest.approx(r2_score(actual, predicted))


def test_measures_of_nothing_are_none() -> None:
    nothing = evaluation.sums([])
    assert (evaluation.mae(nothing), evaluation.rmse(nothing), evaluation.r2(nothing)) == (None, None, None)
    assert evaluation.r2(evaluation.sums([(0.1, 0.2)] * 30)) is None
    assert evaluation.calibration_error(evaluation.calibration([])) is None


def test_calibration_bins_count_by_confidence_and_can_be_laid_over_each_other() -> None:
    first = evaluation.calibration([(0.05, False), (0.95, True)])
    second = evaluation.calibration([(1.0, True), (0.97, False)])
    bins = evaluation.overlay(first, second)
    assert [part.n for part in bins] == [1, 0, 0, 0, 0, 0, 0, 0, 0, 3]
    assert bins == evaluation.calibration([(0.05, False), (0.95, True), (1.0, True), (0.97, False)])
    # |0.05 - 0| of the lowest bin and |2.92 - 2| of the highest, over four cases.
    assert evaluation.calibration_error(bins) == pytest.approx((0.05 + 0.92) / 4)
