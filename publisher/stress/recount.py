"""What became of the requests that were not heard of, and whether any was decided twice: read back from the logs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from headrace.bus import Bus
from headrace.channels import DEAD, REQUESTS, RESULTS, SCORERS
from headrace.codec import decode
from headrace.errors import CodecError
from headrace.events import EntryDead, PredictionRequested, PredictionScored
from headrace.forwards import forwards
from headrace.positions import Entry, Position


@dataclass(slots=True)
class Found:
    """Numbers of requests, by what the logs say of them."""

    decided: set[int] = field(default_factory=set)
    doubled: set[int] = field(default_factory=set)
    waiting: set[int] = field(default_factory=set)


async def recount(bus: Bus, run: str, since_ms: int) -> Found:
    """Read what the logs have of the requests named `RUN.NUMBER`, from `since_ms` by the server's clock."""
    found = Found()
    for partition in bus.names.partitions_of(REQUESTS):
        oldest = await _undecided_from(bus, partition)
        _, newest = await bus.last(REQUESTS, partition)
        start = Position(since_ms, 0)
        if oldest is not None:
            async for page in forwards(bus, REQUESTS, partition, newest, start=max(start, oldest)):
                found.waiting.update(number for entry in page for number in _requested(entry, run))
        for channel in (RESULTS, DEAD):
            _, newest = await bus.last(channel, partition)
            async for page in forwards(bus, channel, partition, newest, start=start):
                for number in (number for entry in page for number in _decided(entry, run)):
                    (found.doubled if number in found.decided else found.decided).add(number)
    found.waiting -= found.decided
    return found


async def _undecided_from(bus: Bus, partition: int) -> Position | None:
    """The first request without an outcome; None if there is none."""
    for group in await bus.groups(REQUESTS, partition):
        if group.name == SCORERS:
            return group.oldest
    return Position(0, 0)


def _requested(entry: Entry, run: str) -> Iterator[int]:
    try:
        event = decode(entry.payload)
    except CodecError:
        return
    if isinstance(event, PredictionRequested):
        yield from _number(event.id, run)


def _decided(entry: Entry, run: str) -> Iterator[int]:
    try:
        event = decode(entry.payload)
    except CodecError:
        return
    match event:
        case PredictionScored():
            for request in event.ids:
                yield from _number(request, run)
        case EntryDead(channel=channel, payload=payload) if channel == REQUESTS and run.encode() in payload:
            yield from _requested(entry._replace(payload=payload), run)


def _number(request: str, run: str) -> Iterator[int]:
    name, _, number = request.rpartition(".")
    if name == run and number.isdecimal():
        yield int(number)
