"""Who waits for which result, and where to look for results that were not heard. Pure.

A request's event id names it from the first moment; its handle (partition and position) names it once it is accepted.
Results arrive as pushes to the reply channel. A push may be missed while a connection is down, so after each
(re)connection, and before giving up, the logs are searched: results first, then dead letters.
"""

from __future__ import annotations

import math
import sys
import weakref
from array import array
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from headrace.arrays import SIZES, pack_rows
from headrace.channels import DEAD, REQUESTS, RESULTS
from headrace.codec import decode
from headrace.errors import CodecError, DeadlineError, EventError, PredictionError, RejectedError
from headrace.events import (
    EntryDead,
    Matrix,
    PredictionLabelled,
    PredictionRejected,
    PredictionRequested,
    PredictionScored,
    Rows,
)
from headrace.positions import Entry, Handle, Position

SKEW_S = 60.0
"""How far the clock of a requester may be ahead of the server's: where to begin a search without a handle."""
PAGE = 100
_CODES = {"<f4": "f", "<f8": "d", "<i2": "h", "<i4": "i", "<i8": "q"}


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What a model said about the rows of one request, as plain lists with one entry a row.

    Classification: `labels` are class names (class indices for a model of more than 64 classes), and
    `probabilities` has one value a class. Regression: `values`. What does not apply is None.
    """

    model: str
    version: int
    handle: str
    labels: list[str] | list[int] | None = None
    probabilities: list[list[float]] | None = None
    values: list[float] | None = None


Outcome = Result | PredictionError


class Asked:
    """A request that was sent, as far as waiting for its outcome is no matter: its name, its place, its outcome."""

    def __init__(self, request: str) -> None:
        self.request = request
        """Event id of the request."""
        self._outcome: Outcome | None = None
        self._handle = ""

    @property
    def handle(self) -> str:
        """`PARTITION-MILLISECONDS-NUMBER`, once the request is in its log; empty before."""
        if isinstance(self._outcome, Result):
            return self._outcome.handle
        return self._handle

    def _settled(self, waited_s: float) -> Result:
        """The result. Raises what became of the request instead, or DeadlineError while nothing has."""
        if self._outcome is None:
            raise DeadlineError(self.handle or self.request, waited_s)
        if isinstance(self._outcome, PredictionError):
            raise self._outcome
        return self._outcome


class Asker(Protocol):
    """Who waits for an outcome."""

    def told(self, outcome: Outcome) -> None:
        """The outcome is here."""


@dataclass(frozen=True, slots=True)
class Read:
    """A part of a log that a search wants: entries from `start` on, up to `count`."""

    channel: str
    partition: int
    start: Position
    count: int


class _Wanted:
    __slots__ = ("asker", "handle", "partition", "since_ms")

    def __init__(self, partition: int, since_ms: int, asker: weakref.ref[Asker]) -> None:
        self.partition, self.since_ms, self.asker = partition, since_ms, asker
        self.handle: Handle | None = None


Search = Generator[Read, list[Entry], None]
"""Yields what to read and is sent the entries; ends when all is found or the logs end."""


class Waiting:
    """The requests of one process that have no outcome yet; each is told its outcome once. Not thread-safe."""

    def __init__(self) -> None:
        self._wanted: dict[str, _Wanted] = {}

    def __len__(self) -> int:
        return len(self._wanted)

    def expect(self, request: str, partition: int, created_s: float, asker: Asker) -> None:
        """Tell `asker` the outcome of the request with this event id, made at Unix time `created_s`.

        An asker that nobody else holds any more is forgotten, so that results which never come cost nothing.
        """
        gone = weakref.ref(asker, lambda _: self._wanted.pop(request, None))
        self._wanted[request] = _Wanted(partition, int((created_s - SKEW_S) * 1000), gone)

    def placed(self, request: str, handle: Handle) -> None:
        """The request is in the log."""
        if request in self._wanted:
            self._wanted[request].handle = handle

    def forget(self, request: str) -> None:
        """Nobody waits for it any more."""
        self._wanted.pop(request, None)

    def heard(self, payload: bytes) -> None:
        """A push to the reply channel. What cannot be read, or is not waited for, is ignored."""
        try:
            event = decode(payload)
        except CodecError:
            return
        match event:
            case PredictionScored():
                self._scored(event)
            case PredictionRejected():
                handle = f"{event.partition}-{event.position}"
                self._tell(event.request, RejectedError(handle, event.reason))

    def search(self, requests: Iterable[str] | None = None) -> Search:
        """Look in the logs for outcomes of these requests (None: of all that wait)."""
        chosen = set(self._wanted if requests is None else requests) & self._wanted.keys()
        partitions = {self._wanted[request].partition for request in chosen}
        for partition in sorted(partitions):
            here = {request for request in chosen if self._wanted[request].partition == partition}
            for channel in (RESULTS, DEAD):
                start = self._begin(here)
                while start is not None and here & self._wanted.keys():
                    entries = yield Read(channel, partition, start, PAGE)
                    for entry in entries:
                        self._found(entry, partition)
                    full = len(entries) == PAGE
                    start = Position(entries[-1].position.ms, entries[-1].position.number + 1) if full else None

    def _begin(self, requests: set[str]) -> Position | None:
        """The outcome of a request is never older than the request."""
        wanted = [self._wanted[request] for request in requests & self._wanted.keys()]
        begins = [item.handle.position.ms if item.handle else item.since_ms for item in wanted]
        return Position(max(0, min(begins)), 0) if begins else None

    def _found(self, entry: Entry, partition: int) -> None:
        try:
            event = decode(entry.payload)
        except CodecError:
            return
        match event:
            case PredictionScored():
                self._scored(event)
            case EntryDead(channel=channel, position=position) if channel == REQUESTS:
                handle = f"{partition}-{position}"
                for request, wanted in list(self._wanted.items()):
                    if str(wanted.handle) == handle or (wanted.handle is None and request.encode() in event.payload):
                        self._tell(request, RejectedError(handle, event.reason))

    def _scored(self, event: PredictionScored) -> None:
        if self._wanted.keys().isdisjoint(event.ids):
            return
        try:
            for request, result in unpacked(event):
                self._tell(request, result)
        except EventError:
            return

    def _tell(self, request: str, outcome: Outcome) -> None:
        wanted = self._wanted.pop(request, None)
        asker = None if wanted is None else wanted.asker()
        if asker is not None:
            asker.told(outcome)


def unpacked(event: PredictionScored) -> Iterator[tuple[str, Result]]:
    """The results in a packed event, by the event id of their requests. None if it contradicts itself."""
    named = event.names
    labels, values = _plain(event.labels), _plain(event.values)
    probabilities = _plain(event.probabilities)
    if labels is not None and named and all(0 <= label < len(named) for label in labels):
        labels = [named[label] for label in labels]
    positions = event.positions.split(" ")
    counts = event.rows or [1] * len(event.ids)
    if not len(positions) == len(event.ids) == len(counts):
        return
    at = 0
    for request, position, count in zip(event.ids, positions, counts, strict=True):
        rows = slice(at, at + count)
        at += count
        yield (
            request,
            Result(
                model=event.model,
                version=event.version,
                handle=f"{event.partition}-{position}",
                labels=None if labels is None else labels[rows],
                probabilities=None if probabilities is None else probabilities[rows],
                values=None if values is None else values[rows],
            ),
        )


def requested(
    model: str, rows: Any, *, request: str, reply_to: str, now_s: float, version: int, label: bool, source: str
) -> PredictionRequested:
    """The request for rows given as nested sequences, a buffer, an array or a data frame. Raises EventError."""
    inputs = pack_rows(rows)
    if 0 in inputs.shape:
        raise EventError("a request needs at least one row with at least one value")
    return PredictionRequested(
        id=request,
        source=source,
        time=now_s,
        model=model,
        inputs=inputs,
        version=version,
        reply_to=reply_to,
        label=label,
    )


def labelled(handle: str, labels: Any) -> PredictionLabelled:
    """The truth about a prediction: one label, or one a row. Raises EventError."""
    if not handle:
        raise EventError("this prediction has no handle yet: label it after its result, or after flush()")
    Handle.parse(handle)
    plain = labels.tolist() if hasattr(labels, "tolist") else labels
    listed = [plain] if isinstance(plain, (str, int, float)) else list(plain)
    return PredictionLabelled(prediction=handle, labels=[_scalar(label) for label in listed])


def _scalar(label: Any) -> str | int | float:
    plain = label.item() if hasattr(label, "item") else label
    if not isinstance(plain, (str, int, float)):
        raise EventError(f"{label!r:.80} is not a label: give a class name, a class index or a number")
    return plain


def _plain(values: Rows | list[int] | list[float] | None) -> list[Any] | None:
    """An array of a result as nested lists, without numpy. Raises EventError if its parts do not agree."""
    if not isinstance(values, Matrix):
        return values
    size = SIZES.get(values.dtype)
    if size is None or len(values.data) != math.prod(values.shape) * size or any(n < 0 for n in values.shape):
        raise EventError(f"{len(values.data)} bytes cannot be an array of {values.shape} of {values.dtype}")
    items = array(_CODES[values.dtype])
    items.frombytes(values.data)
    if sys.byteorder == "big":
        items.byteswap()
    flat = items.tolist()
    if len(values.shape) < 2:
        return flat
    width = math.prod(values.shape[1:])
    return [flat[at : at + width] for at in range(0, len(flat), width)] if width else []
