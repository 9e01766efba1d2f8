"""One training run: its ranks, curves and candidates, and the summary of them. Pure; the rules stand in `runs`."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from headrace.curves import (
    CLOCK,
    ENDED,
    Curve,
    SavedCandidate,
    SavedRank,
    SavedRun,
    candidate_field,
    is_smaller_better,
    read_curves,
    run_condition,
)
from headrace.events import RunCandidate, RunView, Scalar

RANKS: Final = 256
METRICS: Final = 20
CANDIDATES: Final = 1000
RUNGS: Final = 16
CANDIDATE_PARAMS: Final = 30
CANDIDATE_TEXT: Final = 120
FOLD: Final = " fold "
"""Between a metric and the number of the fold that it is of: such values stand in tables, and make no curves."""


class Run:
    """One run: its ranks, curves and candidates. `view` is remembered until something changes.

    Of a candidate only the name stays here; `judgements` holds those that are still to be saved.
    """

    __slots__ = (
        "best",
        "candidates",
        "curves",
        "folds",
        "judged",
        "judgements",
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
        self.candidates: dict[str, tuple[int, int]] = {}
        """Number of each candidate in the order in which they came, and the highest rung at which it was judged."""
        self.folds: dict[tuple[str, int], dict[int, RunCandidate]] = {}
        """Folds of candidates of which not all are in, by candidate and rung. They are not saved: whoever takes over
        has these candidates running until their search says what they came to."""
        self.judged = 0
        self.judgements: dict[tuple[str, int], SavedCandidate] = {}
        self.seen = 0.0
        self.view: RunView | None = None

    @property
    def started(self) -> float:
        """When the first rank started; 0 if none has said."""
        return min((rank.started for rank in self.ranks.values() if rank.started), default=0.0)

    def rank(self, number: int, at: float) -> SavedRank:
        rank = self.ranks.get(number)
        if rank is None:
            rank = SavedRank(started=at)
            if len(self.ranks) < RANKS:
                self.ranks[number] = rank
        return rank

    def state(self, now: float) -> str:
        return run_condition([rank.status for rank in self.ranks.values()], now - self.seen)

    def curve(self, metric: str) -> Curve | None:
        curve = self.curves.get(metric)
        if curve is None:
            if len(self.curves) - (CLOCK in self.curves) >= METRICS:
                return None
            curve = self.curves[metric] = Curve()
        return curve

    def log(self, metric: str, step: int, value: float | None) -> bool:
        """One value into its curve; whether the metric is kept."""
        curve = None if metric == CLOCK else self.curve(metric)
        if curve is None:
            return False
        if value is not None and math.isfinite(value):
            curve.add(step, value)
            self.improve(metric, value)
        return True

    def tick(self, step: int, time: float) -> None:
        """Note when a step was logged."""
        clock = self.curves.get(CLOCK)
        if clock is None:
            clock = self.curves[CLOCK] = Curve()
        clock.add(step, time)

    def improve(self, metric: str, value: float) -> None:
        best = self.best.get(metric)
        if best is None or (value < best if is_smaller_better(metric) else value > best):
            self.best[metric] = value

    def judge(self, candidate: str, rung: int = 0) -> int:
        """Count a candidate once; its number in order of judgement."""
        number, highest = self.candidates.get(candidate, (0, 0))
        if not number:
            self.judged += 1
            number = self.judged
        if candidate in self.candidates or len(self.candidates) < CANDIDATES:
            self.candidates[candidate] = (number, max(highest, rung))
        return number

    def propose(self, event: RunCandidate, at: float) -> bool:
        """Keep what is known of a candidate at its rung, to be saved; False if there is no room for it."""
        known = self.candidates.get(event.candidate)
        if not 0 <= event.rung < RUNGS or (known is None and len(self.candidates) >= CANDIDATES):
            return False
        if event.status == "running" and known is not None and event.rung <= known[1]:
            return True  # it comes late: the judgement was here before
        number = known[0] if event.status == "running" and known else 0
        if event.status != "running":
            number = self.judge(event.candidate, event.rung)
        self.judgements[event.candidate, event.rung] = SavedCandidate(
            candidate=event.candidate,
            number=number,
            status=event.status,
            rung=event.rung,
            resource=event.resource,
            time=event.time or at,
            params=shortened(event.params, CANDIDATE_PARAMS, CANDIDATE_TEXT),
            metrics={metric: finite(value) for metric, value in list(event.metrics.items())[:METRICS]},
        )
        return True

    def gather(self, event: RunCandidate) -> RunCandidate:
        """One fold as a judgement of the folds so far: means under the names of the metrics, then fold by fold.

        It says `running` until all folds are in.
        """
        key = (event.candidate, event.rung)
        if key not in self.folds and len(self.folds) >= CANDIDATES:
            return event
        folds = self.folds.setdefault(key, {})
        folds[event.fold] = event
        status: Literal["running", "finished", "failed"] = "running"
        if len(folds) >= event.folds:
            del self.folds[key]
            status = "failed" if any(fold.status == "failed" for fold in folds.values()) else "finished"
        values: defaultdict[str, list[float]] = defaultdict(list)
        single: dict[str, float | None] = {}
        for number, fold in sorted(folds.items()):
            for metric, value in fold.metrics.items():
                single[f"{metric}{FOLD}{number}"] = value
                values[metric].append(math.nan if value is None else value)
        means = {metric: math.fsum(found) / len(found) for metric, found in values.items()}
        return msgspec.structs.replace(event, status=status, metrics=dict(list({**means, **single}.items())[:METRICS]))

    def candidate_fields(self) -> list[str]:
        """Every field under which candidates may be saved."""
        return [candidate_field(name, rung) for name, (_, most) in self.candidates.items() for rung in range(most + 1)]

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
        over = state in ENDED
        self.view = RunView(
            run=self.run,
            name=self.name or self.run,
            state=state,
            parent=self.parent,
            params=self.params,
            started=self.started,
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
            view=self.render(self.state(now)),
            ranks=self.ranks,
            candidates=list(self.candidates),
            rungs=[rung for _, rung in self.candidates.values()],
            seen=self.seen,
        ).encode()

    @classmethod
    def load(cls, saved: SavedRun, parts: Mapping[str, bytes]) -> Run:
        view = saved.view
        run = cls(view.run)
        run.name, run.parent, run.params, run.total_steps = view.name, view.parent, view.params, view.total_steps
        run.best = {metric: value for metric, value in view.best.items() if value is not None}
        run.judged = view.candidates
        rungs = saved.rungs or [0] * len(saved.candidates)
        run.candidates = {
            candidate: (number, rung)
            for number, (candidate, rung) in enumerate(zip(saved.candidates, rungs, strict=False), 1)
        }
        run.ranks, run.seen = saved.ranks, saved.seen
        run.curves = read_curves(parts)
        return run


def shortened(params: Mapping[str, Scalar], most: int, chars: int) -> dict[str, Scalar]:
    """Parameters within a bound: at most `most` of them, texts of at most `chars` characters."""
    return {
        key[:chars]: value[:chars] if isinstance(value, str) else value for key, value in list(params.items())[:most]
    }


def finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
