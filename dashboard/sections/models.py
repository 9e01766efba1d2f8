"""The sections of the models page: a line for each model, one of them closely, and what became of it lately. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from headrace.dashboard.history import Columns
from headrace.dashboard.sections.rows import NAME_SHOWN, Accuracy, accuracy, key_of, models_of, short
from headrace.dashboard.series import LIVE_ACCURACY_S
from headrace.dashboard.state import State
from headrace.dashboard.trails import Errors, Trail
from headrace.events import ModelView, QualityView
from headrace.models.evaluation import Bin, Sums, add, calibration_error, mae, r2, rmse

LABELS_SHOWN = 50
R2_SLICES = 6
"""Slices of ten seconds that one R2 over time covers: in ten seconds the truth may hardly vary."""


class Times(msgspec.Struct, frozen=True):
    """Percentiles from request to result, milliseconds, over 30 s."""

    p50: float
    p95: float
    p99: float


class ModelLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the list of models; `key` is NAME@VERSION."""

    key: str
    name: str
    version: int
    champion: bool
    kind: str
    requests_s: float
    rows_s: float
    times: Times | None
    joined: int
    accuracy: Accuracy | None
    mae: float | None
    r2: float | None


class Models(msgspec.Struct, frozen=True):
    """All model versions in service or with traffic lately: those in service first, then by name, the newest first."""

    time: float
    lines: list[ModelLine]


class Slot(msgspec.Struct, frozen=True, array_like=True):
    """Right predictions among labels of some kind, with the 95 % interval of their share."""

    at: float
    joined: int
    correct: int
    low: float
    high: float


class Reliability(msgspec.Struct, frozen=True, array_like=True):
    """Predictions of like confidence: where the bin begins, labels, how sure in the mean, how many right, interval."""

    start: float
    joined: int
    confidence: float
    share: float
    low: float
    high: float


class Error(msgspec.Struct, frozen=True, array_like=True):
    """Errors of a regression: of ten seconds, and R2 of the minute before their end (None: the truth did not vary)."""

    at: float
    joined: int
    mae: float
    r2: float | None


class ModelQuality(msgspec.Struct, frozen=True, kw_only=True):
    """One model version closely. Counts of labels are since the first one; `over_time` is by ten seconds."""

    key: str
    name: str
    version: int
    champion: bool
    kind: str
    labels: list[str]
    time: float
    requests_s: float
    rows_s: float
    requests_total: int
    rows_total: int
    times: Times | None
    now: dict[str, float]
    """The newest value of each series of its trail."""
    scores: dict[str, float]
    joined: int
    accuracy: Accuracy | None
    lately: Accuracy | None
    """Over five minutes."""
    over_time: list[Slot]
    confusion: list[list[int]]
    confidence: list[int]
    classes: list[int]
    calibration: list[Reliability]
    calibration_error: float | None
    mae: float | None
    rmse: float | None
    r2: float | None
    errors: list[Error]
    residual_width: float
    residual_first: int
    residuals: list[int]
    pairs: list[tuple[float, float]]


def models(state: State) -> Models | None:
    """The list; None before the first frame."""
    if state.frame is None:
        return None
    ordered = sorted(state.frame.models, key=lambda model: (not model.champion, model.name, -model.version))
    return Models(round(state.frame.time, 3), [line(model) for model in ordered])


def line(model: ModelView) -> ModelLine:
    quality, classifier = model.quality, model.kind == "classification"
    sums = sums_of(quality)
    return ModelLine(
        key=key_of(model),
        name=model.name[:NAME_SHOWN],
        version=model.version,
        champion=model.champion,
        kind=model.kind,
        requests_s=short(model.requests.s5),
        rows_s=short(model.rows.s5),
        times=times_of(model),
        joined=quality.joined,
        accuracy=accuracy(quality.correct, quality.joined) if classifier else None,
        mae=None if classifier else mae(sums),
        r2=None if classifier else r2(sums),
    )


