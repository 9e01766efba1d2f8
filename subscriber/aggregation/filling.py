"""When something that fills will be full, told from how it grew lately. Pure.

The pace is the slope of the line of least squares through what was used in the window, so that one odd reading, or a
log that is trimmed now and then, does not change it much.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Generic, TypeVar

LEAST_SHARE: Final = 1 / 3
"""A pace is known once this part of the window has been seen."""

K = TypeVar("K")


class Filling(Generic[K]):
    """What was used of many things over the last `window_s` seconds. Times are Unix seconds."""

    def __init__(self, window_s: float, every_s: float = 1.0) -> None:
        self._window_s, self._every_s = window_s, every_s
        self._seen: dict[K, deque[tuple[float, float]]] = {}

    def step(self, key: K, used: float, now: float) -> None:
        """Take what is used of `key` at `now`; more often than every `every_s` changes nothing."""
        seen = self._seen.setdefault(key, deque())
        if seen and now < seen[-1][0]:
            seen.clear()
        if seen and now - seen[-1][0] < self._every_s:
            return
        seen.append((now, float(used)))
        while now - seen[0][0] > self._window_s:
            seen.popleft()

    def full_s(self, key: K, limit: float) -> float | None:
        """Seconds until `key` reaches `limit` at its pace; None if there is no limit, or it does not fill."""
        seen = self._seen.get(key)
        if not seen or limit <= 0:
            return None
        pace, used = _slope(seen) if self._known(seen) else 0.0, seen[-1][1]
        if used >= limit:
            return 0.0
        return (limit - used) / pace if pace > 0 else None

    def _known(self, seen: deque[tuple[float, float]]) -> bool:
        return len(seen) > 2 and seen[-1][0] - seen[0][0] >= LEAST_SHARE * self._window_s


def _slope(seen: deque[tuple[float, float]]) -> float:
    """Of the line through the points that has the smallest squared errors."""
    n = len(seen)
    mean_t = sum(t for t, _ in seen) / n
    mean_u = sum(u for _, u in seen) / n
    spread = sum((t - mean_t) ** 2 for t, _ in seen)
    return sum((t - mean_t) * (u - mean_u) for t, u in seen) / spread
