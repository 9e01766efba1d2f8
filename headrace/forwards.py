"""A log read from its beginning: oldest entries first, in pages bounded by entries and by bytes.

The counterpart of `backwards`: pages grow while entries are small, so that a log of large events is read in the same
memory as one of small ones.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

from headrace.batching import BatchBound
from headrace.bus import Bus
from headrace.positions import START, Entry, Position

FIRST = 16
PAGE = 5_000
PAGE_BYTES = 4 * 1024 * 1024


async def forwards(
    bus: Bus, channel: str, partition: int, newest: Position, *, start: Position | None = None
) -> AsyncGenerator[list[Entry], None]:
    """Entries from `start` (None: the oldest) up to `newest`, which is part of it; no page is empty.

    A page has about PAGE_BYTES at most, unless single events are larger.
    """
    bound = BatchBound(PAGE, PAGE_BYTES, FIRST)
    while newest != START:
        page = await bus.read(channel, partition, start=start, stop=newest, count=bound.next_count())
        if not page:
            return
        yield page
        bound.observe(len(page), sum(len(entry.payload) for entry in page))
        last = page[-1].position
        start = Position(last.ms, last.number + 1)
