"""The overview's section, and that of one model version. Pure.

Long lists are cut, and say by how much: a section stays small with hundreds of models and runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

import msgspec

from headrace.channels import SCORERS
from headrace.dashboard.sections.rows import NAME_SHOWN, Accuracy, accuracy, key_of, models_of, short
from headrace.dashboard.series import DERIVED, HOUSEKEEPING, recent_labels
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
WORKERS_SHOWN = 12
GROUPS_SHOWN = 10
METRICS_SHOWN = 5
PARAMS_SHOWN = 4
ALERTS_SHOWN = 5
TEXT_SHOWN = 120
VALUE_SHOWN = 30


class ModelRow(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the table of models; `key` names its section."""

    key: str
    name: str
    version: int
    champion: bool
    kind: str
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


class WorkerRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A living process; `age_s` is the time since its last sign of life."""

    worker: str
    kind: str
    host: str = ""
    pid: int = 0
    age_s: float = 0.0
    rate: float = 0.0
    batch_mean: float = 0.0
    busy: float = 0.0
    memory_bytes: int = 0
    models: dict[str, int] = {}
    state: str = "up"


class AlertRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An alert that is raised now."""

    name: str
    subject: str = ""
    severity: str = "warning"
    text: str = ""
    since: float = 0.0


class Cut(msgspec.Struct, frozen=True):
    """How many lines of each list are not shown."""

    models: int = 0
    runs: int = 0
    workers: int = 0
    groups: int = 0
    alerts: int = 0


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """The section of the overview page."""

    number: int
    time: float
    aggregator: str
    published: int
    """Events in all, of the channels that are filled from outside."""
    results: int
    """Requests scored in all: those that scorers have decided, without the dead letters among them."""
    accuracy: Accuracy | None
    groups: list[GroupRow]
    latency: list[LatencyView]
    models: list[ModelRow]
    runs: list[RunRow]
    workers: list[WorkerRow]
    server: ServerView
    live: LiveView
    alerts: list[AlertRow]
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
    alerts = sorted(state.alerts.values(), key=lambda alert: alert.severity != "critical")
    joined, correct = recent_labels(frame.models, frame.time)
    return Overview(
        number=state.number,
        time=frame.time,
        aggregator=frame.aggregator,
        published=sum(channel.total for channel in frame.channels if channel.name not in DERIVED),
        results=sum(group.total - group.dead_total for group in frame.groups if group.group == SCORERS),
        accuracy=accuracy(correct, joined),
        groups=[group_row(group) for group in groups[:GROUPS_SHOWN]],
        latency=frame.latency,
        models=[model_row(model) for model in models[:MODELS_SHOWN]],
        runs=[run_row(run) for run in frame.runs[:RUNS_SHOWN]],
        workers=[_worker(worker) for worker in frame.workers[:WORKERS_SHOWN]],
        server=frame.server,
        live=frame.live,
        alerts=[_alert(alert) for alert in alerts[:ALERTS_SHOWN]],
        shown=len(state.tail),
        scored=sum(sample.stands_for for sample in state.tail),
        cut=Cut(
            models=max(0, len(models) - MODELS_SHOWN),
            runs=max(0, len(frame.runs) - RUNS_SHOWN),
            workers=max(0, len(frame.workers) - WORKERS_SHOWN),
            groups=max(0, len(groups) - GROUPS_SHOWN),
            alerts=max(0, len(alerts) - ALERTS_SHOWN),
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
        metrics=_first(run.metrics),
        best=_first(run.best),
        params={name[:VALUE_SHOWN]: _brief(value) for name, value in islice(run.params.items(), PARAMS_SHOWN)},
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


def _first(metrics: Mapping[str, float | None]) -> dict[str, float | None]:
    """The first metrics, losses before others as the page puts them; their names stay whole, as curves go by them."""
    names = sorted(metrics, key=lambda name: not ("loss" in name or "error" in name))[:METRICS_SHOWN]
    return {name: None if (value := metrics[name]) is None else short(value) for name in names}


def _brief(value: Scalar) -> Scalar:
    return value[:VALUE_SHOWN] if isinstance(value, str) else value


def _worker(worker: WorkerView) -> WorkerRow:
    return WorkerRow(
        worker=worker.worker[:NAME_SHOWN],
        kind=worker.kind,
        host=worker.host[:VALUE_SHOWN],
        pid=worker.pid,
        age_s=short(worker.age_s),
        rate=short(worker.rate),
        batch_mean=short(worker.batch_mean),
        busy=short(worker.busy),
        memory_bytes=worker.memory_bytes,
        models=dict(islice(worker.models.items(), PARAMS_SHOWN)),
        state=worker.state,
    )


def _alert(alert: AlertView) -> AlertRow:
    return AlertRow(
        name=alert.name[:NAME_SHOWN],
        subject=alert.subject[:NAME_SHOWN],
        severity=alert.severity,
        text=alert.text[:TEXT_SHOWN],
        since=alert.since,
    )
