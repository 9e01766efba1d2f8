"""Latencies of scored requests, gathered over batches and turned into counters a few times a second. Pure.

Counting them costs the same for one request as for thousands, so it is not done for each batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from headrace.histogram import buckets
from headrace.models.model import Array

EVERY_S = 0.25
"""How often they are counted under load; the last ones wait for `take`."""


class Latencies:
    """What was added since the last `take`, by field: `wait`, `model`, `commit`, `total` and MODEL:VERSION."""

    def __init__(self) -> None:
        self._each: dict[str, list[Array]] = {}
        self._same: dict[str, list[tuple[float, int]]] = {}
        self._taken_s = 0.0

    def each(self, field: str, seconds: Array) -> None:
        """One latency a request."""
        self._each.setdefault(field, []).append(seconds)

    def same(self, field: str, seconds: float, requests: int) -> None:
        """The same latency for so many requests."""
        self._same.setdefault(field, []).append((seconds, requests))

    def take_due(self, now: float) -> dict[str, int]:
        """`take`, if the last time is long enough ago; nothing otherwise."""
        if now - self._taken_s < EVERY_S:
            return {}
        self._taken_s = now
        return self.take()

    def take(self) -> dict[str, int]:
        """The histogram counters of what was added, which is forgotten here."""
        each, self._each = self._each, {}
        same, self._same = self._same, {}
        counters: dict[str, int] = {}
        for field, parts in each.items():
            counters |= _counters(field, np.bincount(buckets(np.concatenate(parts) * 1e6)))
        for field, pairs in same.items():
            seconds, requests = np.array(pairs).T
            counters |= _counters(field, np.bincount(buckets(seconds * 1e6), weights=requests))
        return counters


def _counters(field: str, counts: Any) -> dict[str, int]:
    found = np.flatnonzero(counts)
    return {f"lat:{field}:{index}": int(n) for index, n in zip(found.tolist(), counts[found].tolist(), strict=True)}
