"""From the bytes of a batch of requests to the outcome of each: pure work, no I/O, made to run in a thread.

Per batch: one decode a request, one matrix and one predict a model, one packed result a model. A request that is wrong
is found alone and rejected with its reason; the others of its batch are scored as if it had not been there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from headrace.arrays import unpack_rows
from headrace.codec import decode
from headrace.errors import CodecError, EventError, InputError, ModelError
from headrace.events import Matrix, PredictionRequested
from headrace.models.model import Array, Model, Scores
from headrace.settings import EVENT_LIMIT_BYTES

SLICE_ROWS = 4096
"""Rows of one call of the model: more gain nothing and cost memory."""


@dataclass(slots=True)
class Scored:
    """The requests of a batch that one model version scored, in log order.

    `places` are indices into the batch; `rows[i]` counts the rows of request i, and `scores` holds all rows in order.
    `model_s` is the time the model took.
    """

    model: Model
    places: list[int]
    requests: list[PredictionRequested]
    rows: list[int]
    scores: Scores
    model_s: float


@dataclass(slots=True)
class Outcome:
    """What became of a batch. Each index of the batch is in exactly one of the three."""

    scored: list[Scored] = field(default_factory=list)
    rejected: dict[int, str] = field(default_factory=dict)
    """Reasons of requests that no attempt can score."""
    failed: dict[int, str] = field(default_factory=dict)
    """Reasons of requests that failed though nothing is wrong with them: another attempt may help."""
    requests: dict[int, PredictionRequested] = field(default_factory=dict)
    """The rejected and failed ones that could be read at all."""


def score(
    payloads: Sequence[bytes],
    models: Callable[[str, int], Model],
    now: float,
    limit_bytes: int = EVENT_LIMIT_BYTES,
) -> Outcome:
    """Score a batch. `models` finds a model by name and version (0 = in service) or raises ModelError; `now` is in Unix
    seconds. No request, and no result of those scored together, is larger than `limit_bytes`."""
    outcome = Outcome()
    wanted: dict[tuple[str, int], list[tuple[int, PredictionRequested]]] = {}
    for place, payload in enumerate(payloads):
        if len(payload) > limit_bytes:
            outcome.rejected[place] = f"a request of {len(payload):,} bytes is over the limit of {limit_bytes:,}"
            continue
        try:
            event = decode(payload)
        except CodecError as error:
            outcome.rejected[place] = str(error)
            continue
        if not isinstance(event, PredictionRequested):
            outcome.rejected[place] = f"a {type(event).__struct_config__.tag} event is not a request"
        elif event.deadline and event.deadline < now:
            outcome.rejected[place] = f"its deadline had passed {now - event.deadline:.3f} s ago"
            outcome.requests[place] = event
        else:
            wanted.setdefault((event.model, event.version), []).append((place, event))
    for (name, version), group in wanted.items():
        try:
            model = models(name, version)
        except ModelError as error:
            for place, event in group:
                outcome.rejected[place] = str(error)
                outcome.requests[place] = event
            continue
        _score_group(model, group, outcome, limit_bytes, sum(map(len, payloads)))
    return outcome


def _result_bytes(model: Model) -> int:
    """What one row of a result takes: an index and k probabilities, or a value."""
    return 2 + 4 * len(model.labels) if model.kind == "classification" else 8


def _score_group(
    model: Model, group: list[tuple[int, PredictionRequested]], outcome: Outcome, limit_bytes: int, sent_bytes: int
) -> None:
    """Score the requests of one model; `sent_bytes` is no less than their ids take, which their result names."""
    places = [place for place, _ in group]
    requests = [event for _, event in group]
    matrix = _single_rows(model, requests)
    if matrix is not None:
        rows = [1] * len(requests)
    else:
        places, requests, rows, matrix = _checked_rows(model, group, outcome, limit_bytes)
        if matrix is None:
            return
    row_bytes = _result_bytes(model)
    if len(matrix) * row_bytes + sent_bytes <= limit_bytes:
        _score_part(model, places, requests, rows, matrix, outcome, time.perf_counter())
        return
    begin = first = 0
    while begin < len(rows):
        end = begin + _fitting(requests[begin:], rows[begin:], row_bytes, limit_bytes)
        last = first + sum(rows[begin:end])
        part = slice(begin, end)
        started = time.perf_counter()
        _score_part(model, places[part], requests[part], rows[part], matrix[first:last], outcome, started)
        begin, first = end, last


def _fitting(requests: list[PredictionRequested], rows: list[int], row_bytes: int, limit_bytes: int) -> int:
    """How many of the requests, one at least, have their results in one event."""
    room = limit_bytes
    for count, (request, n) in enumerate(zip(requests, rows, strict=True)):
        room -= n * row_bytes + len(request.id.encode())
        if room < 0 and count:
            return count
    return len(rows)


def _single_rows(model: Model, requests: list[PredictionRequested]) -> Array | None:
    """All inputs as one matrix, if each is one float32 row of the right width and all numbers are finite."""
    shape, size = (1, model.n_features), 4 * model.n_features
    parts = []
    for event in requests:
        inputs = event.inputs
        if inputs.__class__ is not Matrix or inputs.shape != shape or inputs.dtype != "<f4" or len(inputs.data) != size:
            return None
        parts.append(inputs.data)
    matrix: Array = np.frombuffer(b"".join(parts), "<f4").reshape(len(parts), model.n_features)
    try:
        model.check(matrix)
    except InputError:
        return None
    return matrix


def _checked_rows(
    model: Model, group: list[tuple[int, PredictionRequested]], outcome: Outcome, limit_bytes: int
) -> tuple[list[int], list[PredictionRequested], list[int], Array | None]:
    """The same for inputs of any form: each is checked alone, and the wrong ones are rejected."""
    places: list[int] = []
    requests: list[PredictionRequested] = []
    parts: list[Array] = []
    for place, event in group:
        try:
            matrix = unpack_rows(event.inputs)
            model.check(matrix)
            most_rows = (limit_bytes - len(event.id.encode())) // _result_bytes(model)
            if len(matrix) > most_rows:
                raise EventError(f"{len(matrix):,} rows are over the limit of {most_rows:,}: their result is too large")
        except (EventError, InputError) as error:
            outcome.rejected[place] = str(error)
            outcome.requests[place] = event
            continue
        places.append(place)
        requests.append(event)
        parts.append(matrix)
    if not parts:
        return places, requests, [], None
    return places, requests, [len(part) for part in parts], np.concatenate(parts)


def _score_part(
    model: Model,
    places: list[int],
    requests: list[PredictionRequested],
    rows: list[int],
    matrix: Array,
    outcome: Outcome,
    started: float,
) -> None:
    """Score requests together; if that fails, each half alone, until the one that fails stands alone."""
    try:
        scores = _in_slices(model, matrix)
    except Exception as error:
        if len(places) == 1:
            wrong = isinstance(error, InputError)
            reasons = outcome.rejected if wrong else outcome.failed
            reasons[places[0]] = str(error) if wrong else f"the model failed: {type(error).__name__}: {error}"
            outcome.requests[places[0]] = requests[0]
            return
        half = len(places) // 2
        cut = sum(rows[:half])
        _score_part(model, places[:half], requests[:half], rows[:half], matrix[:cut], outcome, started)
        _score_part(model, places[half:], requests[half:], rows[half:], matrix[cut:], outcome, time.perf_counter())
        return
    outcome.scored.append(Scored(model, places, requests, rows, scores, time.perf_counter() - started))


def _in_slices(model: Model, matrix: Array) -> Scores:
    if len(matrix) <= SLICE_ROWS:
        return model.score(matrix)
    parts = [model.score(matrix[at : at + SLICE_ROWS]) for at in range(0, len(matrix), SLICE_ROWS)]
    return Scores(
        labels=_joined([part.labels for part in parts]),
        probabilities=_joined([part.probabilities for part in parts]),
        values=_joined([part.values for part in parts]),
    )


def _joined(parts: list[Any]) -> Array | None:
    return None if parts[0] is None else np.concatenate(parts)
