"""Training events: what a run says of itself. Channel `runs`."""

from __future__ import annotations

from typing import Literal

from headrace.events.base import Event, Scalar


class RunStarted(Event, frozen=True, kw_only=True, tag="run.started"):
    """A training run, or one rank of it, begins. `parent` is the search that a nested run belongs to."""

    run: str
    name: str = ""
    params: dict[str, Scalar] = {}
    parent: str = ""
    rank: int = 0
    world_size: int = 1
    total_steps: int = 0
    host: str = ""
    pid: int = 0


class RunMetrics(Event, frozen=True, kw_only=True, tag="run.metrics"):
    """Metrics at one step of one rank; a value that is not finite is None in JSON."""

    run: str
    step: int
    metrics: dict[str, float | None]
    rank: int = 0


class RunAlive(Event, frozen=True, kw_only=True, tag="run.alive"):
    """The process of a run is alive though it may log nothing; sent every few seconds."""

    run: str
    rank: int = 0
    cost_us: float = 0.0
    """Mean time of a step in our code so far, as in `run.finished`."""


class RunCandidate(Event, frozen=True, kw_only=True, tag="run.candidate"):
    """One trial of a search was judged. `rung` and `resource` are those of halving searches.

    With `folds`, only one `fold` of so many was, counted from 1. Different processes judge them: the aggregator puts
    them together, and the candidate is judged when all are in.
    """

    run: str
    candidate: str
    params: dict[str, Scalar] = {}
    metrics: dict[str, float | None] = {}
    status: Literal["running", "finished", "failed", "pruned"] = "finished"
    rung: int = 0
    resource: float = 0.0
    fold: int = 0
    folds: int = 0
    rank: int = 0


class RunFinished(Event, frozen=True, kw_only=True, tag="run.finished"):
    """A run ended: `finished`, `failed` (its code raised `error`), or `crashed` (its process ended without a word)."""

    run: str
    status: Literal["finished", "failed", "crashed"] = "finished"
    error: str = ""
    rank: int = 0
    steps: int = 0
    duration_s: float = 0.0
    summary: dict[str, float | None] = {}
    cost_us: float = 0.0
    """Mean time of one step in our code in the training thread, microseconds."""
