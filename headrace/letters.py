"""Dead letters: which there are, why, and what was done about them. Reads only; `headrace.orders` does something.

The log of dead letters is never edited: what was done to a letter is a mark in saved state.
"""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from headrace.backwards import backwards
from headrace.bus import Bus
from headrace.channels import ACTIONS, DEAD, checked
from headrace.codec import decode
from headrace.errors import CodecError, HeadraceError, SettingsError
from headrace.events import ActionTaken, EntryDead, PredictionRequested
from headrace.positions import Handle, Position

Action = Literal["requeue", "discard"]

NAME = "letters"
"""Of the saved state that holds the marks, by position."""
SCAN = 5_000
SCAN_BYTES = 64 * 1024 * 1024
"""How far back one question looks."""
LIMIT = 100
LATEST = Position(2**63, 0)


class Mark(msgspec.Struct, frozen=True):
    """What was done to a letter, when (Unix seconds) and by whom; `act` is the id of the audit event."""

    action: Action
    time: float
    actor: str = ""
    act: str = ""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter, its place in the log of dead letters, and its mark if something was done to it."""

    place: Handle
    event: EntryDead
    mark: Mark | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which letters are meant: of a channel, of a group, with `text` in their reason; empty means any.

    Letters newer than `newest` are left out: whoever confirmed an action confirmed it for what they saw.
    """

    channel: str = ""
    group: str = ""
    text: str = ""
    newest: Handle | None = None

    def fits(self, place: Handle, event: EntryDead) -> bool:
        if self.newest is not None and order(place) > order(self.newest):
            return False
        if self.channel not in ("", event.channel) or self.group not in ("", event.group):
            return False
        wanted = self.text.casefold()
        return wanted in event.reason.casefold() or wanted in gist(event.reason).casefold()


@dataclass(slots=True)
class Listing:
    """Letters newest first, and counts over all letters that were looked at and fit the filter.

    `waiting` are those that nothing was done to; `reasons`, `channels` and `groups` count these, whatever the filter
    says of the reason. `looked` letters were read, back to Unix second `since`; `complete` if that is all there are.
    `before` is where the next page begins; None at the end.
    """

    letters: list[Letter] = field(default_factory=list)
    fitting: int = 0
    waiting: int = 0
    done: int = 0
    looked: int = 0
    since: float = 0.0
    complete: bool = True
    before: Handle | None = None
    reasons: Counter[str] = field(default_factory=Counter)
    places: Counter[tuple[str, str]] = field(default_factory=Counter)


def order(place: Handle) -> tuple[int, int, int]:
    """Letters of all partitions in one order: by time, then by what is arbitrary but fixed."""
    return place.position.ms, place.position.number, place.partition


def gist(reason: str) -> str:
    """A reason without what differs from letter to letter, so that equal ones count together."""
    plain = re.sub(r"'[^']*'|\"[^\"]*\"", "'…'", reason)
    return re.sub(r"\d[\d.,_-]*", "…", plain)


def warning(event: EntryDead, now: float) -> str:
    """Why publishing it again at Unix time `now` would be in vain; empty if nothing is known against it."""
    try:
        held = decode(event.payload)
    except CodecError as error:
        return f"its payload cannot be read: {error}"
    if isinstance(held, PredictionRequested) and held.deadline and held.deadline < now:
        return f"its deadline passed {now - held.deadline:.0f} s ago: it would die again"
    return ""


def unfit(letter: Letter, limit_bytes: int) -> str:
    """Why a letter cannot be published again at all; empty if it can."""
    event = letter.event
    if not event.payload:
        return "it has no payload"
    if len(event.payload) >= limit_bytes:
        return f"its payload was cut at {limit_bytes:,} bytes, so it is not the event any more"
    if event.partition != letter.place.partition:
        return f"it says that it is of partition {event.partition}"
    try:
        checked(event.channel)
    except SettingsError as error:
        return str(error)
    return ""


async def letters(
    bus: Bus,
    wanted: Filter | None = None,
    *,
    before: Handle | None = None,
    limit: int = LIMIT,
    done: bool = False,
    most: int = SCAN,
    at: int | None = None,
) -> Listing:
    """Up to `limit` letters older than `before` that fit; those that were dealt with only if `done` asks for them.

    With `at` (Unix ms) it is as it was at that moment: later letters were not there, and nothing was done since.
    """
    wanted = wanted or Filter()
    found = Listing()
    marks = {partition: await read_marks(bus, partition) for partition in bus.names.partitions_of(DEAD)}
    if at is not None:
        before = before or Handle(0, Position(at + 1, 0))
        marks = {
            partition: {place: mark for place, mark in all_.items() if mark.time * 1000 <= at}
            for partition, all_ in marks.items()
        }
    last: dict[int, Position] = {}
    place: Handle | None = None
    async for place, event in _newest(bus, before, most):
        found.looked += 1
        last[place.partition] = place.position
        mark = marks[place.partition].get(place.position)
        if mark is None and Filter(wanted.channel, wanted.group, newest=wanted.newest).fits(place, event):
            found.reasons[gist(event.reason)] += 1
        if mark is None:
            found.places[event.channel, event.group] += 1
        if not wanted.fits(place, event):
            continue
        found.fitting += 1
        found.waiting += mark is None
        found.done += mark is not None
        if mark is not None and not done:
            continue
        if len(found.letters) < limit:
            found.letters.append(Letter(place, event, mark))
        elif found.before is None:
            found.before = found.letters[-1].place if found.letters else place
    found.complete = await _all_seen(bus, last, before)
    if place is not None:
        found.since = place.position.ms / 1000
        if not found.complete and found.before is None:
            found.before = place
    return found


