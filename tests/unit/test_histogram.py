"""The histogram knows a value to within 5 %, and merging is adding."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.histogram import LAST, bounds_us, bucket, buckets, merge, middle_ms, percentile, percentiles

durations_us = st.floats(min_value=11.0, max_value=3.6e9)


def histogram(values: list[float]) -> dict[int, int]:
    return dict(Counter(bucket(value) for value in values))


@given(st.lists(durations_us, min_size=1, max_size=200), st.sampled_from([0.0, 0.5, 0.9, 0.95, 0.99, 1.0]))
def test_percentiles_are_those_of_numpy_within_five_percent(values: list[float], rank: float) -> None:
    exact_ms = float(np.percentile(values, rank * 100, method="inverted_cdf")) / 1000
    assert percentile(histogram(values), rank) == pytest.approx(exact_ms, rel=0.05)


@given(st.floats(min_value=0, max_value=1e12))
def test_a_value_lies_within_its_bucket(value: float) -> None:
    low, high = bounds_us(bucket(value))
    assert low <= value < high or bucket(value) == LAST


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=50))
def test_the_vectorised_form_agrees_with_the_plain_one(values: list[float]) -> None:
    assert buckets(np.array(values, dtype=np.float64)).tolist() == [bucket(value) for value in values]


def test_every_bucket_begins_where_the_last_one_ended() -> None:
    ends = [bounds_us(index) for index in range(LAST + 1)]
    assert all(before[1] == after[0] for before, after in pairwise(ends))
    assert all(bucket(low) == index for index, (low, _) in enumerate(ends))


@given(st.lists(durations_us, max_size=50), st.lists(durations_us, max_size=50))
def test_merging_two_histograms_counts_what_one_would_have(one: list[float], other: list[float]) -> None:
    assert merge([histogram(one), histogram(other)]) == histogram(one + other)


def test_clocks_that_differ_give_no_negative_latency() -> None:
    assert bucket(-5.0) == bucket(float("nan")) == 0
    assert buckets(np.array([-5.0, np.nan])).tolist() == [0, 0]


def test_nothing_counted_has_no_latency() -> None:
    assert percentiles({}, 0.5, 0.99) == [0.0, 0.0]


def test_percentiles_come_in_the_order_asked_for() -> None:
    counts = {bucket(100.0): 90, bucket(10_000.0): 10}
    p99, p50 = percentiles(counts, 0.99, 0.5)
    assert (p50, p99) == (middle_ms(bucket(100.0)), middle_ms(bucket(10_000.0)))
