"""What the logs still hold around a moment: frames, samples, labels, alerts. Bounded reads, a page at a time.

`frames` has every frame of the last minutes, `frames-long` one of every ten seconds of the last hours: what is asked of
the time before the first entry of `frames` comes from `frames-long`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime

from headrace.bus import Bus, Entry
from headrace.channels import ALERTS, FRAMES, FRAMES_LONG, JOINED, TAIL
from headrace.codec import decode
from headrace.dashboard.state import State
from headrace.errors import CodecError, HeadraceError
from headrace.events import Frame
from headrace.positions import Position

PAGE = 16
"""Frames read and decoded without letting others run."""
BESIDE_PAGE = 100
BESIDE_ENTRIES = 3_000
BESIDE_BYTES = 8 * 1024 * 1024
"""Most that is read of one partition of samples, labels or alerts; of more only the newest are taken."""

Dated = tuple[Entry, Frame]


class PastError(HeadraceError):
    """Nothing is kept of a moment; `oldest_ms` is the oldest that is, None if there is none at all."""

    def __init__(self, text: str, oldest_ms: int | None) -> None:
        super().__init__(text)
        self.oldest_ms = oldest_ms


@dataclass(frozen=True, slots=True)
class Kept:
    """The newest frame at or before a moment, and the channel that holds it."""

    channel: str
    position: Position
    frame: Frame


class Beside:
    """Entries that came between frames, oldest first, to be folded in where they belong."""

    def __init__(self, entries: deque[Entry]) -> None:
        self._entries = entries

    async def fold(self, state: State, until_ms: int | None = None) -> None:
        """Fold in those until `until_ms`, or all that are left; others run between every few of them."""
        done = 0
        while self._entries and (until_ms is None or self._entries[0].position.ms <= until_ms):
            fold_entry(state, self._entries.popleft())
            done += 1
            if done % BESIDE_PAGE == 0:
                await asyncio.sleep(0)


class Record:
    """Reads of one bus. Raises HeadraceError where the server does not answer."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus

    async def oldest(self) -> tuple[int | None, int | None]:
        """The oldest moment of which anything is kept, and the oldest of which every second is, in ms."""
        exact = await self._first(FRAMES)
        sparse = await self._first(FRAMES_LONG)
        every = [position.ms for position in (exact, sparse) if position is not None]
        return min(every, default=None), exact.ms if exact else None

    async def newest(self, at_ms: int) -> Kept:
        """The newest frame at or before `at_ms`. Raises PastError if none is kept."""
        for channel in (FRAMES, FRAMES_LONG):
            for entry in await self.bus.read(channel, stop=Position(at_ms + 1, 0), count=1, newest_first=True):
                event = decode(entry.payload)
                if isinstance(event, Frame):
                    return Kept(channel, entry.position, event)
        oldest, _ = await self.oldest()
        if oldest is None:
            raise PastError("no frame is kept yet; start an aggregator with `headrace aggregator`", None)
        raise PastError(
            f"nothing is kept of {told(at_ms)} any more; the oldest moment is {told(oldest)}. "
            "Keep more with HEADRACE_FRAMES_S and HEADRACE_FRAMES_LONG_S",
            oldest,
        )

    async def frames(self, start_ms: int, stop: Position) -> AsyncIterator[list[Dated]]:
        """Pages of the frames from `start_ms` to `stop`, oldest first; what cannot be read is left out."""
        first = await self._first(FRAMES)
        if first is None or start_ms < first.ms:
            before = stop if first is None else min(stop, Position(first.ms, 0))
            async for page in self._pages(FRAMES_LONG, start_ms, before):
                yield page
        if first is not None and first <= stop:
            async for page in self._pages(FRAMES, max(start_ms, first.ms), stop):
                yield page

    async def beside(self, start_ms: int, stop: Position) -> Beside:
        """Samples, labels and alerts from `start_ms` to `stop`; of very many, the newest."""
        found: list[tuple[int, int, Entry]] = []
        for order, channel in enumerate((TAIL, JOINED, ALERTS)):
            for partition in self.bus.names.partitions_of(channel):
                entries = await self._newest(channel, partition, start_ms, stop.ms)
                found += [(entry.position.ms, order, entry) for entry in entries]
        found.sort(key=lambda one: one[:2])
        return Beside(deque(entry for _, _, entry in found))

    async def _first(self, channel: str) -> Position | None:
        entries = await self.bus.read(channel, count=1)
        return entries[0].position if entries else None

    async def _pages(self, channel: str, start_ms: int, stop: Position) -> AsyncIterator[list[Dated]]:
        start = Position(max(0, start_ms), 0)
        while entries := await self.bus.read(channel, start=start, stop=stop, count=PAGE):
            yield [(entry, event) for entry in entries if (event := read_frame(entry)) is not None]
            if len(entries) < PAGE:
                return
            last = entries[-1].position
            start = Position(last.ms, last.number + 1)
            await asyncio.sleep(0)

    async def _newest(self, channel: str, partition: int, start_ms: int, stop_ms: int) -> list[Entry]:
        found: list[Entry] = []
        size = 0
        start, stop = Position(max(0, start_ms), 0), Position(stop_ms + 1, 0)
        while start < stop and len(found) < BESIDE_ENTRIES and size < BESIDE_BYTES:
            page = await self.bus.read(channel, partition, start=start, stop=stop, count=BESIDE_PAGE, newest_first=True)
            found += page
            size += sum(len(entry.payload) for entry in page)
            if len(page) < BESIDE_PAGE:
                break
            last = page[-1].position
            stop = Position(last.ms, last.number - 1) if last.number else Position(last.ms - 1, 2**63 - 1)
            await asyncio.sleep(0)
        return found[::-1]


def fold_entry(state: State, entry: Entry) -> None:
    """Fold an entry in; one that cannot be read changes nothing."""
    try:
        state.fold(decode(entry.payload), entry.position)
    except CodecError:
        return


def read_frame(entry: Entry) -> Frame | None:
    """The frame of an entry; None if it is of another version, or broken."""
    try:
        event = decode(entry.payload)
    except CodecError:
        return None
    return event if isinstance(event, Frame) else None


def told(ms: int) -> str:
    """A moment in words: UTC, for a text that anybody may read."""
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return f"{ms} ms"
