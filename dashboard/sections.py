"""What a browser can ask to see of the newest frame, and the bytes of it: each section is made once, for all browsers.

    overview             everything on the overview page but the curves
    status               the dashboard itself: the bus, its viewers
    model:NAME@VERSION   one model version: confusion matrix, confidence, class mix, errors of regression

A section that says the same as before is the same object as before, so that a socket need not send it again.
Long lists are cut, and say by how much: a section stays small with hundreds of models and runs.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from headrace.curves import LIMIT, Point
from headrace.dashboard.series import HOUSEKEEPING, recent_labels, wilson
from headrace.dashboard.state import Moment, Sample, State
from headrace.events import (
    AlertView,
    Frame,
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
PIXELS_SHOWN = 32 * 32
NAME_SHOWN = 60


class Accuracy(msgspec.Struct, frozen=True):
    """Share of right predictions among `joined`, with its 95 % interval."""

    share: float
    low: float
    high: float
    joined: int


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


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The section about the dashboard's own process. `bus`: starting, up, down."""

    bus: str
    reason: str
    viewers: int
    prefix: str
    server: str
    live: int
    healed: int
    lost: int
    unknown: int


class SampleRow(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the latest predictions; `pixels` is the input as grey values of one byte each, in base64."""

    id: str
    model: str
    label: str
    confidence: float | None
    latency_ms: float | None
    created: float
    pixels: str
    shape: tuple[int, int] | None


class MomentRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one frame added to what a browser keeps."""

    number: int
    time: float
    values: dict[str, float]
    points: dict[str, dict[str, list[Point]]] = {}
    samples: list[SampleRow] = []
    truths: dict[str, str] = {}


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
        accuracy=_accuracy(correct, joined),
        groups=[_group_row(group) for group in groups[:GROUPS_SHOWN]],
        latency=frame.latency,
        models=[_model_row(model) for model in models[:MODELS_SHOWN]],
        runs=[_run_row(run) for run in frame.runs[:RUNS_SHOWN]],
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
    model = next((model for model in _models(state.frame) if key_of(model) == key), None)
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


def moment_row(moment: Moment, state: State) -> MomentRow:
    """A moment as the browser keeps it."""
    return MomentRow(
        number=moment.number,
        time=round(moment.time, 3),
        values=moment.values,
        points={
            run: {metric: _short_points(points) for metric, points in metrics.items()}
            for run, metrics in moment.points.items()
        },
        samples=sample_rows(moment.samples, state),
        truths=truth_texts(moment.truths, state),
    )


def sample_rows(samples: Iterable[Sample], state: State) -> list[SampleRow]:
    """Samples as lines of the table."""
    models = {(model.name, model.version): model for model in _models(state.frame)}
    return [_sample_row(sample, models.get((sample.event.model, sample.event.version))) for sample in samples]


def truth_texts(truths: Mapping[str, float], state: State) -> dict[str, str]:
    """What labels said, as the table shows it: the name of the class, or the value."""
    models = {(model.name, model.version): model for model in _models(state.frame)}
    events = {sample.event.prediction: sample.event for sample in state.tail}
    texts = {}
    for handle, truth in truths.items():
        event = events.get(handle)
        model = models.get((event.model, event.version)) if event else None
        if event is not None and event.label is not None:
            texts[handle] = _name(int(truth), model)
        else:
            texts[handle] = f"{truth:.4g}"
    return texts


def _sample_row(sample: Sample, model: ModelView | None) -> SampleRow:
    event = sample.event
    done = event.time or sample.position.ms / 1000
    value = "" if event.value is None else f"{event.value:.4g}"
    return SampleRow(
        id=event.prediction,
        model=f"{event.model}@{event.version}",
        label=value if event.label is None else _name(event.label, model),
        confidence=_short(event.confidence) if event.label is not None else None,
        latency_ms=round(max(0.0, done - event.created) * 1000, 3) if event.created else None,
        created=round(event.created or done, 3),
        pixels=_grey(event.inputs),
        shape=_shape(event.inputs, model),
    )


def key_of(model: ModelView) -> str:
    return f"{model.name}@{model.version}"


class Sections:
    """The bytes of sections and moments, made when first asked for and shared by all sockets."""

    def __init__(self, state: Callable[[], State], status: Callable[[], Status]) -> None:
        self._current = state
        self._status = status
        self._of: State | None = None
        self._made: dict[str, tuple[int, bytes]] = {}
        self._moments: dict[int, bytes] = {}
        self._history: tuple[int, bytes] = (-1, b"")
        self._encoder = msgspec.json.Encoder()

    def section(self, name: str) -> bytes | None:
        """JSON of a section, the same object while it says the same; None if there is no such thing (yet)."""
        state = self._state()
        made = self._made.get(name)
        if name == "status":
            return self._keep(name, state.number, self._status())
        if made is not None and made[0] == state.number:
            return made[1]
        view = overview(state) if name == "overview" else model_detail(state, name.removeprefix("model:"))
        return None if view is None else self._keep(name, state.number, view)

    def moment(self, moment: Moment) -> bytes:
        """JSON of a moment."""
        state = self._state()
        made = self._moments.get(moment.number)
        if made is None:
            made = self._moments[moment.number] = self._encoder.encode(moment_row(moment, state))
            for number in [number for number in self._moments if number < state.moments[0].number]:
                del self._moments[number]
        return made

    def history(self) -> bytes:
        """JSON of what a browser that knows nothing needs: the tiers, the curves, the tail and its truths."""
        state = self._state()
        if self._history[0] != state.number:
            past = {
                "tiers": state.history.columns(),
                "curves": {
                    run: {metric: (curve.stride, _short_points(curve.points())) for metric, curve in metrics.items()}
                    for run, metrics in state.curves.items()
                },
                "limit": LIMIT,
                "tail": sample_rows(state.tail, state),
                "truths": truth_texts(state.truths, state),
            }
            self._history = (state.number, self._encoder.encode(past))
        return self._history[1]

    def _state(self) -> State:
        state = self._current()
        if state is not self._of:
            self._of = state
            self._made, self._moments, self._history = {}, {}, (-1, b"")
        return state

    def _keep(self, name: str, number: int, view: msgspec.Struct) -> bytes:
        made = self._encoder.encode(view)
        before = self._made.get(name)
        if before is not None and before[1] == made:
            made = before[1]
        self._made[name] = (number, made)
        return made


def _models(frame: Frame | None) -> Sequence[ModelView]:
    return frame.models if frame else ()


def _model_row(model: ModelView) -> ModelRow:
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
        requests_s=_short(model.requests.s5),
        rows_s=_short(model.rows.s5),
        p95_ms=model.latency.p95_ms if model.latency and model.latency.count else None,
        accuracy=_accuracy(quality.correct, quality.joined) if classifier else None,
        mae=quality.sum_abs / quality.joined if quality.joined and not classifier else None,
    )


