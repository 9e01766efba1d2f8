"""The live side's drivers: who listens to pub/sub. They reconnect for ever and say each time when they stand again.

Two drivers behind one seam: redis.asyncio (here) and asyncio-redis (live_asyncio_redis.py).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any, Protocol

from headrace.bus.connection import answered
from headrace.errors import UnavailableError
from headrace.retry import Backoff
from headrace.settings import Settings

Pushes = list[tuple[str, bytes]] | None
"""Pushed payloads by live channel; None says that the subscription stands (again): something may have been missed."""

RECONNECT = Backoff(50, 2_000)
TICK_S = 0.25
"""A driver gives an empty list at least this often, so that its reader can look at the clock."""
PING_S = 5.0
DEAD_S = 15.0
"""A connection that answers no ping for so long is half-open: make a new one."""
MOST = 256
"""Pushes handed over at once."""


class Live(Protocol):
    """One connection that listens. A context manager; `subscribe` once, then read `pushes`."""

    async def __aenter__(self) -> Live: ...

    async def __aexit__(self, *error: object) -> None: ...

    async def subscribe(self, live: Sequence[str], patterns: Sequence[str] = ()) -> None:
        """Name what to listen to; connects."""

    def pushes(self) -> AsyncIterator[Pushes]:
        """None whenever the subscription stands anew, then what is pushed, in order, at most once."""


class RedisLive:
    """The driver on redis.asyncio, the default."""

    def __init__(self, client: Any, settings: Settings) -> None:
        self._client, self._settings = client, settings
        self._names: Sequence[str] = ()
        self._patterns: Sequence[str] = ()
        self._pubsub: Any = None

    async def __aenter__(self) -> RedisLive:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._drop()

    async def subscribe(self, live: Sequence[str], patterns: Sequence[str] = ()) -> None:
        self._names, self._patterns = live, patterns
        async with answered(self._settings):
            await self._connect()

    async def pushes(self) -> AsyncIterator[Pushes]:
        failures = 0
        while True:
            try:
                if self._pubsub is None:
                    async with answered(self._settings):
                        await self._connect()
                async for pushed in self._read():
                    failures = 0
                    yield pushed
            except UnavailableError:
                await self._drop()
                failures += 1
                async for pushed in idle(RECONNECT.delay_ms(failures) / 1000):
                    yield pushed

    async def _connect(self) -> None:
        pubsub = self._client.pubsub()
        self._pubsub = pubsub
        if self._names:
            await pubsub.subscribe(*self._names)
        if self._patterns:
            await pubsub.psubscribe(*self._patterns)

    async def _drop(self) -> None:
        pubsub, self._pubsub = self._pubsub, None
        if pubsub is not None:
            with suppress(Exception):  # the connection is gone: nothing is left to tell the server
                await pubsub.aclose()

    async def _read(self) -> AsyncIterator[Pushes]:
        """Until the connection fails. All confirmations of one subscribe make one None."""
        names = len(self._names) + len(self._patterns)
        missing = names
        heard = asked = time.monotonic()
        while True:
            pushed: Pushes = []
            async with answered(self._settings):
                got = await self._pubsub.get_message(timeout=TICK_S)
                now = time.monotonic()
                if got is not None:
                    heard = now
                elif now - heard > DEAD_S:
                    raise ConnectionError("the subscription went silent: no answer to a ping")
                elif now - max(heard, asked) > PING_S:
                    asked = now
                    await self._pubsub.ping()
            kind = got["type"] if got is not None else ""
            if kind in ("message", "pmessage"):  # one at a time: asking for more would keep this one waiting
                pushed = [(_text(got["channel"]), got["data"])]
            elif kind in ("subscribe", "psubscribe"):
                missing -= 1
                if missing <= 0:  # redis-py subscribes again by itself after a reconnect: count from the start
                    pushed, missing = None, names
            yield pushed


async def idle(delay_s: float) -> AsyncIterator[Pushes]:
    """Let time pass between two attempts to connect, with an empty list at least every TICK_S."""
    until_s = time.monotonic() + delay_s
    while (left_s := until_s - time.monotonic()) > 0:
        yield []
        await asyncio.sleep(min(left_s, TICK_S))


def _text(raw: Any) -> str:
    return raw.decode() if isinstance(raw, bytes) else str(raw)
