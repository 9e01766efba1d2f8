"""Training runs: a pure fold of run events into summaries and bounded curves.

Rules:

1. The summary does not depend on how the events of different ranks are interleaved.
2. An event may come late (its reader died, another took over): a value replaces one of an earlier step only, and a rank
   that ended begins anew only with a start that was logged after its end.
3. Everything is bounded: runs, ranks and metrics a run, points a curve, parameters. What is left out is counted.
4. Time is an argument: `at` is the log's time of an event, `now` the reader's, both Unix seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from headrace.curves import CLOCK, ENDED, Point, SavedRank, Span, candidate_field, part_field, read_run
from headrace.errors import CodecError
from headrace.events import Event, RunAlive, RunCandidate, RunFinished, RunMetrics, RunStarted, RunView
from headrace.subscriber.aggregation.run import FOLD, METRICS, Run, finite, shortened

RUNS: Final = 500
PARAMS: Final = 60
SHOWN: Final = 40
POINTS: Final = 4000
"""Most points and spans of one frame; the others come with the next ones."""
_NAME: Final = 200
_TEXT: Final = 500
_PACE_S: Final = 5.0
"""Speed is told from logs that lie 5 to 10 s back, or from the one before if logs are rarer."""


@dataclass(slots=True)
class Changes:
    """What to save since the last time: fields of the state `runs`, and of the states of single runs."""

    runs: dict[str, bytes] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    parts: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """Run, then field, then bytes."""
    gone_parts: dict[str, list[str]] = field(default_factory=dict)
    candidates: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """Run, then field, then bytes, of the states of searches."""
    gone_candidates: dict[str, list[str]] = field(default_factory=dict)


@dataclass(slots=True)
class Fresh:
    """What a frame adds to curves: run, metric, points by step; and the spans of those that cover several values."""

    points: dict[str, dict[str, list[Point]]] = field(default_factory=dict)
    spans: dict[str, dict[str, list[Span]]] = field(default_factory=dict)


class Runs:
    """All runs that are kept, folded from the channel `runs`."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}
        self._dirty: set[str] = set()
        self._gone: dict[str, list[str]] = {}
        self._gone_candidates: dict[str, list[str]] = {}
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
                rank = self._sign(event.run, at).rank(event.rank, event.time or at)
                rank.cost_us = event.cost_us or rank.cost_us
            case RunStarted():
                self._started(event, at)
            case RunCandidate():
                self._candidate(event, at)
            case RunFinished():
                self._finished(event, at)

    def view(self, now: float, most: int = SHOWN) -> list[RunView]:
        """Summaries, running ones first, newest first. Those that run do not change places with every sign of life:
        with more of them than are shown, the same ones are shown from frame to frame."""
        ranked = []
        for key, run in self._runs.items():
            state = run.state(now)
            over = state in ENDED
            ranked.append((over, -run.seen if over else -run.started, key, state))
        ranked.sort()
        return [self._runs[key].render(state) for _, _, key, state in ranked[:most]]

    def take_points(self, shown: list[RunView], most: int = POINTS) -> Fresh:
        """New points of the curves of the runs shown, each once; what is too much comes next time."""
        found = Fresh()
        for view in shown:
            if view.run not in self._moved or most <= 0:
                continue
            points: dict[str, list[Point]] = {}
            spans: dict[str, list[Span]] = {}
            for metric, curve in self._runs[view.run].curves.items():
                if taken := curve.take_new(most):
                    points[metric] = taken
                    most -= len(taken)
                    if metric != CLOCK and (spanned := curve.spans(taken)):
                        spans[metric] = spanned
                        most -= len(spanned)
            if points:
                found.points[view.run] = points
            if spans:
                found.spans[view.run] = spans
            if most > 0:
                self._moved.discard(view.run)
        return found

    def take_changes(self, now: float) -> Changes:
        """What to save since the last call."""
        changes = Changes(
            gone=sorted(self._gone.keys() - self._runs.keys()),
            gone_parts=self._gone,
            gone_candidates={run: names for run, names in self._gone_candidates.items() if run not in self._runs},
        )
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
            if run.judgements:
                changes.candidates[key] = {
                    candidate_field(*judged): candidate.encode() for judged, candidate in run.judgements.items()
                }
                run.judgements = {}
        self._dirty, self._gone, self._gone_candidates = set(), {}, {}
        return changes

    @classmethod
    def load(cls, summaries: Mapping[str, bytes], parts: Mapping[str, Mapping[str, bytes]]) -> Runs:
        """The runs that were saved; `parts` are the states of single runs. A broken field is left out."""
        runs = cls()
        for key, summary in summaries.items():
            try:
                runs._runs[key] = Run.load(read_run(summary), parts.get(key, {}))
            except CodecError:
                continue
        runs._moved = {key for key, run in runs._runs.items() if not all(rank.status for rank in run.ranks.values())}
        return runs

    def _sign(self, key: str, at: float) -> Run:
        """The run, marked as alive and changed."""
        run = self._runs.get(key)
        if run is None:
            run = self._runs[key] = Run(key)
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
            key=lambda key: (self._runs[key].state(now) not in ENDED, self._runs[key].seen, key),
        )
        dropped = self._runs.pop(victim)
        self._gone[victim] = [
            part_field(metric, number) for metric, curve in dropped.curves.items() for number in curve.parts()
        ]
        if dropped.candidates:
            self._gone_candidates[victim] = dropped.candidate_fields()
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
            run.params = shortened(event.params, PARAMS, _TEXT)
        if event.parent and not run.parent:
            run.parent = event.parent
        if event.parent and event.parent in self._runs:
            parent = self._runs[event.parent]
            parent.judge(event.run)
            parent.view = None
            self._dirty.add(event.parent)

    def _metrics(self, event: RunMetrics, at: float) -> None:
        run = self._sign(event.run, at)
        time, step = event.time or at, event.step
        rank = run.rank(event.rank, time)
        rank.step = max(rank.step, step)
        self._pace(rank, time, step)
        run.tick(step, time)
        for metric, value in event.metrics.items():
            if not run.log(metric, step, value):
                self.left_out += 1
                continue
            held = rank.metrics.get(metric)
            if held is None or step >= held[0]:
                rank.metrics[metric] = (step, finite(value))
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
        if not 0 < len(event.candidate) <= _NAME:
            self.left_out += 1
            return
        if event.folds > 0:
            event = run.gather(event)
        elif event.status != "running":
            run.folds.pop((event.candidate, event.rung), None)
        if not run.propose(event, at):
            self.left_out += 1
        if event.status == "running":
            return
        number = run.judge(event.candidate, event.rung)
        for metric, value in event.metrics.items():
            if FOLD in metric:
                continue
            name = f"candidates/{metric}"
            if not run.log(name, number, value):
                self.left_out += 1
                continue
            rank.metrics[name] = (number, finite(value))
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
            rank.metrics[metric] = (held[0] if held else rank.step, finite(value))
            if (final := finite(value)) is not None:
                run.improve(metric, final)