def _run_row(run: RunView) -> RunRow:
    return RunRow(
        run=run.run,
        name=(run.name or run.run)[:NAME_SHOWN],
        state=run.state,
        step=run.step,
        total_steps=run.total_steps,
        steps_per_s=_short(run.steps_per_s),
        ranks=run.ranks,
        started=run.started,
        ended=run.ended,
        metrics=dict(list(run.metrics.items())[:METRICS_SHOWN]),
        best=dict(list(run.best.items())[:METRICS_SHOWN]),
        params=dict(list(run.params.items())[:METRICS_SHOWN]),
        error=run.error[:TEXT_SHOWN],
    )


def _group_row(group: GroupView) -> GroupRow:
    return GroupRow(
        channel=group.channel,
        group=group.group,
        lag=group.lag,
        in_flight=group.in_flight,
        oldest_ms=_short(group.oldest_ms),
        committed_s=_short(group.committed.s5),
        dead_total=group.dead_total,
        drain_s=group.drain_s,
    )


def _accuracy(correct: int, joined: int) -> Accuracy | None:
    if joined == 0:
        return None
    low, high = wilson(correct, joined)
    return Accuracy(_short(correct / joined), _short(low), _short(high), joined)


def _name(index: int, model: ModelView | None) -> str:
    labels = model.labels if model else []
    return labels[index][:NAME_SHOWN] if 0 <= index < len(labels) else str(index)


def _short_points(points: list[Point]) -> list[Point]:
    return [(step, _short(value)) for step, value in points]


def _shape(inputs: list[float], model: ModelView | None) -> tuple[int, int] | None:
    if not inputs or len(inputs) > PIXELS_SHOWN:
        return None
    if model and model.image and model.image[0] * model.image[1] == len(inputs):
        return model.image
    return (1, len(inputs))


def _grey(inputs: list[float]) -> str:
    """Smallest value black, largest white: a picture of any row, whatever its scale."""
    if not inputs or len(inputs) > PIXELS_SHOWN:
        return ""
    finite = [value for value in inputs if math.isfinite(value)] or [0.0]
    low, high = min(finite), max(finite)
    scale = 255 / (high - low) if high > low else 0.0
    shades = bytes(int((value - low) * scale) if math.isfinite(value) else 0 for value in inputs)
    return base64.b64encode(shades).decode()


def _short(value: float) -> float:
    return float(f"{value:.6g}")
