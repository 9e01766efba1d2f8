"""The overview's section, and that of one model version. Pure.

Long lists are cut, and say by how much: a section stays small with hundreds of models and runs.
"""

from __future__ import annotations

import msgspec

from headrace.dashboard.sections.rows import NAME_SHOWN, Accuracy, accuracy, key_of, models_of, short
from headrace.dashboard.series import HOUSEKEEPING, recent_labels
from headrace.dashboard.state import State
from headrace.events import (
    AlertView,
    GroupView,
    LatencyView,
    LiveView,
    ModelView,
    RunView,
    Scalar,
    ServerView,
    WorkerView,
)

MODELS_SHOWN = 8
RUNS_SHOWN = 8
WORKERS_SHOWN = 16
GROUPS_SHOWN = 12
METRICS_SHOWN = 8
TEXT_SHOWN = 200


class ModelRow(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the table of models; `key` names its section."""

    key: str
    name: str
    version: int
    champion: bool
    kind: str
    labels: list[str]
    image: tuple[int, int] | None
    requests_s: float
    rows_s: float
    p95_ms: float | None
    accuracy: Accuracy | None
    mae: float | None


class RunRow(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the table of runs."""

    run: str
    name: str
    state: str
    step: int
    total_steps: int
    steps_per_s: float
    ranks: int
    started: float
    ended: float
    metrics: dict[str, float | None]
    best: dict[str, float | None]
    params: dict[str, Scalar]
    error: str


class GroupRow(msgspec.Struct, frozen=True, kw_only=True):
    """What one group still has to do."""

    channel: str
    group: str
    lag: int
    in_flight: int
    oldest_ms: float
    committed_s: float
    dead_total: int
    drain_s: float | None


class Cut(msgspec.Struct, frozen=True):
    """How many lines of each list are not shown."""

    models: int = 0
    runs: int = 0
    workers: int = 0
    groups: int = 0


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """The section of the overview page."""

    number: int
    time: float
    aggregator: str
    accuracy: Accuracy | None
    groups: list[GroupRow]
    latency: list[LatencyView]
    models: list[ModelRow]
    runs: list[RunRow]
    workers: list[WorkerView]
    server: ServerView
    live: LiveView
    alerts: list[AlertView]
    shown: int
    scored: int
    """Predictions in the tail, and rows that were scored meanwhile."""
    cut: Cut


class ModelDetail(msgspec.Struct, frozen=True, kw_only=True):
    """The section of one model version. `confusion`: rows are the true classes, columns the predicted ones."""

    key: str
    kind: str
    labels: list[str]
    joined: int
    confusion: list[list[int]]
    confidence: list[int]
    classes: list[int]
    mae: float | None
    rmse: float | None
    r2: float | None


def overview(state: State) -> Overview | None:
    """The overview; None before the first frame."""
    frame = state.frame
    if frame is None:
        return None
    models = sorted(frame.models, key=lambda model: (not model.champion, -model.requests.s30, model.name))
    groups = [group for group in frame.groups if group.channel not in HOUSEKEEPING]
    groups.sort(key=lambda group: -(group.lag + group.in_flight))
    joined, correct = recent_labels(frame.models, frame.time)
    return Overview(
        number=state.number,
        time=frame.time,
        aggregator=frame.aggregator,
        accuracy=accuracy(correct, joined),
        groups=[group_row(group) for group in groups[:GROUPS_SHOWN]],
        latency=frame.latency,
        models=[model_row(model) for model in models[:MODELS_SHOWN]],
        runs=[run_row(run) for run in frame.runs[:RUNS_SHOWN]],
        workers=frame.workers[:WORKERS_SHOWN],
        server=frame.server,
        live=frame.live,
        alerts=list(state.alerts.values()),
        shown=len(state.tail),
        scored=sum(sample.stands_for for sample in state.tail),
        cut=Cut(
            models=max(0, len(models) - MODELS_SHOWN),
            runs=max(0, len(frame.runs) - RUNS_SHOWN),
            workers=max(0, len(frame.workers) - WORKERS_SHOWN),
            groups=max(0, len(groups) - GROUPS_SHOWN),
        ),
    )


def model_detail(state: State, key: str) -> ModelDetail | None:
    """One model version; None if the frame does not have it."""
    model = next((model for model in models_of(state.frame) if key_of(model) == key), None)
    if model is None:
        return None
    quality = model.quality
    n = quality.joined
    spread = quality.sum_y2 - quality.sum_y**2 / n if n else 0.0
    return ModelDetail(
        key=key,
        kind=model.kind,
        labels=model.labels,
        joined=n,
        confusion=quality.confusion,
        confidence=model.confidence,
        classes=model.classes,
        mae=quality.sum_abs / n if n else None,
        rmse=(quality.sum_sq / n) ** 0.5 if n else None,
        r2=1 - quality.sum_sq / spread if spread > 0 else None,
    )


def model_row(model: ModelView) -> ModelRow:
    quality = model.quality
    classifier = model.kind == "classification"
    return ModelRow(
        key=key_of(model),
        name=model.name,
        version=model.version,
        champion=model.champion,
        kind=model.kind,
        labels=[label[:NAME_SHOWN] for label in model.labels[:20]],
        image=model.image,
        requests_s=short(model.requests.s5),
        rows_s=short(model.rows.s5),
        p95_ms=model.latency.p95_ms if model.latency and model.latency.count else None,
        accuracy=accuracy(quality.correct, quality.joined) if classifier else None,
        mae=quality.sum_abs / quality.joined if quality.joined and not classifier else None,
    )


def run_row(run: RunView) -> RunRow:
    return RunRow(
        run=run.run,
        name=(run.name or run.run)[:NAME_SHOWN],
        state=run.state,
        step=run.step,
        total_steps=run.total_steps,
        steps_per_s=short(run.steps_per_s),
        ranks=run.ranks,
        started=run.started,
        ended=run.ended,
        metrics=dict(list(run.metrics.items())[:METRICS_SHOWN]),
        best=dict(list(run.best.items())[:METRICS_SHOWN]),
        params=dict(list(run.params.items())[:METRICS_SHOWN]),
        error=run.error[:TEXT_SHOWN],
    )


def group_row(group: GroupView) -> GroupRow:
    return GroupRow(
        channel=group.channel,
        group=group.group,
        lag=group.lag,
        in_flight=group.in_flight,
        oldest_ms=short(group.oldest_ms),
        committed_s=short(group.committed.s5),
        dead_total=group.dead_total,
        drain_s=group.drain_s,
    )
