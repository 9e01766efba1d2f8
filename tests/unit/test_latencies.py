"""Latencies gathered over batches become the same counters as each counted by itself."""

from __future__ import annotations

from collections import Counter

import numpy as np

from headrace.histogram import bucket
from headrace.subscriber.scoring.latencies import EVERY_S, Latencies


def test_gathered_latencies_are_counted_as_each_by_itself() -> None:
    draw = np.random.default_rng(7)
    latencies, expected = Latencies(), Counter[str]()
    for _ in range(20):
        seconds = draw.lognormal(-6, 1, size=int(draw.integers(1, 40)))
        latencies.each("wait", seconds)
        latencies.same("model", float(seconds[0]), len(seconds))
        expected.update(f"lat:wait:{bucket(s * 1e6)}" for s in seconds.tolist())
        expected[f"lat:model:{bucket(float(seconds[0]) * 1e6)}"] += len(seconds)
    assert latencies.take() == dict(expected)
    assert latencies.take() == {}


def test_they_are_given_now_and_then_and_all_in_the_end() -> None:
    latencies = Latencies()
    latencies.each("total", np.array([0.001]))
    assert sum(latencies.take_due(100.0).values()) == 1
    latencies.each("total", np.array([0.002, 0.003]))
    assert latencies.take_due(100.0 + EVERY_S / 2) == {}
    assert sum(latencies.take_due(100.0 + EVERY_S).values()) == 2
    latencies.same("commit", 0.5, 3)
    assert sum(latencies.take().values()) == 3
