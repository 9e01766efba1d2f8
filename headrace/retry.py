"""When an entry is tried again, and when it is given up. Pure: time is an argument, in seconds of a monotonic clock."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterable
from dataclasses import dataclass, field

from headrace.positions import Position


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays that double from `base_ms` up to `limit_ms`, each drawn from its upper half so that workers spread."""

    base_ms: int
    limit_ms: int

    def delay_ms(self, attempt: int, draw: float | None = None) -> float:
        """The delay after attempt number `attempt` (1 = the first); `draw` in [0, 1) replaces chance."""
        full = min(self.limit_ms, self.base_ms * 2.0 ** min(attempt - 1, 30))
        return full * (0.5 + 0.5 * (random.random() if draw is None else draw))


@dataclass(slots=True)
class Schedule:
    """Entries that wait for their next attempt, earliest first; an entry is in it once."""

    _heap: list[tuple[float, Position, str]] = field(default_factory=list)

    def add(self, position: Position, holder: str, due_s: float) -> None:
        """Try `position`, pending under the consumer name `holder`, again at `due_s`."""
        heapq.heappush(self._heap, (due_s, position, holder))

    def take(self, now_s: float, most: int) -> list[tuple[Position, str]]:
        """Up to `most` entries that are due, with their holders; they leave the schedule."""
        due: list[tuple[Position, str]] = []
        while self._heap and len(due) < most and self._heap[0][0] <= now_s:
            _, position, holder = heapq.heappop(self._heap)
            due.append((position, holder))
        return due

    def next_s(self) -> float | None:
        """When the next entry is due."""
        return self._heap[0][0] if self._heap else None

    def holders(self) -> dict[str, list[Position]]:
        """What waits, by the consumer name that holds it."""
        held: dict[str, list[Position]] = {}
        for _, position, holder in self._heap:
            held.setdefault(holder, []).append(position)
        return held

    def drop(self, positions: Iterable[Position]) -> None:
        """Forget entries that somebody else decided."""
        gone = set(positions)
        self._heap = [item for item in self._heap if item[1] not in gone]
        heapq.heapify(self._heap)

    def __len__(self) -> int:
        return len(self._heap)
