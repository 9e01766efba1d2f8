"""The sections of the training page: lines of runs, one run in full, the candidates of a search. Pure.

training     the runs of the newest frame
runs         those that are in no frame any more
run:RUN      one run in full
search:RUN   the candidates of a search, rung by rung, as they came
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from headrace.curves import ENDED, LIMIT, Curve, SavedCandidate
from headrace.dashboard.sections.rows import NAME_SHOWN, Drawn, drawn_curve, short
from headrace.dashboard.state import State
from headrace.events import RunView, Scalar

ERROR_SHOWN = 160
PARAMS_SHOWN = 6
"""Parameters in a line of the table; `run:RUN` has all of them."""
PARAM_CHARS = 24
CANDIDATES_SHOWN = 2000


class RunLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line of the table of runs; what is 0 or empty is left out of the JSON."""

    run: str
    name: str
    state: str
    parent: str = ""
    step: int = 0
    total_steps: int = 0
    steps_per_s: float = 0.0
    ranks: int = 1
    candidates: int = 0
    started: float = 0.0
    updated: float = 0.0
    ended: float = 0.0
    metrics: dict[str, float | None] = {}
    best: dict[str, float | None] = {}
    params: dict[str, Scalar] = {}
    error: str = ""


class Training(msgspec.Struct, frozen=True, kw_only=True):
    """The runs of the newest frame, of `total` that are kept."""

    time: float
    total: int
    runs: list[RunLine]


class PastRuns(msgspec.Struct, frozen=True, kw_only=True):
    """The runs that are in no frame any more."""

    runs: list[RunLine]


class RunDetail(msgspec.Struct, frozen=True, kw_only=True):
    """One run in full. `curves` are (stride, points) by metric; None where the frames bring them."""

    line: RunLine
    params: dict[str, Scalar]
    error: str
    cost_us: float
    curves: dict[str, tuple[int, list[Drawn]]] | None = None
    limit: int = LIMIT


class CandidateLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One candidate at one rung. `number` counts the candidates as they came; `run` is its own run, if it has one."""

    candidate: str
    number: int
    status: str
    rung: int = 0
    resource: float = 0.0
    time: float = 0.0
    run: str = ""
    params: dict[str, Scalar] = {}
    metrics: dict[str, float | None] = {}


class SearchDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A search: its candidates as they came, and how many are not shown."""

    run: str
    name: str
    state: str
    candidates: list[CandidateLine]
    cut: int = 0


def training(state: State, _: str = "") -> Training | None:
    """The runs of the newest frame; None before the first."""
    frame = state.frame
    if frame is None:
        return None
    return Training(
        time=frame.time,
        total=max(frame.runs_total, len(frame.runs)),
        runs=[run_line(view) for view in frame.runs],
    )


def past_runs(views: Iterable[RunView]) -> PastRuns:
    """Runs that are in no frame, those that ended last first."""
    return PastRuns(runs=[run_line(view) for view in sorted(views, key=lambda view: (-view.updated, view.run))])


def run_line(view: RunView) -> RunLine:
    params = list(view.params.items())[:PARAMS_SHOWN]
    return RunLine(
        run=view.run,
        name=(view.name or view.run)[:NAME_SHOWN],
        state=view.state,
        parent=view.parent,
        step=view.step,
        total_steps=view.total_steps,
        steps_per_s=short(view.steps_per_s),
        ranks=view.ranks,
        candidates=view.candidates,
        started=round(view.started, 3),
        updated=round(view.updated, 3),
        ended=round(view.ended, 3),
        metrics=_short(view.metrics),
        best=_short(view.best),
        params={key: value[:PARAM_CHARS] if isinstance(value, str) else value for key, value in params},
        error=view.error[:ERROR_SHOWN],
    )


def run_detail(view: RunView, curves: Mapping[str, Curve] | None) -> RunDetail:
    """One run in full; `curves` of one that is in no frame."""
    return RunDetail(
        line=run_line(view),
        params=view.params,
        error=view.error,
        cost_us=short(view.cost_us),
        curves=None if curves is None else {metric: drawn_curve(metric, curve) for metric, curve in curves.items()},
    )


def search_detail(search: RunView, saved: Iterable[SavedCandidate], children: Iterable[RunView]) -> SearchDetail:
    """The candidates of a search: what it said of them, and its nested runs. A run that it also judged counts once."""
    lines = [
        CandidateLine(
            candidate=one.candidate,
            number=one.number,
            status=one.status,
            rung=one.rung,
            resource=short(one.resource),
            time=round(one.time, 3),
            params=one.params,
            metrics=_short(one.metrics),
        )
        for one in saved
    ]
    judged = {line.candidate for line in lines}
    lines += [_child(view) for view in children if view.run not in judged and view.name not in judged]
    numbers: dict[str, int] = {}
    for line in sorted(lines, key=lambda line: (line.status == "running", line.time, line.number)):
        numbers.setdefault(line.run or line.candidate, len(numbers) + 1)
    lines = [msgspec.structs.replace(line, number=numbers[line.run or line.candidate]) for line in lines]
    lines.sort(key=lambda line: (line.number, line.rung))
    return SearchDetail(
        run=search.run,
        name=(search.name or search.run)[:NAME_SHOWN],
        state=search.state,
        candidates=lines[:CANDIDATES_SHOWN],
        cut=max(0, len(lines) - CANDIDATES_SHOWN),
    )


def _child(view: RunView) -> CandidateLine:
    status = {"finished": "finished", "failed": "failed", "crashed": "failed"}.get(view.state, "running")
    return CandidateLine(
        candidate=(view.name or view.run)[:NAME_SHOWN],
        number=0,
        status=status,
        resource=float(view.step),
        time=round(view.ended if view.state in ENDED else view.started, 3),
        run=view.run,
        params=view.params,
        metrics=_short(view.best),
    )


def _short(values: Mapping[str, float | None]) -> dict[str, float | None]:
    return {name: None if value is None else short(value) for name, value in values.items()}
