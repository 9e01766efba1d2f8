"""How batches form, for the page: a few of the batches of each second, every one as likely as any other.

A batch is chosen before anything is worked out about it, and its mean wait is taken when the sample is asked for, so
that a batch costs a few hundred nanoseconds. Algorithm R: Vitter, "Random sampling with a reservoir", 1985.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np

from headrace.bus import Batch
from headrace.events import BatchSample
from headrace.models.model import Array

KEPT: Final = 12
"""Batches of one sample."""
RETRIES: Final = 10_000
"""Entries remembered as kept for another attempt; what other workers took over is never heard of again."""


class _Chosen(NamedTuple):
    at: float
    size: int
    read_at: float
    created: Sequence[Array]
    model_s: float
    reason: str


class Batches:
    """The sample since it was last taken. `entries` and `bytes_` bound a read."""

    def __init__(self, entries: int, bytes_: int, draw: Callable[[], float] = random.random) -> None:
        self._entries, self._bytes, self._draw = entries, bytes_, draw
        self._seen = 0
        self._chosen: list[_Chosen] = []
        self._kept: set[bytes] = set()

    def keep(self, spelled: bytes) -> None:
        """Remember that the entry at this position comes again, as a retry."""
        if len(self._kept) >= RETRIES:
            self._kept.clear()
        self._kept.add(spelled)

    def add(self, batch: Batch, created: Sequence[Array], model_s: float, at: float) -> None:
        """Count a batch that was decided at Unix time `at`; `created` is when its entries were made, Unix seconds."""
        retried = bool(batch.attempts) and self._came_again(batch)
        self._seen += 1
        place = self._seen - 1
        if place >= KEPT:
            place = int(self._draw() * self._seen)
            if place >= KEPT:
                return
        chosen = _Chosen(at, len(batch), batch.read_at, created, model_s, self._reason(batch, retried))
        if place < len(self._chosen):
            self._chosen[place] = chosen
        else:
            self._chosen.append(chosen)

    def take(self) -> list[BatchSample]:
        """The sample, oldest first; the next one begins."""
        chosen, self._chosen, self._seen = sorted(self._chosen, key=lambda one: one.at), [], 0
        return [_sample(one) for one in chosen]

    def _came_again(self, batch: Batch) -> bool:
        """Whether entries of the batch had been kept here for another attempt."""
        ours = self._kept.intersection(batch.ids)
        self._kept -= ours
        return bool(ours)

    def _reason(self, batch: Batch, retried: bool) -> str:
        if batch.attempts:
            return "retry" if retried else "claimed"
        size = len(batch)
        if size >= self._entries:
            return "entries bound"
        # A read is cut for its bytes only where entries are large, so that others need not be measured.
        if len(batch.payloads[0]) * self._entries > self._bytes:
            mean = sum(map(len, batch.payloads)) / size
            if (size + 1) * mean > self._bytes:
                return "bytes bound"
        return "all that waited"


def _sample(one: _Chosen) -> BatchSample:
    made = np.concatenate(one.created) if one.created else np.zeros(0)
    wait_s = float(np.mean(one.read_at - made)) if made.size else 0.0
    return BatchSample(
        at=round(one.at, 3),
        size=one.size,
        wait_ms=round(max(0.0, wait_s) * 1000, 3),
        model_ms=round(one.model_s * 1000, 3),
        reason=one.reason,
    )