async def fetch(bus: Bus, places: Iterable[Handle]) -> tuple[list[Letter], dict[str, str]]:
    """The letters at these places, and why others could not be had, by handle."""
    found: list[Letter] = []
    refused: dict[str, str] = {}
    marks: dict[int, Mapping[Position, Mark]] = {}
    for place in places:
        partition, position = place
        if partition not in bus.names.partitions_of(DEAD):
            refused[str(place)] = f"there is no partition {partition}"
            continue
        if partition not in marks:
            marks[partition] = await read_marks(bus, partition)
        entries = await bus.read(DEAD, partition, start=position, stop=position, count=1)
        event = _letter(entries[0].payload) if entries else None
        if event is None:
            refused[str(place)] = "there is no such dead letter; retention may have removed it"
        else:
            found.append(Letter(place, event, marks[partition].get(position)))
    return found, refused


async def matching(bus: Bus, wanted: Filter, most: int = SCAN) -> list[Letter]:
    """All letters that fit and that nothing was done to, as far back as `most` letters, oldest first."""
    return (await letters(bus, wanted, limit=most, most=most)).letters[::-1]


async def actions(bus: Bus, most: int = 20, at: int | None = None) -> list[tuple[Handle, ActionTaken]]:
    """What was done to dead letters (until `at`, Unix ms), newest first."""
    before = None if at is None else Position(at + 1, 0)
    found = []
    for partition in bus.names.partitions_of(DEAD):
        count = 0
        async for page in backwards(bus, ACTIONS, partition, before=before, most=10 * most, most_bytes=SCAN_BYTES):
            for entry in page:
                with contextlib.suppress(CodecError):
                    event = decode(entry.payload)
                    if isinstance(event, ActionTaken) and event.action in ("requeue", "discard") and count < most:
                        found.append((Handle(partition, entry.position), event))
                        count += 1
    return sorted(found, key=lambda pair: order(pair[0]), reverse=True)[:most]


async def read_marks(bus: Bus, partition: int) -> dict[Position, Mark]:
    """What was done to the letters of a partition, by position."""
    found = {}
    for spelled, value in (await bus.state(NAME, partition)).items():
        with contextlib.suppress(HeadraceError, msgspec.DecodeError):
            found[Position.parse(spelled)] = msgspec.json.decode(value, type=Mark)
    return found


async def _newest(bus: Bus, before: Handle | None, most: int) -> AsyncGenerator[tuple[Handle, EntryDead], None]:
    """The letters of all partitions in one order, newest first, up to `most`; entries that are none are skipped."""
    async with contextlib.AsyncExitStack() as stack:
        heads = []
        for partition in bus.names.partitions_of(DEAD):
            source = await stack.enter_async_context(contextlib.aclosing(_of_partition(bus, partition, before, most)))
            if head := await anext(source, None):
                heads.append((source, head))
        while heads and most > 0:
            at = max(range(len(heads)), key=lambda i: order(heads[i][1][0]))
            source, head = heads[at]
            yield head
            most -= 1
            if following := await anext(source, None):
                heads[at] = source, following
            else:
                del heads[at]


async def _of_partition(
    bus: Bus, partition: int, before: Handle | None, most: int
) -> AsyncGenerator[tuple[Handle, EntryDead], None]:
    end = None
    if before is not None:  # a letter of the same position in a lower partition comes after it
        end = Position(before.position.ms, before.position.number + (partition < before.partition))
    async for page in backwards(bus, DEAD, partition, before=end, most=most, most_bytes=SCAN_BYTES):
        for entry in page:
            event = _letter(entry.payload)
            if event is not None:
                yield Handle(partition, entry.position), event


async def _all_seen(bus: Bus, last: Mapping[int, Position], before: Handle | None) -> bool:
    """Whether nothing older is in the logs than what was read last in each partition."""
    for partition in bus.names.partitions_of(DEAD):
        first = await bus.read(DEAD, partition, count=1)
        if first and not (
            last.get(partition, LATEST) <= first[0].position
            or (before is not None and order(Handle(partition, first[0].position)) >= order(before))
        ):
            return False
    return True


def _letter(payload: bytes) -> EntryDead | None:
    try:
        event = decode(payload)
    except CodecError:
        return None
    return event if isinstance(event, EntryDead) else None
