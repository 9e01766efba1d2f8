"""From scores to what is written: result events, replies, statistics, labels that will be waited for. Pure.

One packed event a model and commit; a reply is the same event cut down to the requests of one client.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from headrace.arrays import pack
from headrace.bus import Decision
from headrace.codec import codec_of, encode
from headrace.events import PredictionRejected, PredictionRequested, PredictionSampled, PredictionScored, new_id
from headrace.models.model import Array
from headrace.positions import Handle, Position
from headrace.settings import REASON_CHARS
from headrace.subscriber.scoring.outcome import Outcome, Scored
from headrace.waiting import Waiting

CONFIDENCE_BINS = 20
FEW = 16
"""Up to so many items plain Python is quicker than numpy."""
LATEST_S = 2.0**33
"""A time after it, in the year 2242, says as little as one that is no number."""
NAMED = 64
"""Results of models with more classes leave the names out: they would outweigh the results."""


def packed(
    scored: Scored,
    ids: Sequence[bytes],
    payloads: Sequence[bytes],
    partition: int,
    worker: str,
    received: float,
    now: float,
) -> tuple[bytes, list[tuple[str, bytes]]]:
    """The encoded result event of everything in `scored`, and for each client its part, in the codec of its requests.

    `ids` are the positions of the whole batch. A client that sent all of it gets the event itself.
    """
    whole = encode(_pack(scored, range(len(scored.places)), ids, partition, worker, received, now))
    clients: dict[str, list[int]] = {}
    for at, request in enumerate(scored.requests):
        if request.reply_to:
            clients.setdefault(request.reply_to, []).append(at)
    replies = []
    for live, chosen in clients.items():
        codec = codec_of(payloads[scored.places[chosen[0]]])
        if len(chosen) == len(scored.places) and codec == codec_of(whole):
            replies.append((live, whole))
        else:
            replies.append((live, encode(_pack(scored, chosen, ids, partition, worker, received, now), codec)))
    return whole, replies


def rejection(
    request: PredictionRequested, spelled: bytes, payload: bytes, partition: int, reason: str, now: float
) -> tuple[str, bytes]:
    """The reply to a request that no attempt can score."""
    event = PredictionRejected(
        id=new_id(),
        time=now,
        request=request.id,
        position=spelled.decode(),
        partition=partition,
        reason=reason[:REASON_CHARS],
    )
    return request.reply_to, encode(event, codec_of(payload))


def count(work: Decision, scored: Scored) -> None:
    """Count requests, rows, predicted classes and confidences of one model version."""
    of = f"{scored.model.name}:{scored.model.version}"
    work.count(f"req:{of}", len(scored.places))
    work.count(f"row:{of}", sum(scored.rows))
    scores = scored.scores
    if scores.labels is not None and scores.probabilities is not None:
        for index, n in _tallied(scores.labels):
            work.count(f"cls:{of}:{index}", n)
        top = (scores.probabilities.max(axis=1) * CONFIDENCE_BINS).astype(np.int64)
        for index, n in _tallied(np.minimum(top, CONFIDENCE_BINS - 1)):
            work.count(f"conf:{of}:{index}", n)


def created(scored: Scored, ids: Sequence[bytes]) -> Array:
    """When each request was made, Unix seconds: by its sender, or by the log where the sender says no time there is."""
    times = np.array([request.time for request in scored.requests])
    unsaid = ~((times > 0.0) & (times < LATEST_S))
    for at in np.flatnonzero(unsaid):
        times[at] = Position.parse(ids[scored.places[at]]).ms / 1000
    return times


def wait_for_labels(work: Decision, scored: Scored, ids: Sequence[bytes]) -> None:
    """Keep the predictions whose requests say that a label will follow."""
    at = 0
    for place, request, rows in zip(scored.places, scored.requests, scored.rows, strict=True):
        if request.label:
            scores, span = scored.scores, slice(at, at + rows)
            if scores.labels is not None and scores.probabilities is not None:
                predicted, confidence = scores.labels[span].tolist(), scores.probabilities[span].max(axis=1).tolist()
            else:
                predicted, confidence = _listed(scores.values, span), []
            kind = scored.model.kind[0]
            waiting = Waiting(
                scored.model.name, scored.model.version, "c" if kind == "c" else "r", predicted, confidence, request.id
            )
            work.wait_for_label(Position.parse(ids[place]), waiting.encode())
        at += rows


def sample(
    scored: Scored,
    ids: Sequence[bytes],
    matrix_row: list[float],
    partition: int,
    worker: str,
    received: float,
    rows: int,
    now: float = 0.0,
) -> PredictionSampled:
    """The last request of `scored`, its first row, for the page; scored `now`, Unix seconds."""
    request, place = scored.requests[-1], scored.places[-1]
    row = sum(scored.rows[:-1])
    scores = scored.scores
    classified = scores.labels is not None and scores.probabilities is not None
    return PredictionSampled(
        id=new_id(),
        time=received,
        model=scored.model.name,
        version=scored.model.version,
        prediction=str(Handle(partition, Position.parse(ids[place]))),
        request=request.id,
        inputs=matrix_row,
        label=int(scores.labels[row]) if classified else None,  # type: ignore[index]
        value=None if classified else float(scores.values[row]),  # type: ignore[index]
        confidence=float(scores.probabilities[row].max()) if classified else 0.0,  # type: ignore[index]
        created=request.time if 0.0 < request.time < LATEST_S else 0.0,
        received=received,
        scored=now,
        rows_scored=rows,
        publisher=request.source,
        worker=worker,
    )


def unscored(outcome: Outcome) -> Iterable[tuple[int, str]]:
    """The rejected ones, in log order."""
    return sorted(outcome.rejected.items())


def _pack(
    scored: Scored,
    chosen: Sequence[int],
    ids: Sequence[bytes],
    partition: int,
    worker: str,
    received: float,
    now: float,
) -> PredictionScored:
    scores, rows = scored.scores, scored.rows
    single = sum(rows) == len(rows)
    everything = len(chosen) == len(rows)
    if everything:
        take: Any = slice(None)
    elif single:
        take = np.asarray(chosen)
    else:
        starts = np.concatenate(([0], np.cumsum(rows)[:-1]))
        take = np.concatenate([np.arange(starts[i], starts[i] + rows[i]) for i in chosen])
    return PredictionScored(
        id=new_id(),
        time=now,
        model=scored.model.name,
        version=scored.model.version,
        partition=partition,
        positions=b" ".join([ids[scored.places[i]] for i in chosen]).decode(),
        ids=[scored.requests[i].id for i in chosen],
        rows=[] if single else [rows[i] for i in chosen],
        labels=None if scores.labels is None else pack(scores.labels[take].astype("<i2")),
        probabilities=None if scores.probabilities is None else pack(scores.probabilities[take]),
        values=None if scores.values is None else pack(scores.values[take]),
        names=list(scored.model.labels) if len(scored.model.labels) <= NAMED else [],
        worker=worker,
        received=received,
        scored=now,
    )


def _tallied(indices: Any) -> list[tuple[int, int]]:
    if len(indices) <= FEW:
        return list(Counter(indices.tolist()).items())
    counts = np.bincount(indices)
    found = np.flatnonzero(counts)
    return list(zip(found.tolist(), counts[found].tolist(), strict=True))


def _listed(values: Any, span: slice) -> list[float]:
    return [] if values is None else [float(v) for v in values[span]]
