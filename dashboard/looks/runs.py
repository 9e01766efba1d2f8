"""Runs that are in no frame, the full text of those that are looked at, and candidates: from the aggregator's state.

A frame holds the runs that go on and those that ended last. The others do not change, so their summaries are read every
few seconds and only while somebody watches and there are any; curves and candidates only when their run said something.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial

import msgspec

from headrace.bus import Bus
from headrace.curves import ENDED, RUNS_STATE, read_candidates, read_curves, read_run, run_state, search_state
from headrace.dashboard.looks import trainings
from headrace.dashboard.sections.training import run_detail, search_detail
from headrace.dashboard.state import State
from headrace.errors import CodecError
from headrace.events import Frame, RunView

READ_S = 5.0
"""Time between two readings of the summaries, and of what many candidates there are."""
MOST = 16
"""Runs whose curves or candidates one look reads; the others wait a second."""
FEW = 200
"""Candidates that may be read every second."""


@dataclass(slots=True)
class _Known:
    """A section, what the run had said when it was made, and when that was."""

    sign: object
    time: float
    view: msgspec.Struct


class Runs:
    """Fills the sections `runs`, `run:RUN` and `search:RUN`. Time is that of the frames."""

    def __init__(self) -> None:
        self._views: dict[str, RunView] = {}
        self._read: float | None = None
        self._epoch = ""
        self._known: dict[str, _Known] = {}
        self._left = 0
        """Readings that this look may still make."""

    def wants(self, name: str) -> bool:
        return trainings.wants(name)

    async def look(self, bus: Bus, state: State, names: Collection[str]) -> Mapping[str, msgspec.Struct]:
        frame = state.frame
        if frame is None:
            return {}
        if state.epoch != self._epoch:
            self._views, self._known, self._read, self._epoch = {}, {}, None, state.epoch
        await self._summaries(bus, frame)
        here = {view.run for view in frame.runs}
        self._known = {name: known for name, known in self._known.items() if name in names}
        self._left = MOST
        run, search = partial(self._run, bus, frame, here), partial(self._search, bus, frame)
        return await trainings.fill(names, self._views, here, run, search)

    async def _summaries(self, bus: Bus, frame: Frame) -> None:
        """Bring the summaries up to the frame."""
        fresh = {view.run: view for view in frame.runs}
        if 0 < frame.runs_total <= len(fresh):
            self._views, self._read = fresh, None
            return
        if self._read is None or not 0 <= frame.time - self._read < READ_S:
            self._read = frame.time
            self._views = {}
            for run, payload in (await bus.state(RUNS_STATE)).items():
                with contextlib.suppress(CodecError):
                    self._views[run] = read_run(payload).at(frame.time)
        self._views.update(fresh)

    async def _run(self, bus: Bus, frame: Frame, here: Collection[str], view: RunView) -> msgspec.Struct | None:
        """One run; its curves are read again only when it said something since, and not more often than summaries."""
        name, sign = f"run:{view.run}", (view.run in here, view)
        known = self._known.get(name)
        if known is not None and known.sign == sign:
            return known.view
        if view.run in here:
            return self._keep(name, sign, frame.time, run_detail(view, None))
        if known is not None and 0 <= frame.time - known.time < READ_S and view.state not in ENDED:
            return known.view
        if self._left <= 0:
            return known.view if known else None
        self._left -= 1
        curves = read_curves(await bus.state(run_state(view.run)))
        return self._keep(name, sign, frame.time, run_detail(view, curves))

    async def _search(self, bus: Bus, frame: Frame, view: RunView) -> msgspec.Struct | None:
        """One search; its candidates are read again only when it or one of its runs said something since."""
        name = f"search:{view.run}"
        children = [one for one in self._views.values() if one.parent == view.run]
        sign = (view.state, view.candidates, view.updated, sum(one.updated for one in children))
        known = self._known.get(name)
        if known is not None:
            pause_s = READ_S if view.candidates > FEW else 0.0
            if known.sign == sign or 0 <= frame.time - known.time < pause_s:
                return known.view
        if self._left <= 0:
            return known.view if known else None
        self._left -= 1
        saved = read_candidates(await bus.state(search_state(view.run)))
        return self._keep(name, sign, frame.time, search_detail(view, saved, children))

    def _keep(self, name: str, sign: object, time: float, view: msgspec.Struct) -> msgspec.Struct:
        self._known[name] = _Known(sign, time, view)
        return view
