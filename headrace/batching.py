"""How many entries the next read asks for. Pure.

Batching of consumers is natural: a read takes what is waiting, so the batch grows with the load and a lone event waits
for nothing. What is left to decide is a bound: so many entries, and so many bytes by the mean size seen lately.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class BatchBound:
    """Never asks for more than `entries`, nor for more than about `bytes_` at the mean size seen; at least for one.

    `first` is what to ask for while no size was seen: all `entries` if it is 0.
    """

    entries: int
    bytes_: int
    first: int = 0
    _mean: float = 0.0

    def next_count(self) -> int:
        """Entries to ask for."""
        if self._mean <= 0:
            return self.first or self.entries
        return max(1, min(self.entries, int(self.bytes_ / self._mean)))

    def observe(self, count: int, size_bytes: int) -> None:
        """A read brought `count` entries of `size_bytes` together. Growth counts at once, shrinking slowly."""
        if count == 0:
            return
        mean = size_bytes / count
        self._mean = mean if mean > self._mean else 0.9 * self._mean + 0.1 * mean
