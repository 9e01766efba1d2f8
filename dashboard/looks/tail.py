"""The newest entries of the channels that somebody watches: section `tail:CHANNEL`.

A look reads so many of the entries that came since the one before, the newest of them; how many came in between is in
their numbers, which are dense. So the cost of a watched channel does not grow with its rate.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec

from headrace.backwards import backwards
from headrace.bus import Bus
from headrace.channels import checked
from headrace.dashboard.readable import fields, line
from headrace.dashboard.state import State
from headrace.errors import CodecError, SettingsError
from headrace.positions import START, Entry, Handle, Position

WORD = "tail:"
CHANNELS = 6
"""Channels watched at once, by all browsers together; who comes later waits until one is left."""
FRESH = 40
FRESH_BYTES = 1_000_000
KEPT = 60


class Line(msgspec.Struct, frozen=True):
    """One entry: its handle, the attributes of its event, and its other fields as one line of text."""

    at: str
    type: str
    id: str
    source: str
    subject: str
    text: str
    bytes: int


class Tail(msgspec.Struct, frozen=True):
    """The section: the newest lines first. Another `epoch` means that the log was replaced."""

    channel: str
    epoch: str
    lines: list[Line]


@dataclass(slots=True)
class Held:
    """What is known of one channel: epoch and last position by partition."""

    epochs: dict[int, str] = field(default_factory=dict)
    last: dict[int, Position] = field(default_factory=dict)
    lines: deque[tuple[Handle, Line]] = field(default_factory=lambda: deque(maxlen=KEPT))


class Tails:
    """Reads the tails of channels; of the moment `at` (Unix ms) what the logs still hold of them."""

    def __init__(self, at: int | None = None) -> None:
        self._at = at
        self._held: dict[str, Held] = {}

    def wants(self, name: str) -> bool:
        return name.startswith(WORD)

    async def look(self, bus: Bus, state: State, names: Collection[str]) -> Mapping[str, msgspec.Struct]:
        for gone in self._held.keys() - {name.removeprefix(WORD) for name in names}:
            del self._held[gone]
        found = {}
        for name in sorted(names):
            channel = name.removeprefix(WORD)
            with suppress(SettingsError):
                checked(channel)
                if self._at is not None:
                    found[name] = await tail_at(bus, channel, self._at)
                elif channel in self._held or len(self._held) < CHANNELS:
                    found[name] = await self._look(bus, channel)
        return found

    async def _look(self, bus: Bus, channel: str) -> Tail:
        held = self._held.setdefault(channel, Held())
        partitions = bus.names.partitions_of(channel)
        fresh: list[tuple[Handle, Line]] = []
        for partition in partitions:
            epoch, newest = await bus.last(channel, partition)
            before = held.last.get(partition, START)
            if epoch != held.epochs.get(partition, epoch) or newest < before:
                self._held[channel] = Held()
                return await self._look(bus, channel)
            if newest > before:
                after = Position(before.ms, before.number + 1)
                async for page in backwards(
                    bus,
                    channel,
                    partition,
                    stop=after,
                    most=max(5, FRESH // len(partitions)),
                    most_bytes=FRESH_BYTES // len(partitions),
                ):
                    fresh += [(Handle(partition, entry.position), line_of(entry, partition)) for entry in page]
                held.last[partition] = max([newest, *(place.position for place, _ in fresh if place[0] == partition)])
            held.epochs[partition] = epoch
        for pair in sorted(fresh, key=lambda pair: pair[0].position):
            held.lines.appendleft(pair)
        return Tail(channel, " ".join(held.epochs.values()), [shown for _, shown in held.lines])


async def tail_at(bus: Bus, channel: str, ms: int) -> Tail:
    """The tail as it was at a moment: what the log still holds of it."""
    partitions = bus.names.partitions_of(channel)
    found: list[tuple[Handle, Line]] = []
    epochs = []
    for partition in partitions:
        epoch, _ = await bus.last(channel, partition)
        epochs.append(epoch)
        async for page in backwards(
            bus,
            channel,
            partition,
            before=Position(ms + 1, 0),
            most=max(5, KEPT // len(partitions)),
            most_bytes=FRESH_BYTES // len(partitions),
        ):
            found += [(Handle(partition, entry.position), line_of(entry, partition)) for entry in page]
    found.sort(key=lambda pair: pair[0].position, reverse=True)
    return Tail(channel, " ".join(epochs), [shown for _, shown in found[:KEPT]])


def line_of(entry: Entry, partition: int) -> Line:
    """An entry as the tail shows it. Pure."""
    at, size = str(Handle(partition, entry.position)), len(entry.payload)
    try:
        found = fields(entry.payload)
    except CodecError as error:
        return Line(at, "?", "", "", "", str(error), size)
    type_, id_, source, subject = (str(found.get(name, ""))[:100] for name in ("type", "id", "source", "subject"))
    return Line(at, type_ or "?", id_, source, subject, line(found), size)