def model_quality(state: State, key: str) -> ModelQuality | None:
    """One model version; None if the frame does not have it."""
    model = next((model for model in models_of(state.frame) if key_of(model) == key), None)
    if model is None or state.frame is None:
        return None
    trail = state.trails.get(key) or Trail()
    quality, now = model.quality, state.frame.time
    classifier = model.kind == "classification"
    sums = sums_of(quality)
    recent = [(joined, right) for at, joined, right in quality.recent if now - at <= LIVE_ACCURACY_S]
    bins = [Bin(joined, confidence, right) for joined, right, confidence in quality.calibration]
    return ModelQuality(
        key=key,
        name=model.name,
        version=model.version,
        champion=model.champion,
        kind=model.kind,
        labels=[label[:NAME_SHOWN] for label in model.labels[:LABELS_SHOWN]],
        time=round(now, 3),
        requests_s=short(model.requests.s5),
        rows_s=short(model.rows.s5),
        requests_total=model.requests_total,
        rows_total=model.rows_total,
        times=times_of(model),
        now=trail.now,
        scores={name: short(score) for name, score in model.scores.items()},
        joined=quality.joined,
        accuracy=accuracy(quality.correct, quality.joined) if classifier else None,
        lately=accuracy(sum(right for _, right in recent), sum(n for n, _ in recent)) if classifier else None,
        over_time=slots(trail.labels) if classifier else [],
        confusion=quality.confusion,
        confidence=model.confidence,
        classes=model.classes,
        calibration=reliability(bins),
        calibration_error=calibration_error(bins),
        mae=None if classifier else mae(sums),
        rmse=None if classifier else rmse(sums),
        r2=None if classifier else r2(sums),
        errors=errors_of(trail.errors),
        residual_width=quality.residual_width,
        residual_first=quality.residual_first,
        residuals=quality.residuals,
        pairs=[(short5(predicted), short5(actual)) for predicted, actual in trail.pairs],
    )


def model_trail(state: State, rest: str) -> Columns | None:
    """`SECONDS:NAME@VERSION`: the closed steps of the tier that shows such a window."""
    seconds, _, key = rest.partition(":")
    trail = state.trails.get(key)
    return trail.columns(int(seconds)) if trail is not None and seconds.isascii() and seconds.isdigit() else None


def sums_of(quality: QualityView) -> Sums:
    return Sums(quality.joined, quality.sum_abs, quality.sum_sq, quality.sum_y, quality.sum_y2)


def times_of(model: ModelView) -> Times | None:
    latency = model.latency
    if latency is None or not latency.count:
        return None
    return Times(short(latency.p50_ms), short(latency.p95_ms), short(latency.p99_ms))


def slots(labels: Mapping[float, tuple[int, int]]) -> list[Slot]:
    """Accuracy over time, oldest first."""
    found = []
    for at in sorted(labels):
        joined, correct = labels[at]
        share = accuracy(correct, joined)
        if share is not None:
            found.append(Slot(at, joined, correct, short4(share.low), short4(share.high)))
    return found


def reliability(bins: list[Bin]) -> list[Reliability]:
    """The bins that have labels: mean confidence against the share that was right."""
    found = []
    for place, one in enumerate(bins):
        share = accuracy(one.right, one.n)
        if share is not None:
            start = round(place / len(bins), 4)
            found.append(
                Reliability(start, one.n, short4(one.confidence / one.n), share.share, short4(share.low), share.high)
            )
    return found


def errors_of(errors: Mapping[float, Errors]) -> list[Error]:
    """Mean absolute error and R2 over time, oldest first."""
    found = []
    sums = [(at, Sums(*errors[at])) for at in sorted(errors)]
    for place, (at, one) in enumerate(sums):
        minute = [other for then, other in sums[max(0, place - R2_SLICES + 1) : place + 1] if at - then < 60]
        off, explained = mae(one), r2(add(*minute))
        if off is not None:
            found.append(Error(at, one.n, short5(off), None if explained is None else short5(explained)))
    return found


def short4(value: float) -> float:
    return float(f"{value:.4g}")


def short5(value: float) -> float:
    return float(f"{value:.5g}")
