"""Subscribing: every event of a partition in order, pushed if it can be, fetched from the log if it must.

The driver of the pure rules in headrace.recovery: it listens, asks the log when they say so, and counts.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from headrace.batching import BatchBound
from headrace.bus.envelope import opened
from headrace.bus.live import Live, RedisLive
from headrace.errors import CodecError, SettingsError, UnavailableError
from headrace.positions import START, Entry, Position
from headrace.recovery import Lost, Notice, Seen, arrived, resumed

if TYPE_CHECKING:
    from headrace.bus.bus import Bus

CHECK_S = 1.0
"""A partition silent for so long is compared with its log: the last event pushed may be the one that got lost."""
HEALED = 2_000
HEALED_FIRST = 100
HEALED_BYTES = 4 * 1024 * 1024
"""What is fetched from the log at once, so that a long gap in a channel of large events needs no more memory."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Events of one partition in order, or a notice about it; `healed` ones came from the log."""

    channel: str
    partition: int
    entries: list[Entry]
    healed: bool = False
    notice: Notice | None = None


@dataclass(slots=True)
class Counts:
    """Events seen so far: pushed, fetched from the log instead, in neither."""

    live: int = 0
    healed: int = 0
    lost: int = 0


class Subscription:
    """Follows channels over one connection. A context manager; `async for` gives deliveries for ever."""

    def __init__(
        self, bus: Bus, channels: tuple[str, ...], since: Mapping[str, Position] | Literal["now", "start"]
    ) -> None:
        if not channels:
            raise SettingsError("subscribe needs at least one channel")
        self.counts = Counts()
        self.connected = False
        """Whether the server answered last time it was asked."""
        self._bus = bus
        self._since = since
        self._places = {
            bus.names.live(channel, partition): (channel, partition)
            for channel in channels
            for partition in bus.names.partitions_of(channel)
        }
        self._seen: dict[str, Seen] = {}
        self._heard: dict[str, float] = {}
        self._bounds = {live: BatchBound(HEALED, HEALED_BYTES, HEALED_FIRST) for live in self._places}
        self._due: set[str] = set()
        self._driver: Live = self._drive()

    def _drive(self) -> Live:
        if self._bus.settings.live_driver == "asyncio-redis":
            from headrace.bus.live_asyncio_redis import AsyncioRedisLive

            other: Live = AsyncioRedisLive(self._bus.settings)
            return other
        return RedisLive(self._bus._client, self._bus.settings)

    async def __aenter__(self) -> Subscription:
        await self._driver.__aenter__()
        await self._driver.subscribe(list(self._places))
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._driver.__aexit__(*error)

    async def __aiter__(self) -> AsyncIterator[Delivery]:
        async for pushed in self._driver.pushes():
            try:
                async for delivery in self._react(pushed):
                    yield delivery
            except UnavailableError:
                self.connected = False
                self._due.update(self._places)

    async def _react(self, pushed: list[tuple[str, bytes]] | None) -> AsyncIterator[Delivery]:
        if pushed is None:
            self._due.update(self._places)
            pushed = []
        now = time.monotonic()
        heard = {live for live, _ in pushed}
        for live in self._seen:
            if live in heard:
                self._heard[live] = now
            elif now - self._heard.get(live, 0.0) >= CHECK_S:
                self._due.add(live)
        for live in sorted(self._due):
            async for delivery in self._heal(live) if live in self._seen else self._begin(live):
                yield delivery
            self._heard[live] = now
            self._due.discard(live)
        for live, payload in pushed:
            if live in self._seen:
                async for delivery in self._take(live, payload):
                    yield delivery

    async def _begin(self, live: str) -> AsyncIterator[Delivery]:
        channel, partition = self._places[live]
        epoch, newest = await self._bus.last(channel, partition)
        self.connected = True
        if self._since == "start":
            seen = Seen(epoch, START)
        elif isinstance(self._since, Mapping) and channel in self._since:
            seen = Seen(epoch, self._since[channel])
        else:
            seen = Seen(epoch, newest)
        self._seen[live] = seen
        if seen.last != newest:
            async for delivery in self._heal(live, expected=self._since == "start"):
                yield delivery

    async def _take(self, live: str, payload: bytes) -> AsyncIterator[Delivery]:
        channel, partition = self._places[live]
        try:
            epoch, entries = opened(payload)
            verdict = arrived(self._seen[live], epoch, entries)
        except CodecError:  # an event in it is broken, or a stranger published here: the log knows
            verdict = None
        if verdict is None:
            async for delivery in self._heal(live):
                yield delivery
            return
        self._seen[live], fresh = verdict
        self.connected = True
        if fresh:
            self.counts.live += len(fresh)
            yield Delivery(channel, partition, fresh)

    async def _heal(self, live: str, *, expected: bool = False) -> AsyncIterator[Delivery]:
        """Read the log to its end. `expected`: history that was asked for, so nothing of it counts as lost."""
        channel, partition = self._places[live]
        bound = self._bounds[live]
        while True:
            snapshot = await self._bus.resume(channel, partition, self._seen[live].last, bound.next_count())
            self.connected = True
            before = self._seen[live]
            self._seen[live], notices, entries = resumed(before, snapshot)
            for notice in notices:
                if isinstance(notice, Lost):
                    if expected and before.last == START:
                        continue
                    self.counts.lost += notice.count
                yield Delivery(channel, partition, [], notice=notice)
            if entries:
                self.counts.healed += len(entries)
                bound.observe(len(entries), sum(len(entry.payload) for entry in entries))
                yield Delivery(channel, partition, entries, healed=True)
            if self._seen[live] == before or (entries and entries[-1].position >= snapshot.newest):
                return
