"""The way of one event: when it was created, appended, received, scored, committed and labelled, and what became of it.

Read from the logs alone, in bounded steps. Stamps come from several clocks (the publisher's, the server's, a worker's);
a stamp that seems to lie before the one it follows is moved there, and the journey says by how much clocks disagree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec

from headrace.arrays import unpack_any
from headrace.bus import Bus
from headrace.channels import DEAD, JOINED, LABELS, REQUESTS, RESULTS
from headrace.codec import decode
from headrace.errors import CodecError, EventError
from headrace.events import EntryDead, PredictionJoined, PredictionLabelled, PredictionRequested, PredictionScored
from headrace.positions import Entry, Handle, Position

PAGE = 200
PAGES = 50
"""How far a search goes on from the event: 10,000 entries of each log."""
ROUNDING_S = 0.001
"""Positions are whole milliseconds, rounded down: so much is no sign of clocks that disagree."""
ROWS_SHOWN = 20
CLASSES_SHOWN = 20

Fate = Literal["scored", "dead", "waiting", "in flight", "committed", "kept", "unknown"]
"""`kept`: no group reads the channel. `unknown`: decided, but its outcome is in no log any more."""


class Stamp(msgspec.Struct, frozen=True):
    """A moment of an event's way, Unix seconds. `clock`: whose it is.

    `moved_s`: how far it seemed to lie too early, beyond what rounding explains.
    """

    name: str
    at: float
    clock: Literal["publisher", "server", "worker"]
    where: str = ""
    """Channel and handle of what was written then."""
    moved_s: float = 0.0


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A result as people read it: one entry a row, the first few; the most probable classes first."""

    model: str
    version: int
    worker: str
    rows: int
    labels: list[str] = []
    values: list[float] = []
    probabilities: list[list[tuple[str, float]]] = []


class Death(msgspec.Struct, frozen=True, kw_only=True):
    """The dead letter that an event became."""

    letter: str
    group: str
    reason: str
    attempts: int
    worker: str


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """What one group has done with the event; `ahead` entries stand before it, those in flight included."""

    group: str
    state: Literal["committed", "in flight", "waiting"]
    ahead: int = 0


class Journey(msgspec.Struct, frozen=True, kw_only=True):
    """The way of the event at `handle` of `channel`; stamps in order, `actual` is what its labels said."""

    channel: str
    handle: str
    id: str
    type: str
    fate: Fate
    stamps: list[Stamp]
    groups: list[Waiting]
    answer: Answer | None = None
    death: Death | None = None
    actual: list[str] = []
    deadline: float = 0.0


async def follow(bus: Bus, handle: Handle, channel: str = REQUESTS) -> Journey | None:
    """The way of one event; None if the log does not hold it (any more)."""
    partition, position = handle
    entries = await bus.read(channel, partition, start=position, stop=position, count=1)
    if not entries:
        return None
    event = _decoded(entries[0])
    stamps = []
    if event is not None and event.time:
        stamps.append(Stamp("created", event.time, "publisher", event.source))
    stamps.append(Stamp("appended", position.ms / 1000, "server", f"{channel} {handle}"))
    groups = await _groups(bus, channel, handle)
    death = await _first(bus, DEAD, handle, _death_of(channel, handle))
    answer, actual, labels = None, list[str](), list[Stamp]()
    if isinstance(event, PredictionRequested) and channel == REQUESTS:
        if scored := await _first(bus, RESULTS, handle, _scored(handle)):
            entry, result = scored
            where = f"{RESULTS} {partition}-{entry.position}"
            committed = entry.position.ms / 1000
            stamps += [
                Stamp("received", result.received, "worker", result.worker),
                Stamp("scored", result.scored, "worker", result.worker),
                Stamp("committed", committed, "server", where),
                Stamp("pushed", committed, "server", "live side, in the same step"),
            ]
            answer = answer_of(result, position)
        labels, actual = await _labelled(bus, handle)
    if death is not None:
        entry, _ = death
        stamps.append(Stamp("given up", entry.position.ms / 1000, "server", f"{DEAD} {partition}-{entry.position}"))
    return Journey(
        channel=channel,
        handle=str(handle),
        id=event.id if event else "",
        type=str(event.__struct_config__.tag) if event else "?",
        fate=fate(groups, answer is not None, death is not None, channel),
        stamps=sorted([*in_order(stamps), *labels], key=lambda stamp: stamp.at),
        groups=groups,
        answer=answer,
        death=death and _told(death, partition),
        actual=actual,
        deadline=event.deadline if isinstance(event, PredictionRequested) else 0.0,
    )


def in_order(stamps: Sequence[Stamp]) -> list[Stamp]:
    """The stamps that are known, none before the one that it follows. Pure."""
    found: list[Stamp] = []
    for stamp in stamps:
        if not stamp.at or not math.isfinite(stamp.at):
            continue
        last = found[-1].at if found else stamp.at
        if stamp.at < last:
            moved_s = round(max(0.0, last - stamp.at - ROUNDING_S), 6)
            found.append(msgspec.structs.replace(stamp, at=last, moved_s=moved_s))
        else:
            found.append(stamp)
    return found


def fate(groups: Sequence[Waiting], scored: bool, dead: bool, channel: str) -> Fate:
    """What became of an event, in one word. Pure."""
    if scored:
        return "scored"
    if dead:
        return "dead"
    if not groups:
        return "waiting" if channel == REQUESTS else "kept"
    states = {group.state for group in groups}
    if "waiting" in states:
        return "waiting"
    if "in flight" in states:
        return "in flight"
    return "unknown" if channel == REQUESTS else "committed"


