"""The server's clock as seen from here: counters and positions are dated by it, and it may differ from ours. Pure."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final

_REMEMBERED: Final = 40


class ServerTime:
    """Unix time of the server, never ahead of it: a second that is over by this clock is over on the server.

    Each position that a call returned dates a moment before the reply came, so the difference to our clock at the reply
    is too small by the way back. The largest of the last ones is nearest to the truth and still not above it.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._offsets: deque[float] = deque(maxlen=_REMEMBERED)

    def observe(self, server_ms: int) -> None:
        """The server dated something `server_ms` within a call that has just returned."""
        self._offsets.append(server_ms / 1000 - self._clock())

    def __call__(self) -> float:
        return self._clock() + max(self._offsets, default=0.0)
