"""Training runs: a pure fold of run events into summaries and bounded curves.

Rules:

1. The summary does not depend on how the events of different ranks are interleaved.
2. An event may come late (its reader died, another took over): a value replaces one of an earlier step only, and a rank
   that ended begins anew only with a start that was logged after its end.
3. Everything is bounded: runs, ranks and metrics a run, points a curve, parameters. What is left out is counted.
4. Time is an argument: `at` is the log's time of an event, `now` the reader's, both Unix seconds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from headrace.curves import Curve, Point, SavedRank, SavedRun, part_field, read_curves, read_run
from headrace.errors import CodecError
from headrace.events import (
    Event,
    RunAlive,
    RunCandidate,
    RunFinished,
    RunMetrics,
    RunStarted,
    RunView,
    Scalar,
)

RUNS: Final = 500
RANKS: Final = 256
METRICS: Final = 20
PARAMS: Final = 60
CANDIDATES: Final = 1000
SHOWN: Final = 40
POINTS: Final = 4000
"""Most points of one frame; the others come with the next ones."""
STALLED_S: Final = 15.0
CRASHED_S: Final = 60.0
_NAME: Final = 200
_TEXT: Final = 500
_PACE_S: Final = 5.0
"""Speed is told from logs that lie 5 to 10 s back, or from the one before if logs are rarer."""
_SMALLER: Final = re.compile(r"^(?!neg_).*(loss|error|mae|mse)", re.IGNORECASE)
_ENDED: Final = ("finished", "failed", "crashed")


@dataclass(slots=True)
class Changes:
    """What to save since the last time: fields of the state `runs`, and of the states of single runs."""

    runs: dict[str, bytes] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    parts: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """Run, then field, then bytes."""
    gone_parts: dict[str, list[str]] = field(default_factory=dict)


class _Run:
    """One run: its ranks, curves and candidates. `view` is remembered until something changes."""

    __slots__ = (
        "best",
        "candidates",
        "curves",
        "judged",
        "name",
        "params",
        "parent",
        "ranks",
        "run",
        "seen",
        "total_steps",
        "view",
    )

    def __init__(self, run: str) -> None:
        self.run = run
        self.name = ""
        self.parent = ""
        self.params: dict[str, Scalar] = {}
        self.total_steps = 0
        self.ranks: dict[int, SavedRank] = {}
        self.curves: dict[str, Curve] = {}
        self.best: dict[str, float] = {}
        self.candidates: set[str] = set()
        self.judged = 0
        self.seen = 0.0
        self.view: RunView | None = None

    def rank(self, number: int, at: float) -> SavedRank:
        rank = self.ranks.get(number)
        if rank is None:
            rank = SavedRank(started=at)
            if len(self.ranks) < RANKS:
                self.ranks[number] = rank
        return rank

    def state(self, now: float) -> str:
        statuses = [rank.status for rank in self.ranks.values()]
        for bad in ("failed", "crashed"):
            if bad in statuses:  # the other ranks of a broken run may never say anything again
                return bad
        if statuses and all(statuses):
            return "finished"
        silent_s = now - self.seen
        if silent_s > CRASHED_S:
            return "crashed"
        return "stalled" if silent_s > STALLED_S else "running"

    def curve(self, metric: str) -> Curve | None:
        curve = self.curves.get(metric)
        if curve is None:
            if len(self.curves) >= METRICS:
                return None
            curve = self.curves[metric] = Curve()
        return curve

    def log(self, metric: str, step: int, value: float | None) -> bool:
        """One value into its curve; whether the metric is kept."""
        curve = self.curve(metric)
        if curve is None:
            return False
        if value is not None and math.isfinite(value):
            curve.add(step, value)
            self.improve(metric, value)
        return True

    def improve(self, metric: str, value: float) -> None:
        best = self.best.get(metric)
        if best is None or (value < best if _smaller(metric) else value > best):
            self.best[metric] = value

    def judge(self, candidate: str) -> int:
        """Count a candidate once; its number in order of judgement."""
        if candidate not in self.candidates:
            if len(self.candidates) < CANDIDATES:
                self.candidates.add(candidate)
            self.judged += 1
        return self.judged

    def latest(self) -> dict[str, float | None]:
        """The latest value of each metric, as the mean over the ranks that have one."""
        sums: dict[str, list[float]] = {}
        metrics: dict[str, float | None] = {}
        for rank in self.ranks.values():
            for metric, (_, value) in rank.metrics.items():
                metrics[metric] = None
                if value is not None:
                    sums.setdefault(metric, []).append(value)
        for metric, values in sums.items():
            metrics[metric] = math.fsum(values) / len(values)
        return dict(sorted(metrics.items()))

    def render(self, state: str) -> RunView:
        if self.view is not None and self.view.state == state:
            return self.view
        ranks = [self.ranks[number] for number in sorted(self.ranks)]
        moving = [rank.steps_per_s for rank in ranks if rank.steps_per_s > 0]
        ends = [rank.ended for rank in ranks if rank.ended]
        costs = [rank.cost_us for rank in ranks if rank.cost_us > 0]
        over = state in _ENDED
        self.view = RunView(
            run=self.run,
            name=self.name or self.run,
            state=state,
            parent=self.parent,
            params=self.params,
            started=min((rank.started for rank in ranks if rank.started), default=0.0),
            updated=self.seen,
            ended=(max(ends) if ends else self.seen) if over else 0.0,
            step=max((rank.step for rank in ranks), default=0),
            total_steps=self.total_steps,
            steps_per_s=0.0 if state == "stalled" or not moving else math.fsum(moving) / len(moving),
            ranks=max(1, len(ranks)),
            metrics=self.latest(),
            best=dict(sorted(self.best.items())),
            error=next((rank.error for rank in ranks if rank.error), ""),
            candidates=self.judged,
            cost_us=math.fsum(costs) / len(costs) if costs else 0.0,
        )
        return self.view

    def save(self, now: float) -> bytes:
        return SavedRun(
            view=self.render(self.state(now)), ranks=self.ranks, candidates=sorted(self.candidates), seen=self.seen
        ).encode()

    @classmethod
    def load(cls, saved: SavedRun, parts: Mapping[str, bytes]) -> _Run:
        view = saved.view
        run = cls(view.run)
        run.name, run.parent, run.params, run.total_steps = view.name, view.parent, view.params, view.total_steps
        run.best = {metric: value for metric, value in view.best.items() if value is not None}
        run.judged, run.candidates = view.candidates, set(saved.candidates)
        run.ranks, run.seen = saved.ranks, saved.seen
        run.curves = read_curves(parts)
        return run


class Runs:
    """All runs that are kept, folded from the channel `runs`."""

    def __init__(self) -> None:
        self._runs: dict[str, _Run] = {}
        self._dirty: set[str] = set()
        self._gone: dict[str, list[str]] = {}
        self._moved: set[str] = set()
        self.left_out = 0
        """Values and events beyond a bound."""

    def __len__(self) -> int:
        return len(self._runs)

    def fold(self, event: Event, at: float) -> None:
        """Take one event of the channel; events that are not about runs change nothing."""
        if not 0 < len(getattr(event, "run", "")) <= _NAME:
            self.left_out += 1
            return
        match event:
            case RunMetrics():
                self._metrics(event, at)
            case RunAlive():
                self._sign(event.run, at).rank(event.rank, event.time or at)
            case RunStarted():
                self._started(event, at)
            case RunCandidate():
                self._candidate(event, at)
            case RunFinished():
                self._finished(event, at)

    def view(self, now: float, most: int = SHOWN) -> list[RunView]:
        """Summaries, running ones first, then the newest."""
        ranked = sorted(
            ((state in _ENDED, -run.seen, key, state) for key, run in self._runs.items() for state in [run.state(now)])
        )
        return [self._runs[key].render(state) for _, _, key, state in ranked[:most]]

    def take_points(self, shown: list[RunView], most: int = POINTS) -> dict[str, dict[str, list[Point]]]:
        """New points of the curves of the runs shown, each once; what is too much comes next time."""
        points: dict[str, dict[str, list[Point]]] = {}
        for view in shown:
            if view.run not in self._moved or most <= 0:
                continue
            fresh: dict[str, list[Point]] = {}
            for metric, curve in self._runs[view.run].curves.items():
                taken = curve.take_new(most)
                if taken:
                    fresh[metric] = taken
                    most -= len(taken)
            if fresh:
                points[view.run] = fresh
            if most > 0:
                self._moved.discard(view.run)
        return points

    def take_changes(self, now: float) -> Changes:
        """What to save since the last call."""
        changes = Changes(gone=sorted(self._gone.keys() - self._runs.keys()), gone_parts=self._gone)
        for key in sorted(self._dirty):
            run = self._runs[key]
            changes.runs[key] = run.save(now)
            parts: dict[str, bytes] = {}
            dropped: list[str] = []
            for metric, curve in run.curves.items():
                saved, gone = curve.take_saves()
                parts.update((part_field(metric, number), payload) for number, payload in saved.items())
                dropped += [part_field(metric, number) for number in gone]
            if parts:
                changes.parts[key] = parts
            dropped += changes.gone_parts.pop(key, [])
            if dropped := [name for name in dropped if name not in parts]:
                changes.gone_parts[key] = dropped
        self._dirty, self._gone = set(), {}
        return changes

    @classmethod
    def load(cls, summaries: Mapping[str, bytes], parts: Mapping[str, Mapping[str, bytes]]) -> Runs:
        """The runs that were saved; `parts` are the states of single runs. A broken field is left out."""
        runs = cls()
        for key, summary in summaries.items():
            try:
                runs._runs[key] = _Run.load(read_run(summary), parts.get(key, {}))
            except CodecError:
                continue
        runs._moved = {key for key, run in runs._runs.items() if not all(rank.status for rank in run.ranks.values())}
        return runs

    def _sign(self, key: str, at: float) -> _Run:
        """The run, marked as alive and changed."""
        run = self._runs.get(key)
        if run is None:
            run = self._runs[key] = _Run(key)
            run.seen = at
            if len(self._runs) > RUNS:
                self._drop_one(keep=key)
        elif at > run.seen:
            run.seen = at
        run.view = None
        self._dirty.add(key)
        return run

    def _drop_one(self, keep: str) -> None:
        """Forget the run that ended longest ago, or if none has ended, the one silent for longest."""
        now = self._runs[keep].seen
        victim = min(
            (key for key in self._runs if key != keep),
            key=lambda key: (self._runs[key].state(now) not in _ENDED, self._runs[key].seen, key),
        )
        dropped = self._runs.pop(victim)
        self._gone[victim] = [
            part_field(metric, number) for metric, curve in dropped.curves.items() for number in curve.parts()
        ]
        self._dirty.discard(victim)
        self._moved.discard(victim)

    def _started(self, event: RunStarted, at: float) -> None:
        run = self._sign(event.run, at)
        stated = event.time or at
        rank = run.rank(event.rank, stated)
        rank.started = min(rank.started, stated)
        if rank.status and stated > rank.ended:
            rank.status, rank.error, rank.ended = "", "", 0.0
            rank.anchors, rank.steps_per_s = (0.0, 0, 0.0, 0), 0.0
        leads = event.rank == min(run.ranks, default=0)
        if event.name and (leads or not run.name):
            run.name = event.name[:_TEXT]
        run.total_steps = max(run.total_steps, event.total_steps)
        if event.params and (leads or not run.params):
            run.params = {
                key[:_TEXT]: value[:_TEXT] if isinstance(value, str) else value
                for key, value in list(event.params.items())[:PARAMS]
            }
        if event.parent and not run.parent:
            run.parent = event.parent
        if event.parent and event.parent in self._runs:
            parent = self._runs[event.parent]
            parent.judge(event.run)
            parent.view = None
            self._dirty.add(event.parent)

    def _metrics(self, event: RunMetrics, at: float) -> None:
        run = self._sign(event.run, at)
        rank = run.rank(event.rank, event.time or at)
        step = event.step
        rank.step = max(rank.step, step)
        self._pace(rank, event.time or at, step)
        for metric, value in event.metrics.items():
            if not run.log(metric, step, value):
                self.left_out += 1
                continue
            held = rank.metrics.get(metric)
            if held is None or step >= held[0]:
                rank.metrics[metric] = (step, _finite(value))
        self._moved.add(event.run)

    @staticmethod
    def _pace(rank: SavedRank, time: float, step: int) -> None:
        older_time, older_step, time_of, step_of = rank.anchors
        if time_of == 0.0:
            rank.anchors = (time, step, time, step)
        elif time - time_of >= _PACE_S:
            rank.anchors = (time_of, step_of, time, step)
        if time > older_time > 0.0 and step >= older_step:
            rank.steps_per_s = (step - older_step) / (time - older_time)

    def _candidate(self, event: RunCandidate, at: float) -> None:
        run = self._sign(event.run, at)
        rank = run.rank(event.rank, event.time or at)
        if event.status == "running":
            return
        number = run.judge(event.candidate)
        for metric, value in event.metrics.items():
            name = f"candidates/{metric}"
            if not run.log(name, number, value):
                self.left_out += 1
                continue
            rank.metrics[name] = (number, _finite(value))
        self._moved.add(event.run)

    def _finished(self, event: RunFinished, at: float) -> None:
        run = self._sign(event.run, at)
        stated = event.time or at
        rank = run.rank(event.rank, stated)
        rank.status, rank.error, rank.ended = event.status, event.error[: 4 * _TEXT], stated
        rank.cost_us = event.cost_us
        if event.steps and event.duration_s > 0:
            rank.steps_per_s = event.steps / event.duration_s
        for metric, value in event.summary.items():
            held = rank.metrics.get(metric)
            if held is None and len(rank.metrics) >= METRICS:
                self.left_out += 1
                continue
            rank.metrics[metric] = (held[0] if held else rank.step, _finite(value))
            if (final := _finite(value)) is not None:
                run.improve(metric, final)


_smaller_names: dict[str, bool] = {}


def _smaller(metric: str) -> bool:
    """Whether smaller values of the metric are better, by its name."""
    known = _smaller_names.get(metric)
    if known is None:
        if len(_smaller_names) > 10_000:
            _smaller_names.clear()
        known = _smaller_names[metric] = bool(_SMALLER.search(metric))
    return known


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
