"""The worst mistakes of a model with their inputs, which are read from the log of requests while it still has them.

A frame tells which predictions were wrong; what was asked is looked up once, a few at a time, and kept.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Collection, Mapping
from typing import Final, TypeAlias

import msgspec

from headrace.bus import Bus
from headrace.channels import REQUESTS
from headrace.codec import decode
from headrace.dashboard.sections.rows import PIXELS_SHOWN, class_name, grey, key_of, models_of, shape_of, short
from headrace.dashboard.state import State
from headrace.errors import CodecError, EventError
from headrace.events import Matrix, ModelView, PredictionRequested, Rows
from headrace.positions import Handle

READS: Final = 6
"""Requests that one look reads."""
PAST_READS: Final = 100
"""The same of a moment of the past, which is looked at once: all that a model version has."""
KEPT: Final = 200
"""Inputs that are kept."""
_CODES: Final = {"<f4": "f", "<f8": "d", "<i2": "h", "<i4": "i", "<i8": "q"}

Where: TypeAlias = tuple[str, int]
"""Handle of a prediction, and row in its request."""


class MistakeRow(msgspec.Struct, frozen=True, kw_only=True):
    """One mistake. `error` is predicted minus actual of a regression; `cell` is actual-predicted by class index.

    `pixels` is the input as grey values, empty if it is not known; `looked` tells whether it was asked for.
    """

    id: str
    row: int
    predicted: str
    actual: str
    confidence: float | None
    error: float | None
    cell: str
    created: float
    looked: bool
    pixels: str
    shape: tuple[int, int] | None


class Mistakes(msgspec.Struct, frozen=True):
    """The section `worst:NAME@VERSION`, the worst first."""

    key: str
    rows: list[MistakeRow]


class Worst:
    """Reads the requests that the worst mistakes of the models watched came from."""

    def __init__(self, reads: int = READS) -> None:
        self._reads = reads
        self._inputs: dict[Where, list[float]] = {}

    def wants(self, name: str) -> bool:
        return name.startswith("worst:")

    async def look(self, bus: Bus, state: State, names: Collection[str]) -> Mapping[str, msgspec.Struct]:
        found = {}
        reads = self._reads
        models = {key_of(model): model for model in models_of(state.frame)}
        for name in names:
            model = models.get(name.removeprefix("worst:"))
            if model is None:
                continue
            for prediction, row, *_ in model.quality.worst:
                if reads and (prediction, row) not in self._inputs:
                    reads -= 1
                    self._keep((prediction, row), await self._read(bus, prediction, row))
            found[name] = Mistakes(key_of(model), [self._row(model, one) for one in model.quality.worst])
        return found

    async def _read(self, bus: Bus, prediction: str, row: int) -> list[float]:
        """The row that was asked for; empty if the log does not have it any more."""
        try:
            handle = Handle.parse(prediction)
            entries = await bus.read(REQUESTS, handle.partition, start=handle.position, stop=handle.position, count=1)
            if not entries or entries[0].position != handle.position:
                return []
            event = decode(entries[0].payload)
        except (CodecError, EventError):
            return []
        return row_of(event.inputs, row) if isinstance(event, PredictionRequested) else []

    def _keep(self, where: Where, inputs: list[float]) -> None:
        self._inputs[where] = inputs
        while len(self._inputs) > KEPT:
            del self._inputs[next(iter(self._inputs))]

    def _row(self, model: ModelView, mistake: tuple[str, int, float, float, float]) -> MistakeRow:
        prediction, row, predicted, actual, confidence = mistake
        classifier = model.kind == "classification"
        inputs = self._inputs.get((prediction, row), [])
        milliseconds = prediction.split("-")[1] if prediction.count("-") == 2 else ""
        return MistakeRow(
            id=prediction,
            row=row,
            predicted=class_name(int(predicted), model) if classifier else f"{predicted:.4g}",
            actual=class_name(int(actual), model) if classifier else f"{actual:.4g}",
            confidence=short(confidence) if classifier else None,
            error=None if classifier else short(predicted - actual),
            cell=f"{int(actual)}-{int(predicted)}" if classifier else "",
            created=int(milliseconds) / 1000 if milliseconds.isascii() and milliseconds.isdigit() else 0.0,
            looked=(prediction, row) in self._inputs,
            pixels=grey(inputs),
            shape=shape_of(inputs, model),
        )


def row_of(rows: Rows, index: int) -> list[float]:
    """One row of a request; empty if there is no such row, or it is too wide to be drawn."""
    if isinstance(rows, Matrix):
        code = _CODES.get(rows.dtype)
        if code is None or len(rows.shape) != 2:
            return []
        height, width = rows.shape
        size = struct.calcsize(f"<{code}")
        if not (0 <= index < height and 0 < width <= PIXELS_SHOWN) or len(rows.data) != height * width * size:
            return []
        return [float(value) for value in struct.unpack_from(f"<{width}{code}", rows.data, index * width * size)]
    if not 0 <= index < len(rows) or len(rows[index]) > PIXELS_SHOWN:
        return []
    return [math.nan if value is None else float(value) for value in rows[index]]
