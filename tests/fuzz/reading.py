"""What must hold for any bytes whatever: each reader takes them or refuses them with a HeadraceError that says why."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from headrace.arrays import unpack_any, unpack_rows
from headrace.bus.envelope import opened
from headrace.channels import Names
from headrace.codec import codec_of, decode, encode, transcode, type_of
from headrace.errors import HeadraceError, InputError, UnknownModelError
from headrace.events import PredictionRequested, PredictionScored
from headrace.positions import Handle, Position
from headrace.publisher.gateway.bodies import LabelBody, PredictBody, parsed
from headrace.publisher.gateway.intake import Checked, check, cut
from headrace.publisher.predictions import unpacked
from headrace.subscriber.scoring.outcome import Outcome, score
from headrace.waiting import Waiting

NAMES = Names("fuzz", 2)
NOW = 1_767_000_000.0
PREDICT = msgspec.json.Decoder(PredictBody)
LABEL = msgspec.json.Decoder(LabelBody)
LINES = "application/x-ndjson"
REASON = 4
"""A refusal is at least so many characters long."""


class Width:
    """A model that costs nothing: the sum of two values."""

    name, version, kind, labels, n_features = "m", 1, "regression", (), 2

    def check(self, matrix: Any) -> None:
        if matrix.shape[1] != self.n_features or not np.isfinite(matrix).all():
            raise InputError("the model takes two finite features")

    def score(self, matrix: Any) -> Any:
        from headrace.models.model import Scores

        with np.errstate(over="ignore"):
            return Scores(values=matrix.sum(axis=1).astype("<f8"))


MODEL: Any = Width()


def shelf(name: str, version: int) -> Any:
    if name != MODEL.name or version not in (0, 1):
        raise UnknownModelError(name, ("m",))
    return MODEL


def read(payload: bytes) -> None:
    """Everything at once. Raises AssertionError, or whatever a reader should not have raised."""
    _decoded(payload)
    _scored(payload)
    _posted(payload)
    for reader in (opened, Waiting.decode, _position, _handle):
        _refusing(reader, payload)


def _decoded(payload: bytes) -> None:
    for reader in (codec_of, type_of):
        _refusing(reader, payload)
    event = _refusing(decode, payload)
    if event is None:
        return
    again = encode(event)
    assert encode(decode(again)) == again, "an event changed on its way"
    _refusing(lambda given: decode(transcode(given, "json")), payload)
    if isinstance(event, PredictionRequested):
        rows = _refusing(lambda _: unpack_rows(event.inputs), payload)
        assert rows is None or rows.nbytes <= 8 * len(payload), "rows take more memory than was sent"
    if isinstance(event, PredictionScored):
        for values in (event.labels, event.values, event.probabilities):
            _refusing(lambda _, values=values: unpack_any(values), payload)
        _refusing(lambda _: list(unpacked(event)), payload)


def _scored(payload: bytes) -> None:
    good = encode(PredictionRequested(id="good", model="m", inputs=[[1.0, 2.0]]))
    outcome: Outcome = score([good, payload, good], shelf, NOW, 1_000_000)
    found = [place for scored in outcome.scored for place in scored.places] + [*outcome.rejected, *outcome.failed]
    assert sorted(found) == [0, 1, 2], f"outcomes of {sorted(found)}"
    assert not {0, 2} & {*outcome.rejected, *outcome.failed}, "a neighbour was rejected"
    assert all(len(reason) >= REASON for reason in outcome.rejected.values()), "a refusal without a reason"


def _posted(payload: bytes) -> None:
    for kind in (LINES, "application/json"):
        for line, part in _refusing(lambda given, kind=kind: cut(given, kind), payload) or []:
            verdict = check(line, part, "", NAMES)
            assert isinstance(verdict, Checked) or len(verdict.reason) >= REASON
    for decoder in (PREDICT, LABEL):
        _refusing(lambda given, decoder=decoder: parsed(given, decoder), payload)


def _position(payload: bytes) -> Position:
    return Position.parse(payload)


def _handle(payload: bytes) -> Handle:
    return Handle.parse(payload.decode(errors="replace"))


def _refusing(reader: Any, payload: bytes) -> Any:
    """What the reader makes of it; None if it refuses, which it must do by a HeadraceError that says something."""
    try:
        return reader(payload)
    except HeadraceError as error:
        said = str(error)
    assert len(said) >= REASON, "a refusal without a reason"
    return None
