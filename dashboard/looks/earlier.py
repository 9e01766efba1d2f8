"""Runs and candidates as they were at a moment of the past, from what the aggregator has saved of them since.

a run that had said its last          exact: nothing came since
a run in the frame of the moment      exact: the frame has it
one that went on, in no frame         its curves, cut where its clock was at that moment
a candidate that was judged           exact
one that was being tried              from the entries of its channel before the moment, as far as TRIED goes back
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Mapping
from functools import partial
from typing import Final

import msgspec

from headrace.backwards import backwards
from headrace.bus import Bus
from headrace.channels import RUNS
from headrace.codec import decode
from headrace.curves import (
    CLOCK,
    RUNS_STATE,
    Curve,
    SavedCandidate,
    SavedRun,
    is_smaller_better,
    read_candidates,
    read_curves,
    read_run,
    run_state,
    search_state,
)
from headrace.dashboard.looks import trainings
from headrace.dashboard.sections.training import run_detail, search_detail
from headrace.dashboard.state import State
from headrace.errors import CodecError
from headrace.events import RunCandidate, RunView
from headrace.positions import Position

CUT: Final = 48
"""Runs that went on and are in no frame whose curves are read; of more than that the newest."""
TRIED: Final = 2_000
TRIED_BYTES: Final = 4 * 1024 * 1024
"""Entries of the channel of runs, before the moment, in which candidates that were being tried are found."""
PARAMS: Final = 30
PARAM_CHARS: Final = 120
"""Of a candidate, as the aggregator keeps them."""
JUDGED: Final = "candidates/"
"""Begins the names of curves whose steps are numbers of candidates."""


class EarlierRuns:
    """Fills the sections `runs`, `run:RUN` and `search:RUN` of the moment of the state that it is given."""

    def __init__(self) -> None:
        self._views: dict[str, RunView] | None = None
        self._curves: dict[str, dict[str, Curve]] = {}
        """Of runs that went on after the moment, cut there."""

    def wants(self, name: str) -> bool:
        return trainings.wants(name)

    async def look(self, bus: Bus, state: State, names: Collection[str]) -> Mapping[str, msgspec.Struct]:
        frame = state.frame
        if frame is None:
            return {}
        here = {view.run: view for view in frame.runs}
        if self._views is None:
            shown = 0 < frame.runs_total <= len(here)
            self._views = ({} if shown else await self._summaries(bus, frame.time, here)) | here
        run, search = partial(self._run, bus, here), partial(self._search, bus, frame.time, state.position)
        return await trainings.fill(names, self._views, here, run, search)

    async def _summaries(self, bus: Bus, now: float, here: Collection[str]) -> dict[str, RunView]:
        views, went_on = {}, []
        for run, payload in (await bus.state(RUNS_STATE)).items():
            with contextlib.suppress(CodecError):
                saved = read_run(payload)
                if saved.seen <= now:
                    views[run] = saved.at(now)
                elif saved.view.started <= now and run not in here:
                    went_on.append(saved)
        went_on.sort(key=lambda saved: -saved.view.started)
        for saved in went_on[:CUT]:
            run = saved.view.run
            with contextlib.suppress(CodecError):
                curves = read_curves(await bus.state(run_state(run)))
                self._curves[run] = cut_at(curves, now)
                views[run] = view_at(saved, self._curves[run])
        return views

    async def _run(self, bus: Bus, here: Collection[str], view: RunView) -> msgspec.Struct:
        if view.run in here:
            return run_detail(view, None)
        curves = self._curves.get(view.run)
        if curves is None:
            curves = read_curves(await bus.state(run_state(view.run)))
        return run_detail(view, curves)

    async def _search(self, bus: Bus, now: float, stop: Position, view: RunView) -> msgspec.Struct:
        saved = read_candidates(await bus.state(search_state(view.run)))
        known = [one for one in saved if one.time <= now]
        if len(known) < len(saved):
            known += await self._tried(bus, view.run, stop, known)
        children = [one for one in (self._views or {}).values() if one.parent == view.run]
        return search_detail(view, known, children)

    async def _tried(
        self, bus: Bus, run: str, stop: Position, judged: Iterable[SavedCandidate]
    ) -> list[SavedCandidate]:
        """Candidates that had been begun and not been judged."""
        known = {(one.candidate, one.rung) for one in judged}
        highest: dict[str, int] = {}
        for name, rung in known:
            highest[name] = max(rung, highest.get(name, rung))
        found = []
        needle = run.encode()
        before = Position(stop.ms + 1, 0)
        async for page in backwards(bus, RUNS, 0, before=before, most=TRIED, most_bytes=TRIED_BYTES):
            for entry in page:
                if needle not in entry.payload:
                    continue
                with contextlib.suppress(CodecError):
                    event = decode(entry.payload)
                    if not isinstance(event, RunCandidate) or event.run != run or event.status != "running":
                        continue
                    key = event.candidate, event.rung
                    if key not in known and event.rung > highest.get(event.candidate, -1):
                        known.add(key)
                        found.append(being_tried(event, entry.position))
        return found[::-1]


def being_tried(event: RunCandidate, position: Position) -> SavedCandidate:
    """A candidate that was begun, as the aggregator keeps it. Pure."""
    return SavedCandidate(
        candidate=event.candidate,
        number=0,
        status="running",
        rung=event.rung,
        resource=event.resource,
        time=event.time or position.ms / 1000,
        params={
            key[:PARAM_CHARS]: value[:PARAM_CHARS] if isinstance(value, str) else value
            for key, value in list(event.params.items())[:PARAMS]
        },
        metrics=dict(event.metrics),
    )


def until(curve: Curve, step: int, went_on: bool) -> Curve:
    """The curve as far as `step`; of a run that went on, without the point that may cover later steps too. Pure."""
    stride = curve.stride
    points = [
        (first, value)
        for first, value in curve.points()
        if first <= step and not (went_on and (first // stride + 1) * stride - 1 > step)
    ]
    cut = Curve(curve.limit)
    cut.stride = stride
    cut.put(points, curve.spans(points))
    return cut


def cut_at(curves: Mapping[str, Curve], now: float) -> dict[str, Curve]:
    """The curves of a run that went on, cut at the step that its clock tells of Unix time `now`. Pure.

    No clock tells when candidates came: curves of their results are left out.
    """
    clock = curves.get(CLOCK)
    steps = [step for step, at in clock.points() if at <= now] if clock else []
    if not steps or clock is None:
        return {}
    last = (steps[-1] // clock.stride + 1) * clock.stride - 1
    return {metric: until(curve, last, True) for metric, curve in curves.items() if not metric.startswith(JUDGED)}


def view_at(saved: SavedRun, curves: Mapping[str, Curve]) -> RunView:
    """The summary of a run that went on, from its curves as they were: as near as their points lie. Pure."""
    metrics: dict[str, float | None] = {}
    best: dict[str, float | None] = {}
    for metric, curve in curves.items():
        points = curve.points()
        if metric == CLOCK or not points:
            continue
        metrics[metric] = points[-1][1]
        spans = curve.spans(points)
        best[metric] = (
            min([value for _, value in points] + [low for _, low, _ in spans])
            if is_smaller_better(metric)
            else max([value for _, value in points] + [high for _, _, high in spans])
        )
    clock = curves[CLOCK].points() if CLOCK in curves else []
    return msgspec.structs.replace(
        saved.view,
        state="running",
        ended=0.0,
        error="",
        step=clock[-1][0] if clock else 0,
        updated=clock[-1][1] if clock else saved.view.started,
        steps_per_s=0.0,
        metrics=metrics,
        best=best,
        candidates=0,
    )
