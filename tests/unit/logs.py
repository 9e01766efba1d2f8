"""A story with logs behind it: the frames are those of tests/unit/frames.py, everything else is in a real bus.

`LogBus` gives to the dashboard what it asks of logs, groups and saved state from a bus on fakeredis, so that what a
test publishes there is what the page shows.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from headrace.arrays import pack_rows
from headrace.bus import Bus, Commit, GroupState, Left, Receipt
from headrace.channels import DEAD, FRAMES, FRAMES_LONG, JOINED, LABELS, REQUESTS, RESULTS, RUNS, TAIL
from headrace.codec import encode
from headrace.events import (
    EntryDead,
    Event,
    PredictionJoined,
    PredictionLabelled,
    PredictionRequested,
    PredictionScored,
    RunMetrics,
)
from headrace.letters import NAME as LETTERS
from headrace.positions import Entry, Handle, Position
from headrace.settings import Settings
from headrace.testing import mend_fakeredis
from tests.unit.frames import DIGITS, Story, StoryBus, digit

OWN = frozenset({FRAMES, FRAMES_LONG, TAIL})
"""Channels that the story itself plays."""
REASONS = (
    "row {n} holds nan in column 3",
    "unknown model 'digitz{n}'; known: digits, diabetes",
    "rows must have 64 values, these have {n}",
)


def fake_bus(settings: Settings | None = None) -> Bus:
    """A bus on a fakeredis server of its own."""
    import fakeredis

    mend_fakeredis()
    client: Any = fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer(version=(7, 0)))
    return Bus(settings or Settings(prefix=f"test-{secrets.token_hex(4)}"), client)


class LogBus(StoryBus):
    """Frames of a story, logs of a bus."""

    def __init__(self, under: Bus, story: Story | None = None, **options: Any) -> None:
        super().__init__(under.settings, story or Story(), **options)
        self.under = under

    async def last(self, channel: str, partition: int = 0) -> tuple[str, Position]:
        if channel in OWN:
            return await super().last(channel, partition)
        return await self.under.last(channel, partition)

    async def read(
        self,
        channel: str,
        partition: int = 0,
        *,
        start: Position | None = None,
        stop: Position | None = None,
        count: int = 500,
        newest_first: bool = False,
    ) -> list[Entry]:
        if channel in OWN:
            return await super().read(
                channel, partition, start=start, stop=stop, count=count, newest_first=newest_first
            )
        return await self.under.read(channel, partition, start=start, stop=stop, count=count, newest_first=newest_first)

    async def state(self, name: str, partition: int = 0) -> dict[str, bytes]:
        return await (self.under.state(name, partition) if name == LETTERS else super().state(name, partition))

    async def groups(self, channel: str, partition: int = 0) -> list[GroupState]:
        return await self.under.groups(channel, partition)

    async def lease(self, name: str, token: str, ttl_ms: int, partition: int = 0) -> bool:
        return await self.under.lease(name, token, ttl_ms, partition)

    async def release(self, name: str, token: str, partition: int = 0) -> None:
        await self.under.release(name, token, partition)

    async def commit(self, work: Commit) -> list[Position] | Left:
        return await self.under.commit(work)

    async def publish(
        self, channel: str, events: Sequence[Event | bytes], *, partition: int = 0, patience_s: float = 5.0
    ) -> Receipt:
        self.published.extend(events)
        return await self.under.publish(channel, events, partition=partition, patience_s=patience_s)


async def asked(bus: Bus, number: int, **fields: Any) -> Handle:
    """A request for a digit, as a publisher makes it."""
    event = PredictionRequested(
        id=f"q-{number}",
        source="shop-floor",
        time=time.time(),
        **{"model": "digits", "inputs": pack_rows([digit(number % 10, number)]), **fields},
    )
    receipt = await bus.publish(REQUESTS, [event])
    return Handle(0, receipt.positions[0])


async def scored(bus: Bus, number: int, handle: Handle) -> Handle:
    """Its result."""
    now = time.time()
    shares = [0.91 if n == number % 10 else 0.01 for n in range(10)]
    event = PredictionScored(
        time=now,
        source="scorer-1",
        model="digits",
        version=3,
        positions=str(handle.position),
        ids=[f"q-{number}"],
        labels=[number % 10],
        probabilities=pack_rows([shares]),
        names=DIGITS,
        worker="scorer-1",
        received=now - 0.0008,
        scored=now - 0.0003,
    )
    receipt = await bus.publish(RESULTS, [event])
    return Handle(0, receipt.positions[0])


async def labelled(bus: Bus, number: int, handle: Handle) -> None:
    """The truth about it, and that both met."""
    await bus.publish(LABELS, [PredictionLabelled(id=f"l-{number}", prediction=str(handle), labels=[str(number % 10)])])
    joined = PredictionJoined(
        model="digits", version=3, predictions=[str(handle)], predicted=[number % 10], actual=[number % 10]
    )
    await bus.publish(JOINED, [joined])


async def gave_up(bus: Bus, number: int, handle: Handle, reason: str = "", **fields: Any) -> Handle:
    """It became a dead letter."""
    [entry] = await bus.read(REQUESTS, start=handle.position, stop=handle.position, count=1)
    event = EntryDead(
        id=f"scorers.requests.{handle}",
        time=time.time(),
        **{
            "channel": REQUESTS,
            "partition": 0,
            "position": str(handle.position),
            "group": "scorers",
            "reason": reason or REASONS[number % 3].format(n=number),
            "attempts": 1 + number % 5,
            "payload": entry.payload,
            "worker": "scorer-1",
            **fields,
        },
    )
    receipt = await bus.publish(DEAD, [event])
    return Handle(0, receipt.positions[0])


async def happen(bus: Bus, number: int) -> Handle:
    """One request and what becomes of it: of ten, one dies, and of the others every second gets its label."""
    handle = await asked(bus, number)
    if number % 10 == 3:
        await gave_up(bus, number, handle)
        return handle
    await scored(bus, number, handle)
    if number % 2:
        await labelled(bus, number, handle)
    if number % 5 == 0:
        await bus.publish(
            RUNS, [RunMetrics(id=f"m-{number}", run="r1", step=number, metrics={"loss": 1 / (1 + number)})]
        )
    return handle


@contextlib.asynccontextmanager
async def flowing(bus: Bus, first: int = 0, every_s: float = 0.1) -> AsyncIterator[None]:
    """Requests go on while the context lasts."""

    async def flow() -> None:
        number = first
        while True:
            await happen(bus, number)
            number += 1
            await asyncio.sleep(every_s)

    going = asyncio.create_task(flow())
    try:
        yield
    finally:
        going.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await going


def letter(**fields: Any) -> bytes:
    """Bytes of a dead letter, for what cannot be had from a request."""
    given = {"channel": REQUESTS, "partition": 0, "position": "1-1", "group": "scorers", "reason": "wrong"}
    return encode(EntryDead(**{**given, "attempts": 1, "payload": b"{}", **fields}))
