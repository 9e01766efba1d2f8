"""The server's clock against our own, from round trips: cheap, asked rarely, never where an event would wait for it.

Halving the round trip: Cristian, "Probabilistic clock synchronization", 1989. The server's time was read within the
trip, so the estimate is off by half of it at most; the quickest of the last trips says it best.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, NamedTuple

EVERY_S: Final = 60.0
REMEMBERED: Final = 10
FIRST: Final = 3
"""Questions that are asked one after the other: the first trip of a connection is a slow one."""
NOTABLE_S: Final = 0.001
"""Positions are whole milliseconds: a difference below that changes nothing that is shown."""


class Estimate(NamedTuple):
    """Seconds to add to our clock to have the server's, known to within `error_s` to either side."""

    offset_s: float
    error_s: float

    def differs(self, other: Estimate) -> bool:
        """Whether it surely tells of another offset, by more than what positions can tell."""
        return abs(self.offset_s - other.offset_s) > self.error_s + other.error_s + NOTABLE_S


AGREES: Final = Estimate(0.0, 0.0)


class ServerClock:
    """What is known of the server's clock. `now_s` are monotonic seconds."""

    def __init__(self, every_s: float = EVERY_S) -> None:
        self._every_s = every_s
        self._asked = 0
        self._due_s = float("-inf")
        self._found: deque[Estimate] = deque(maxlen=REMEMBERED)
        self.estimate: Estimate | None = None
        """The best of the last estimates; None before the first."""

    def due(self, now_s: float) -> bool:
        """Whether to ask again; a question that goes unanswered is asked again when the next one is due."""
        if now_s < self._due_s:
            return False
        self._asked += 1
        self._due_s = now_s + (self._every_s if self._asked >= FIRST else 0.0)
        return True

    def take(self, asked_s: float, said_s: float, trip_s: float) -> None:
        """Asked at `asked_s` by our clock the server said `said_s`, Unix seconds; there and back took `trip_s`."""
        self._found.append(Estimate(said_s - asked_s - trip_s / 2, trip_s / 2))
        self.estimate = min(self._found, key=lambda one: one.error_s)

    def ask(self, now_s: float, server_time: Callable[[], float]) -> None:
        """Ask if it is due. Raises nothing: whoever works here goes on without an answer."""
        if self.due(now_s):
            with suppress(Exception):
                asked_s, began_s = time.time(), time.perf_counter()
                said_s = server_time()
                self.take(asked_s, said_s, time.perf_counter() - began_s)

    async def ask_async(self, now_s: float, server_time: Callable[[], Awaitable[float]]) -> None:
        """As `ask`."""
        if self.due(now_s):
            with suppress(Exception):
                asked_s, began_s = time.time(), time.perf_counter()
                said_s = await server_time()
                self.take(asked_s, said_s, time.perf_counter() - began_s)
