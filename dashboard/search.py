"""Finding an event by its id or place: newest entries first, for so long, and saying how far back that was."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import Any

import msgspec

from headrace.backwards import backwards
from headrace.bus import Bus
from headrace.dashboard.looks.tail import Line, line_of
from headrace.dashboard.readable import fields
from headrace.errors import CodecError, EventError
from headrace.positions import Entry, Handle, Position

BUDGET_S = 1.5
SCAN = 100_000
SCAN_BYTES = 128 * 1024 * 1024
HITS = 50
SHORTEST = 3
LARGEST = 2**64 - 1


class Hit(msgspec.Struct, frozen=True):
    """An entry found. `how`: it `is` the event, it `names` it in one of its fields, or it stands at that `place`."""

    channel: str
    how: str
    line: Line


class Looked(msgspec.Struct, frozen=True):
    """How far back a channel was searched: entries, and Unix seconds of the oldest; `complete` if to its beginning."""

    channel: str
    entries: int
    since: float | None
    complete: bool


class Found(msgspec.Struct, frozen=True):
    """What a search came to. `looked` is empty where a place was asked for: that needs no search."""

    hits: list[Hit]
    looked: list[Looked]


def place(text: str) -> tuple[int | None, Position] | None:
    """The partition (None if it is not said) and position that a text names; None if it names none. Pure."""
    for parse in (_handle, _position):
        try:
            partition, position = parse(text)
        except EventError:
            continue
        return (partition, position) if max(position) <= LARGEST else None
    return None


def names(value: Any, wanted: str, depth: int = 0) -> bool:
    """Whether one of an event's fields is the id, or a list with it. Pure."""
    match value:
        case str():
            return value == wanted or wanted in value.split(" ")
        case dict():
            return depth < 6 and any(names(item, wanted, depth + 1) for item in value.values())
        case list() | tuple():
            return depth < 6 and any(names(item, wanted, depth + 1) for item in value)
        case bytes() if wanted.encode() in value:
            try:
                return names(fields(value), wanted, depth + 1)
            except CodecError:
                return False
    return False


async def search(
    bus: Bus,
    text: str,
    channels: Sequence[str],
    *,
    budget_s: float = BUDGET_S,
    clock: Callable[[], float] = time.monotonic,
) -> Found:
    """Entries that are, name or stand at `text`, newest first in each channel; at most HITS."""
    if at := place(text):
        return Found(await _at(bus, at, channels), [])
    hits: list[Hit] = []
    counted = dict.fromkeys(channels, 0)
    oldest: dict[str, float] = {}
    complete = set(channels)
    ends = clock() + budget_s
    async with AsyncExitStack() as stack:
        sources: list[tuple[str, int, AsyncGenerator[list[Entry], None]]] = []
        for channel in channels:
            for partition in bus.names.partitions_of(channel):
                pages = backwards(bus, channel, partition, most=SCAN, most_bytes=SCAN_BYTES)
                sources.append((channel, partition, await stack.enter_async_context(aclosing(pages))))
        while sources:
            going = []
            for channel, partition, pages in sources:
                if clock() > ends or len(hits) >= HITS:
                    complete.discard(channel)
                    continue
                page = await anext(pages, None)
                if page is None:
                    continue
                counted[channel] += len(page)
                oldest[channel] = max(oldest.get(channel, 0.0), page[-1].position.ms / 1000)
                hits += _hits(page, channel, partition, text)
                going.append((channel, partition, pages))
            sources = going
    looked = [
        Looked(channel, counted[channel], oldest.get(channel), channel in complete and counted[channel] < SCAN)
        for channel in channels
    ]
    return Found(sorted(hits, key=lambda hit: hit.how != "is")[:HITS], looked)


def _hits(page: Sequence[Entry], channel: str, partition: int, wanted: str) -> list[Hit]:
    found = []
    needle = wanted.encode()
    for entry in page:
        if needle not in entry.payload:
            continue
        try:
            event = fields(entry.payload)
        except CodecError:
            continue
        if event.get("id") == wanted:
            found.append(Hit(channel, "is", line_of(entry, partition)))
        elif names(event, wanted):
            found.append(Hit(channel, "names", line_of(entry, partition)))
    return found


async def _at(bus: Bus, at: tuple[int | None, Position], channels: Sequence[str]) -> list[Hit]:
    stated, position = at
    hits = []
    for channel in channels:
        for partition in bus.names.partitions_of(channel):
            if stated not in (None, partition):
                continue
            entries = await bus.read(channel, partition, start=position, stop=position, count=1)
            hits += [Hit(channel, "place", line_of(entry, partition)) for entry in entries]
    return hits


def _handle(text: str) -> tuple[int | None, Position]:
    found = Handle.parse(text)
    return found.partition, found.position


def _position(text: str) -> tuple[int | None, Position]:
    return None, Position.parse(text)
