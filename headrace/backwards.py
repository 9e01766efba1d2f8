"""A log read from its end: newest entries first, in pages, within a bound of entries and bytes.

Pages grow while entries are small, so that a channel of large events costs no more than one of small ones.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

from headrace.bus import Bus
from headrace.positions import Entry, Position

FIRST = 20
PAGE = 500
PAGE_BYTES = 1_000_000


async def backwards(
    bus: Bus,
    channel: str,
    partition: int,
    *,
    before: Position | None = None,
    stop: Position | None = None,
    most: int,
    most_bytes: int,
) -> AsyncGenerator[list[Entry], None]:
    """Entries before `before` (None: from the end), not older than `stop`, newest first.

    Ends at the oldest entry, or as soon as `most` entries or `most_bytes` were given; the last page may go beyond the
    bytes by its own size, which is about PAGE_BYTES unless single events are larger.
    """
    ask = FIRST
    while most > 0 and most_bytes > 0:
        count = min(ask, most)
        end = just_before(before) if before else None
        entries = await bus.read(channel, partition, start=stop, stop=end, count=count, newest_first=True)
        if not entries:
            return
        yield entries
        if len(entries) < count:
            return
        size = sum(len(entry.payload) for entry in entries)
        most -= len(entries)
        most_bytes -= size
        ask = max(1, min(PAGE, PAGE_BYTES * len(entries) // max(1, size)))
        before = entries[-1].position


def through(ms: int) -> Position:
    """The last place of a millisecond: what was there at that moment is not after it."""
    return just_before(Position(ms + 1, 0))


def just_before(position: Position) -> Position:
    """The last place before a position, whether or not an entry is there."""
    ms, number = position
    return Position(ms, number - 1) if number else Position(ms - 1, 2**64 - 1)
