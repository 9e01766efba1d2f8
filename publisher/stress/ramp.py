"""Where the knee is: the highest rate that keeps the target, found by growing and then halving. Pure."""

from __future__ import annotations

GROWTH = 1.5
HALVINGS = 3
LARGEST = 10_000_000.0


class Ramp:
    """Rates to try, one after the other: `rate` is the next, None at the end; `knee` the highest that was held."""

    def __init__(self, first: float) -> None:
        self.rate: float | None = first
        self.knee: float | None = None
        self._broken: float | None = None
        self._halvings = HALVINGS

    def tell(self, held: bool) -> None:
        """What became of `rate`."""
        assert self.rate is not None
        if held:
            self.knee = self.rate if self.knee is None else max(self.knee, self.rate)
        else:
            self._broken = self.rate
        self.rate = self._next()

    def _next(self) -> float | None:
        if self._broken is None:
            assert self.knee is not None
            return self.knee * GROWTH if self.knee * GROWTH <= LARGEST else None
        if self._halvings == 0:
            return None
        self._halvings -= 1
        return (self._broken + (self.knee or 0.0)) / 2