def answer_of(event: PredictionScored, position: Position) -> Answer | None:
    """The result of one request in a packed event; None if it is not there or the event contradicts itself. Pure."""
    spelled = event.positions.split(" ")
    counts = event.rows or [1] * len(spelled)
    if str(position) not in spelled or len(counts) != len(spelled):
        return None
    at = spelled.index(str(position))
    first = sum(counts[:at])
    rows = slice(first, first + min(counts[at], ROWS_SHOWN))
    try:
        labels, shares = unpack_any(event.labels), unpack_any(event.probabilities)
        values = unpack_any(event.values)
    except (EventError, ValueError):
        return None
    return Answer(
        model=event.model,
        version=event.version,
        worker=event.worker,
        rows=counts[at],
        labels=[] if labels is None else [_named(int(one), event.names) for one in labels[rows]],
        values=[] if values is None else [float(one) for one in values[rows]],
        probabilities=[] if shares is None else [_ranked(row, event.names) for row in shares[rows]],
    )


def _named(index: int, names: Sequence[str]) -> str:
    return names[index] if 0 <= index < len(names) else str(index)


def _ranked(row: Any, names: Sequence[str]) -> list[tuple[str, float]]:
    ranked = sorted(enumerate(float(share) for share in row), key=lambda pair: -pair[1])
    return [(_named(index, names), round(share, 6)) for index, share in ranked[:CLASSES_SHOWN]]


async def _groups(bus: Bus, channel: str, handle: Handle) -> list[Waiting]:
    _, newest = await bus.last(channel, handle.partition)
    return [
        standing(group.name, group.lag, group.in_flight, group.oldest, newest, handle.position)
        for group in await bus.groups(channel, handle.partition)
    ]


def standing(group: str, lag: int, in_flight: int, oldest: Position | None, newest: Position, at: Position) -> Waiting:
    """What a group has done with the entry at `at`, as its lag and its first entry not committed tell. Pure.

    An entry behind one that is in flight may be committed already; it is called in flight, as nobody can tell cheaply.
    """
    handed_out = newest.number - lag
    if at.number > handed_out:
        return Waiting(group=group, state="waiting", ahead=at.number - handed_out - 1 + in_flight)
    if in_flight and oldest is not None and at >= oldest:
        return Waiting(group=group, state="in flight", ahead=min(in_flight - 1, at.number - oldest.number))
    return Waiting(group=group, state="committed")


async def _first(bus: Bus, channel: str, handle: Handle, sought: Callable[[Entry], Any]) -> tuple[Entry, Any] | None:
    """The first entry from the event on in which `sought` finds something, and what that is."""
    start: Position | None = Position(handle.position.ms, 0)  # what follows from an event is never older than it
    for _ in range(PAGES):
        entries = await bus.read(channel, handle.partition, start=start, count=PAGE)
        for entry in entries:
            if (found := sought(entry)) is not None:
                return entry, found
        if len(entries) < PAGE:
            break
        start = Position(entries[-1].position.ms, entries[-1].position.number + 1)
    return None


def _scored(handle: Handle) -> Callable[[Entry], PredictionScored | None]:
    spelled = str(handle.position)

    def sought(entry: Entry) -> PredictionScored | None:
        if spelled.encode() not in entry.payload:  # cheap, and right: positions stand in an event as text
            return None
        event = _decoded(entry)
        return event if isinstance(event, PredictionScored) and spelled in event.positions.split(" ") else None

    return sought


def _death_of(channel: str, handle: Handle) -> Callable[[Entry], EntryDead | None]:
    spelled = str(handle.position)

    def sought(entry: Entry) -> EntryDead | None:
        if spelled.encode() not in entry.payload:
            return None
        event = _decoded(entry)
        is_it = isinstance(event, EntryDead) and event.channel == channel and event.position == spelled
        return event if is_it else None

    return sought


def _told(death: tuple[Entry, EntryDead], partition: int) -> Death:
    entry, letter = death
    return Death(
        letter=f"{partition}-{entry.position}",
        group=letter.group,
        reason=letter.reason,
        attempts=letter.attempts,
        worker=letter.worker,
    )


async def _labelled(bus: Bus, handle: Handle) -> tuple[list[Stamp], list[str]]:
    """When the truth about a prediction came (maybe before its result) and met it, and what it is."""
    spelled = str(handle)
    stamps: list[Stamp] = []
    actual: list[str] = []

    def sought(entry: Entry) -> PredictionLabelled | PredictionJoined | None:
        if spelled.encode() not in entry.payload:
            return None
        match _decoded(entry):
            case PredictionLabelled(prediction=prediction) as event if prediction == spelled:
                return event
            case PredictionJoined(predictions=predictions) as event if spelled in predictions:
                return event
        return None

    for channel, name in ((LABELS, "labelled"), (JOINED, "joined")):
        if found := await _first(bus, channel, handle, sought):
            entry, event = found
            where = f"{channel} {handle.partition}-{entry.position}"
            stamps.append(Stamp(name, entry.position.ms / 1000, "server", where))
            if isinstance(event, PredictionLabelled):
                actual = [str(label) for label in event.labels[:ROWS_SHOWN]]
    return stamps, actual


def _decoded(entry: Entry) -> Any:
    try:
        return decode(entry.payload)
    except CodecError:
        return None
