"""Labels that meet their predictions: joined once each, or refused with a reason. Pure.

    labels + waiting predictions ──> join ──> PredictionJoined ──> Quality.fold (tally.py) ──> QualityView

Nothing is guessed: a label that does not fit its model becomes a dead letter, and one that finds no prediction although
its request is decided (a second label, one after the horizon, one for a request that asked for none) is counted as
unmatched.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import msgspec

from headrace.errors import CodecError, EventError
from headrace.events import PredictionJoined, PredictionLabelled, QualityView
from headrace.positions import Handle, Position
from headrace.subscriber.aggregation.tally import Tally
from headrace.subscriber.aggregation.tally import merged as tally_merged
from headrace.waiting import Waiting
from headrace.words import counted


class ModelCard(Protocol):
    """What the aggregator wants to know of a model version; the registry's cards have it."""

    @property
    def kind(self) -> str: ...
    @property
    def labels(self) -> Sequence[str]: ...
    @property
    def image_shape(self) -> tuple[int, int] | None: ...
    @property
    def metrics(self) -> Mapping[str, float]: ...


Cards = Callable[[str, int], ModelCard | None]


class Label(NamedTuple):
    """A label as it came: its own position, what it says, and the request that it is about."""

    position: Position
    event: PredictionLabelled
    request: Position


@dataclass(slots=True)
class Joining:
    """The verdict on a batch of labels; every label is in exactly one of `matched`, `unmatched`, `early`, `dead`."""

    events: list[PredictionJoined] = field(default_factory=list)
    requests: list[Position] = field(default_factory=list)
    """Predictions that wait no longer."""
    matched: list[Position] = field(default_factory=list)
    unmatched: list[Position] = field(default_factory=list)
    early: list[Position] = field(default_factory=list)
    """Labels whose prediction may still come."""
    dead: list[tuple[Position, str]] = field(default_factory=list)


def addressed(position: Position, event: PredictionLabelled, partition: int) -> Label:
    """The label with its request's position. Raises EventError if it names no prediction of this partition."""
    handle = Handle.parse(event.prediction)
    if handle.partition != partition:
        raise EventError(
            f"the label of prediction {event.prediction} came to partition {partition}; "
            f"publish it to partition {handle.partition}, where its request is"
        )
    return Label(position, event, handle.position)


def join(
    labels: Iterable[Label],
    waiting: Mapping[Position, bytes],
    undecided: Callable[[Position], bool],
    cards: Cards,
    partition: int,
) -> Joining:
    """Join labels to what waits for them; `undecided` tells whether a request may still get its prediction.

    One PredictionJoined for each model version. Of two labels for one prediction the first wins.
    """
    verdict = Joining()
    taken: set[Position] = set()
    packed: dict[tuple[str, int], PredictionJoined] = {}
    for label in labels:
        payload = waiting.get(label.request)
        if payload is None or label.request in taken:
            late = label.request in taken or not undecided(label.request)
            (verdict.unmatched if late else verdict.early).append(label.position)
            continue
        try:
            found = Waiting.decode(payload)
            actual = _resolve(label.event.labels, found, cards(found.model, found.version))
        except (CodecError, EventError) as error:
            verdict.dead.append((label.position, str(error)))
            continue
        taken.add(label.request)
        verdict.matched.append(label.position)
        verdict.requests.append(label.request)
        key = (found.model, found.version)
        event = packed.get(key)
        if event is None:
            event = packed[key] = PredictionJoined(
                model=found.model, version=found.version, predictions=[], predicted=[], actual=[], confidence=[]
            )
        event.predictions.extend([str(Handle(partition, label.request))] * len(actual))
        event.predicted.extend(found.predicted)
        event.actual.extend(actual)
        event.confidence.extend(found.confidence)
    verdict.events = list(packed.values())
    return verdict


def _resolve(labels: list[str | int | float], found: Waiting, card: ModelCard | None) -> list[float]:
    """The true class indices or values, one a row. Raises EventError."""
    if len(labels) != len(found.predicted):
        told, rows = counted(len(labels), "label"), counted(len(found.predicted), "row")
        raise EventError(f"{told} for a prediction of {rows}; send one for each row")
    if found.kind == "r":
        for label in labels:
            if isinstance(label, str) or not math.isfinite(label):
                raise EventError(f"label {label!r} is not a value; {found.model} is a regression: send finite numbers")
        return [float(label) for label in labels]  # no text is left
    names = list(card.labels) if card is not None else []
    return [float(_class(label, names, found)) for label in labels]


def _class(label: str | float, names: list[str], found: Waiting) -> int:
    """The index of a class given by name or index."""
    model = f"{found.model} version {found.version}"
    if isinstance(label, str):
        if label in names:
            return names.index(label)
        known = ", ".join(names[:20]) if names else "not known here: send class indices"
        raise EventError(f"{label!r} is no class of {model}; its classes are {known}")
    index = int(label) if math.isfinite(label) and label == int(label) else -1
    if index < 0 or (names and index >= len(names)):
        bound = f"0 to {len(names) - 1}" if names else "0 or above"
        raise EventError(f"{label!r} is no class index of {model}; send {bound}, or a class name")
    return index


class Quality:
    """Running quality of every model version of one partition, folded from joined predictions."""

    def __init__(self) -> None:
        self._tallies: dict[tuple[str, int], Tally] = {}
        self._dirty: set[tuple[str, int]] = set()

    def fold(self, event: PredictionJoined, at: float) -> None:
        """Add the rows of one event, logged at `at` (Unix seconds). No confidence means regression."""
        key = (event.model, event.version)
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = Tally(regression=not event.confidence)
        self._dirty.add(key)
        tally.fold(event, at)

    def keys(self) -> set[tuple[str, int]]:
        """Model versions that were ever joined."""
        return set(self._tallies)

    def view(self, model: str, version: int, now: float) -> QualityView:
        """The quality of one version since it was first joined; `recent` covers the last five minutes."""
        return merged([self], model, version, now)

    def take_changes(self) -> dict[str, bytes]:
        """Fields of the saved state that changed since the last call, one a model version."""
        changed = {f"{version}:{model}": _encode(self._tallies[model, version]) for model, version in self._dirty}
        self._dirty = set()
        return changed

    @classmethod
    def load(cls, saved: Mapping[str, bytes]) -> Quality:
        """What `take_changes` gave. Raises CodecError."""
        quality = cls()
        for name, payload in saved.items():
            version, _, model = name.partition(":")
            try:
                quality._tallies[model, int(version)] = _decode(payload)
            except (msgspec.DecodeError, ValueError) as error:
                raise CodecError(f"saved quality {name!r} cannot be read: {error}") from None
        return quality


def merged(
    partitions: Sequence[Quality], model: str, version: int, now: float, *, detailed: bool = True
) -> QualityView:
    """The quality of one version over partitions; see `tally.merged`."""
    found = [tally for part in partitions if (tally := part._tallies.get((model, version))) is not None]
    return tally_merged(found, now, detailed=detailed)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Tally).decode
