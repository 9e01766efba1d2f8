"""A sample of batches says why each was released, and is fair and small."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest

from headrace.bus import Batch
from headrace.subscriber.scoring.batches import KEPT, Batches


def batch(size: int, *, bytes_: int = 100, again: bool = False) -> Batch:
    ids = [f"{n}-{n}".encode() for n in range(1, size + 1)]
    attempts = dict.fromkeys(ids, 2) if again else {}
    return Batch("c", ids, [b"x" * bytes_] * size, attempts, read_at=10.0)


def taken(one: Batch, batches: Batches | None = None) -> str:
    batches = batches or Batches(512, 100_000)
    batches.add(one, [np.full(len(one), 9.9)], 0.002, 11.0)
    [sample] = batches.take()
    return sample.reason


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (batch(1), "all that waited"),
        (batch(511), "all that waited"),
        (batch(512), "entries bound"),
        (batch(9, bytes_=10_000), "all that waited"),
        (batch(10, bytes_=10_000), "bytes bound"),
        (batch(1, bytes_=90_000), "bytes bound"),
        (batch(3, again=True), "claimed"),
    ],
)
def test_every_batch_has_its_reason(one: Batch, reason: str) -> None:
    assert taken(one) == reason


def test_what_was_kept_here_for_another_attempt_is_a_retry() -> None:
    batches = Batches(512, 100_000)
    batches.keep(b"2-2")
    assert taken(batch(3, again=True), batches) == "retry"
    assert taken(batch(3, again=True), batches) == "claimed"


def test_a_sample_says_size_wait_and_time_in_the_model() -> None:
    batches = Batches(512, 100_000)
    batches.add(batch(4), [np.array([9.0, 9.5]), np.array([9.9, 10.0])], 0.002, 11.0)
    [sample] = batches.take()
    assert (sample.at, sample.size, sample.wait_ms, sample.model_ms) == (11.0, 4, 400.0, 2.0)
    assert batches.take() == []


def test_a_batch_without_a_result_and_a_clock_ahead_give_no_negative_wait() -> None:
    batches = Batches(512, 100_000)
    batches.add(batch(1), [], 0.0, 11.0)
    batches.add(batch(1), [np.array([99.0])], 0.0, 11.0)
    assert [sample.wait_ms for sample in batches.take()] == [0.0, 0.0]


def test_every_batch_of_a_second_is_as_likely_as_any_other() -> None:
    chance = random.Random(7)
    batches, found = Batches(10_000, 10**9, chance.random), Counter[int]()
    for _ in range(2000):
        for number in range(60):
            batches.add(batch(1), [], 0.0, float(number))
        sample = batches.take()
        assert len(sample) == KEPT
        assert [one.at for one in sample] == sorted(one.at for one in sample)
        found.update(int(one.at) for one in sample)
    assert all(330 < found[number] < 470 for number in range(60))  # 400 are expected
