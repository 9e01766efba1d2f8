"""What the dashboard knows: a fold of frames, samples, labels and alerts, and nothing else. Pure.

Give it the same events again and it shows the same; give it the events up to an earlier position and it shows the past.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from headrace.curves import Curve, Point, Span
from headrace.dashboard.history import History
from headrace.dashboard.series import values
from headrace.dashboard.trails import Trails
from headrace.events import Alert, AlertView, AnyEvent, BatchSample, Frame, PredictionJoined, PredictionSampled
from headrace.positions import START, Position

Points: TypeAlias = dict[str, dict[str, list[Point]]]
"""Run, metric, points by step."""
Spans: TypeAlias = dict[str, dict[str, list[Span]]]
"""Of those points that cover several values: run, metric, spans by step."""

TAIL_LENGTH = 60
PACE_MS = 800
"""Mean time between two predictions of the tail, whose models take turns: each can be read, and stays for its label."""
UNSAVED = 40
"""Frames whose points may be younger than the saved curves."""
BATCHES = 12_000
"""Samples of batches: a minute of many scorers."""
MOMENTS = 240
"""Frames kept one by one, so that a browser that was away for a minute misses nothing."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A prediction of the tail, where its event is, and how many rows were scored since the one before."""

    event: PredictionSampled
    position: Position
    stands_for: int


@dataclass(frozen=True, slots=True)
class Moment:
    """What one frame added, with the samples and labels that came since the frame before."""

    number: int
    time: float
    values: dict[str, float]
    points: Points
    samples: list[Sample]
    truths: dict[str, float]
    spans: Spans = field(default_factory=dict)


@dataclass(slots=True)
class State:
    """The fold. `epoch` names the log of frames; `position` is where the newest frame is in it."""

    epoch: str = ""
    position: Position = START
    frame: Frame | None = None
    history: History = field(default_factory=History)
    trails: Trails = field(default_factory=Trails)
    moments: deque[Moment] = field(default_factory=lambda: deque(maxlen=MOMENTS))
    curves: dict[str, dict[str, Curve]] = field(default_factory=dict)
    tail: deque[Sample] = field(default_factory=lambda: deque(maxlen=TAIL_LENGTH))
    batches: deque[tuple[str, BatchSample]] = field(default_factory=lambda: deque(maxlen=BATCHES))
    """Worker and sample, in the order in which they came."""
    truths: dict[str, float] = field(default_factory=dict)
    """What labels said of the predictions in the tail, by handle."""
    alerts: dict[tuple[str, str], AlertView] = field(default_factory=dict)
    _passed: dict[tuple[str, int], int] = field(default_factory=dict)
    """Rows scored since the last prediction of the tail, by model version."""
    _paced: dict[tuple[str, int], int] = field(default_factory=dict)
    _samples: list[Sample] = field(default_factory=list)
    _truths: dict[str, float] = field(default_factory=dict)

    @property
    def number(self) -> int:
        """Number of the newest frame in its log; 0 before the first."""
        return self.position.number

    def fold(self, event: AnyEvent, position: Position = START) -> None:
        """Take one event in; events of types that the page does not show change nothing."""
        match event:
            case Frame():
                self._fold_frame(event, position)
            case PredictionSampled():
                self._fold_sample(event, position)
            case PredictionJoined():
                self._fold_labels(event)
            case Alert():
                self._fold_alert(event)
            case _:
                pass

    def restore(self, saved: Mapping[str, dict[str, Curve]]) -> None:
        """Take over saved curves, and bring them up to the newest frame."""
        self.curves.update(saved)
        for moment in list(self.moments)[-UNSAVED:]:
            self._put(moment.points, moment.spans)

    def since(self, epoch: str, number: int) -> list[Moment] | None:
        """The moments after frame `number`, oldest first; None if they are not all here any more."""
        if epoch != self.epoch or not self.moments or number > self.number:
            return None
        if number == self.number:
            return []
        newer = [moment for moment in self.moments if moment.number > number]
        return newer if newer[0].number == number + 1 else None

    @property
    def unlabelled(self) -> bool:
        """Whether the tail holds predictions whose truth is not known yet."""
        return any(sample.event.prediction not in self.truths for sample in self.tail)

    def _fold_frame(self, frame: Frame, position: Position) -> None:
        if position <= self.position:
            return
        self.frame, self.position = frame, position
        added = values(frame)
        self.history.add(frame.time, added)
        self.trails.fold(frame)
        for worker, samples in frame.batches.items():
            self.batches.extend((worker, sample) for sample in samples)
        self.moments.append(
            Moment(position.number, frame.time, added, self._fold_points(frame), *self._flush(), spans=frame.spans)
        )
        self.alerts = {(alert.name, alert.subject): alert for alert in frame.alerts}

    def _fold_points(self, frame: Frame) -> Points:
        shown = {run.run for run in frame.runs}
        for gone in self.curves.keys() - shown:
            del self.curves[gone]
        fresh = {run: metrics for run, metrics in frame.points.items() if run in shown}
        self._put(fresh, frame.spans)
        return fresh

    def _put(self, points: Points, spans: Spans) -> None:
        for run, metrics in points.items():
            spanned = spans.get(run, {})
            for metric, fresh in metrics.items():
                self.curves.setdefault(run, {}).setdefault(metric, Curve()).put(fresh, spanned.get(metric, ()))

    def _fold_sample(self, event: PredictionSampled, position: Position) -> None:
        model = event.model, event.version
        self._passed[model] = self._passed.get(model, 0) + event.rows_scored
        models = {(sample.event.model, sample.event.version) for sample in self.tail}
        if position.ms - self._paced.get(model, -math.inf) < PACE_MS * len(models | {model}):
            return
        self._paced[model] = position.ms
        sample = Sample(event, position, self._passed.pop(model))
        self.tail.append(sample)
        self._samples.append(sample)
        del self._samples[:-TAIL_LENGTH]

    def _fold_labels(self, event: PredictionJoined) -> None:
        here = {sample.event.prediction for sample in self.tail}
        found = {
            handle: actual for handle, actual in zip(event.predictions, event.actual, strict=False) if handle in here
        }
        self._truths.update(found)
        self.truths = {handle: actual for handle, actual in (self.truths | found).items() if handle in here}

    def _fold_alert(self, alert: Alert) -> None:
        key = (alert.name, alert.subject)
        if alert.state == "cleared":
            self.alerts.pop(key, None)
        else:
            self.alerts[key] = AlertView(
                name=alert.name, subject=alert.subject, severity=alert.severity, text=alert.text, since=alert.time
            )

    def _flush(self) -> tuple[list[Sample], dict[str, float]]:
        held = self._samples, self._truths
        self._samples, self._truths = [], {}
        return held
