"""Lines that several sections share, and what a frame adds to what a browser keeps. Pure."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import msgspec

from headrace.curves import CLOCK, Curve, Point, Span
from headrace.dashboard.series import wilson
from headrace.dashboard.stamps import stamps
from headrace.dashboard.state import Moment, Sample, State
from headrace.errors import HeadraceError
from headrace.events import Frame, ModelView, PredictionSampled
from headrace.positions import Handle

PIXELS_SHOWN = 32 * 32
NAME_SHOWN = 60

Drawn: TypeAlias = tuple[int, float] | tuple[int, float, float, float]
"""Step, value, and where it covers several values the smallest and the largest of them."""


class Accuracy(msgspec.Struct, frozen=True):
    """Share of right predictions among `joined`, with its 95 % interval."""

    share: float
    low: float
    high: float
    joined: int


class SampleRow(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the latest predictions; `pixels` is the input as grey values of one byte each, in base64."""

    id: str
    model: str
    label: str
    confidence: float | None
    latency_ms: float | None
    created: float
    stamps: list[float]
    """Created, appended, received, scored, committed: Unix seconds by the server's clock; 0 = not known."""
    tolerance: float
    """Seconds within which the clocks of its publisher and its worker are known."""
    pixels: str
    shape: tuple[int, int] | None


class MomentRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one frame added to what a browser keeps."""

    number: int
    time: float
    values: dict[str, float]
    points: dict[str, dict[str, list[Drawn]]] = {}
    samples: list[SampleRow] = []
    truths: dict[str, str] = {}


def moment_row(moment: Moment, state: State) -> MomentRow:
    """A moment as the browser keeps it."""
    return MomentRow(
        number=moment.number,
        time=round(moment.time, 3),
        values=moment.values,
        points={
            run: {
                metric: drawn(metric, points, moment.spans.get(run, {}).get(metric, ()))
                for metric, points in metrics.items()
            }
            for run, metrics in moment.points.items()
        },
        samples=sample_rows(moment.samples, state),
        truths=truth_texts(moment.truths, state),
    )


def sample_rows(samples: Iterable[Sample], state: State) -> list[SampleRow]:
    """Samples as lines of the table."""
    models = {(model.name, model.version): model for model in models_of(state.frame)}
    return [
        _sample_row(sample, models.get((sample.event.model, sample.event.version)), state.frame) for sample in samples
    ]


def truth_texts(truths: Mapping[str, float], state: State) -> dict[str, str]:
    """What labels said, as the table shows it: the name of the class, or the value."""
    models = {(model.name, model.version): model for model in models_of(state.frame)}
    events = {sample.event.prediction: sample.event for sample in state.tail}
    texts = {}
    for handle, truth in truths.items():
        event = events.get(handle)
        model = models.get((event.model, event.version)) if event else None
        if event is not None and event.label is not None:
            texts[handle] = class_name(int(truth), model)
        else:
            texts[handle] = f"{truth:.4g}"
    return texts


def _sample_row(sample: Sample, model: ModelView | None, frame: Frame | None) -> SampleRow:
    event = sample.event
    created, received, scored, tolerance_s = stamps(event, frame)
    committed = sample.position.ms / 1000
    done = scored or event.time or committed
    value = "" if event.value is None else f"{event.value:.4g}"
    return SampleRow(
        id=event.prediction,
        model=f"{event.model}@{event.version}",
        label=value if event.label is None else class_name(event.label, model),
        confidence=short(event.confidence) if event.label is not None else None,
        latency_ms=round(max(0.0, done - created) * 1000, 3) if created else None,
        created=round(created or done, 3),
        stamps=[round(at, 4) for at in (created, appended(event), received, scored, committed)],
        tolerance=round(tolerance_s, 6),
        pixels=grey(event.inputs),
        shape=shape_of(event.inputs, model),
    )


def appended(event: PredictionSampled) -> float:
    """When the request was logged, as its handle says; 0 for a handle that says nothing."""
    try:
        return Handle.parse(event.prediction).position.ms / 1000
    except HeadraceError:
        return 0.0


def key_of(model: ModelView) -> str:
    return f"{model.name}@{model.version}"


def accuracy(correct: int, joined: int) -> Accuracy | None:
    if joined == 0:
        return None
    low, high = wilson(correct, joined)
    return Accuracy(short(correct / joined), short(low), short(high), joined)


def class_name(index: int, model: ModelView | None) -> str:
    labels = model.labels if model else []
    return labels[index][:NAME_SHOWN] if 0 <= index < len(labels) else str(index)


def models_of(frame: Frame | None) -> Sequence[ModelView]:
    return frame.models if frame else ()


def drawn(metric: str, points: Iterable[Point], spans: Iterable[Span] = ()) -> list[Drawn]:
    """Points as the browser draws them: six digits of a value, milliseconds of the clock."""
    if metric == CLOCK:
        return [(step, round(value, 3)) for step, value in points]
    spanned = {step: (short(low), short(high)) for step, low, high in spans}
    return [(step, short(value), *spanned.get(step, ())) for step, value in points]


def drawn_curve(metric: str, curve: Curve) -> tuple[int, list[Drawn]]:
    """A whole curve as the browser takes it in: its stride and its points."""
    points = curve.points()
    return curve.stride, drawn(metric, points, curve.spans(points))


def shape_of(inputs: list[float], model: ModelView | None) -> tuple[int, int] | None:
    if not inputs or len(inputs) > PIXELS_SHOWN:
        return None
    if model and model.image and model.image[0] * model.image[1] == len(inputs):
        return model.image
    return (1, len(inputs))


def grey(inputs: list[float]) -> str:
    """Smallest value black, largest white: a picture of any row, whatever its scale."""
    if not inputs or len(inputs) > PIXELS_SHOWN:
        return ""
    finite = [value for value in inputs if math.isfinite(value)] or [0.0]
    low, high = min(finite), max(finite)
    scale = 255 / (high - low) if high > low else 0.0
    shades = bytes(int((value - low) * scale) if math.isfinite(value) else 0 for value in inputs)
    return base64.b64encode(shades).decode()


def short(value: float) -> float:
    return float(f"{value:.6g}")
