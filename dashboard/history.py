"""Series over time in a bounded store: every frame of the last minute, then coarser and coarser. Pure.

assets/store.js keeps the same tiers in the browser, so that a page open all day and a page opened now show the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import msgspec

from headrace.dashboard.series import is_peak

Row: TypeAlias = tuple[float, dict[str, float]]
"""Time of a step, and the values of the series that have one."""

TIERS = ((0.0, 60.0), (1.0, 300.0), (3.0, 900.0))
"""Step and span of each tier, seconds."""


class Columns(msgspec.Struct, frozen=True):
    """One tier: `times` (Unix seconds), and one value or None for each of them by series. `step_s` 0 = every frame."""

    step_s: float
    span_s: float
    times: list[float]
    values: dict[str, list[float | None]]


class Tier:
    """The last `span_s` seconds in steps of `step_s`: a step's mean, or its peak for the series that say so."""

    def __init__(self, step_s: float, span_s: float) -> None:
        self.step_s = step_s
        self.span_s = span_s
        self._rows: deque[Row] = deque()
        self._slot = -1
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def add(self, time: float, values: Mapping[str, float]) -> None:
        """Add the values of one frame; times that go back are folded into the step that is open."""
        if self.step_s == 0:
            self._append(time, dict(values))
            return
        slot = int(time // self.step_s)
        if slot > self._slot:
            self._close()
            self._slot = slot
        for name, value in values.items():
            count = self._counts.get(name, 0)
            before = self._sums.get(name, 0.0)
            self._sums[name] = max(before, value) if count and is_peak(name) else before + value
            self._counts[name] = count + 1

    def columns(self) -> Columns:
        """The closed steps, as columns."""
        names = sorted({name for _, row in self._rows for name in row})
        return Columns(
            self.step_s,
            self.span_s,
            [round(time, 3) for time, _ in self._rows],
            {name: [row.get(name) for _, row in self._rows] for name in names},
        )

    def go_on(self, rows: Iterable[Row]) -> None:
        """Begin with steps that were closed elsewhere, oldest first, instead of with nothing."""
        self._rows = deque(rows)
        if self._rows and self.step_s:
            self._slot = int(self._rows[-1][0] // self.step_s)

    def close(self) -> list[Row]:
        """All steps, the open one too: nothing may be added after it."""
        self._close()
        return list(self._rows)

    def _close(self) -> None:
        if self._counts:
            row = {
                name: total if is_peak(name) else float(f"{total / self._counts[name]:.6g}")
                for name, total in self._sums.items()
            }
            self._append((self._slot + 0.5) * self.step_s, row)
        self._sums, self._counts = {}, {}

    def _append(self, time: float, row: dict[str, float]) -> None:
        self._rows.append((time, row))
        while self._rows and time - self._rows[0][0] > self.span_s:
            self._rows.popleft()


class History:
    """A minute of frames, five minutes of seconds, fifteen minutes of three seconds."""

    def __init__(self) -> None:
        self._tiers = tuple(Tier(step_s, span_s) for step_s, span_s in TIERS)

    def go_on(self, rows: Sequence[Iterable[Row]]) -> None:
        """Begin with the closed steps of each tier, oldest first."""
        for tier, closed in zip(self._tiers, rows, strict=True):
            tier.go_on(closed)

    def add(self, time: float, values: Mapping[str, float]) -> None:
        for tier in self._tiers:
            tier.add(time, values)

    def columns(self) -> list[Columns]:
        return [tier.columns() for tier in self._tiers]
