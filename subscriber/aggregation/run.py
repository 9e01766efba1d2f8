"""One training run: its ranks, curves and candidates, and the summary of them. Pure; the rules stand in `runs`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Final

from headrace.curves import Curve, SavedRank, SavedRun, read_curves
from headrace.events import RunView, Scalar

RANKS: Final = 256
METRICS: Final = 20
CANDIDATES: Final = 1000
STALLED_S: Final = 15.0
CRASHED_S: Final = 60.0
ENDED: Final = ("finished", "failed", "crashed")
_SMALLER: Final = re.compile(r"^(?!neg_).*(loss|error|mae|mse)", re.IGNORECASE)


class Run:
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
        over = state in ENDED
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
    def load(cls, saved: SavedRun, parts: Mapping[str, bytes]) -> Run:
        view = saved.view
        run = cls(view.run)
        run.name, run.parent, run.params, run.total_steps = view.name, view.parent, view.params, view.total_steps
        run.best = {metric: value for metric, value in view.best.items() if value is not None}
        run.judged, run.candidates = view.candidates, set(saved.candidates)
        run.ranks, run.seen = saved.ranks, saved.seen
        run.curves = read_curves(parts)
        return run


_smaller_names: dict[str, bool] = {}


def _smaller(metric: str) -> bool:
    """Whether smaller values of the metric are better, by its name."""
    known = _smaller_names.get(metric)
    if known is None:
        if len(_smaller_names) > 10_000:
            _smaller_names.clear()
        known = _smaller_names[metric] = bool(_SMALLER.search(metric))
    return known


def finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
