"""The live driver on the package asyncio-redis (`HEADRACE_LIVE_DRIVER=asyncio-redis`).

That package says neither when a subscription stands nor that a quiet connection is dead. A beacon says both: a live
channel that only this driver listens to, named last when subscribing, and a second connection that publishes to it.
The beacon's first push proves that everything named before it is heard; later ones answer the question whether the
connection lives. Each attempt makes new connections, so that nothing reconnects in silence.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from headrace.bus.connection import CONNECT_TIMEOUT_S, REPLY_TIMEOUT_S
from headrace.bus.live import DEAD_S, MOST, PING_S, RECONNECT, TICK_S, Pushes, idle
from headrace.channels import Names
from headrace.errors import BusError, SettingsError, UnavailableError
from headrace.settings import Settings

BUFFER_BYTES = 32 * 1024 * 1024
"""Most bytes pushed but not read: beyond it the connection is given up, as a server does, and the log fills the gap."""


class AsyncioRedisLive:
    """The driver on asyncio-redis, for plain TCP: SettingsError for any other address, or without the package."""

    def __init__(self, settings: Settings) -> None:
        try:
            import asyncio_redis
            from asyncio_redis.encoders import BytesEncoder
        except ImportError:
            raise SettingsError(
                "HEADRACE_LIVE_DRIVER=asyncio-redis needs a package that is not installed: "
                "`pip install headrace[asyncio-redis]`, or use the driver redis"
            ) from None
        self._package: Any = asyncio_redis
        self._encoder = BytesEncoder()
        self._settings = settings
        self._host, self._port, self._password = _address(settings)
        self._names: list[bytes] = []
        self._patterns: list[bytes] = []
        self._beacon = Names(settings.prefix).reply(f"beacon-{secrets.token_hex(8)}").encode()
        self._hearing: _Hearing | None = None

    async def __aenter__(self) -> AsyncioRedisLive:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._drop()

    async def subscribe(self, live: Sequence[str], patterns: Sequence[str] = ()) -> None:
        """Name what to listen to; connects."""
        self._names, self._patterns = [name.encode() for name in live], [name.encode() for name in patterns]
        await self._connect()

    async def pushes(self) -> AsyncIterator[Pushes]:
        """None whenever the subscription stands anew, then what is pushed, in order, at most once."""
        failures = 0
        while True:
            try:
                if self._hearing is None:
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
        hearing = _Hearing()
        try:
            with self._translated():
                await self._begin(hearing)
        except BaseException:
            await hearing.close()
            raise
        self._hearing = hearing

    async def _begin(self, hearing: _Hearing) -> None:
        asker, listener = await self._open(hearing), await self._open(hearing)
        subscription = await listener.start_subscribe()
        hearing.pump = asyncio.create_task(hearing.fill(subscription), name="asyncio-redis live")
        if self._names:
            await subscription.subscribe(self._names)
        if self._patterns:
            await subscription.psubscribe(self._patterns)
        await subscription.subscribe([self._beacon])
        async with asyncio.timeout(REPLY_TIMEOUT_S):
            while True:
                if await asker.publish(self._beacon, b"stands"):
                    break
                await asyncio.sleep(0.001)  # the other connection is still subscribing

    async def _open(self, hearing: _Hearing) -> Any:
        protocol = self._package.RedisProtocol(encoder=self._encoder, connection_lost_callback=hearing.end)
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await asyncio.get_running_loop().create_connection(lambda: protocol, self._host, self._port)
            hearing.protocols.append(protocol)
            if self._password:
                await protocol.auth(self._password)
        return protocol

    async def _drop(self) -> None:
        hearing, self._hearing = self._hearing, None
        if hearing:
            await hearing.close()

    async def _read(self) -> AsyncIterator[Pushes]:
        """Until the connection fails."""
        hearing = self._hearing
        assert hearing is not None
        asker = hearing.protocols[0]
        heard = asked = time.monotonic()
        standing = False
        while True:
            await hearing.wait(TICK_S)
            now = time.monotonic()
            pushed: list[tuple[str, bytes]] = []
            for live, payload in hearing.take(MOST):
                heard = now
                if live != self._beacon:
                    pushed.append((live.decode(), payload))
                elif not standing:
                    standing = True
                    if pushed:
                        yield pushed
                        pushed = []
                    yield None
            yield pushed
            with self._translated():
                if hearing.ended:
                    raise ConnectionError("the connection was closed")
                if hearing.overflown:
                    raise ConnectionError("more was pushed than read")
                if now - heard > DEAD_S:
                    raise ConnectionError("the subscription went silent")
                if now - max(heard, asked) > PING_S:
                    asked = now
                    async with asyncio.timeout(REPLY_TIMEOUT_S):
                        await asker.publish(self._beacon, b"alive")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn the package's exceptions into BusError and UnavailableError."""
        shown = self._settings.shown_url
        try:
            yield
        except self._package.ErrorReply as error:
            text = str(error)
            if text.startswith(("NOAUTH", "WRONGPASS", "NOPERM", "ERR invalid password", "ERR AUTH")):
                raise BusError(f"{shown} refuses this user: {text}. Check user and password in REDIS_URL") from error
            raise UnavailableError(shown, text) from error
        except (self._package.NotConnectedError, OSError, TimeoutError) as error:
            raise UnavailableError(shown, str(error) or type(error).__name__) from error


def _address(settings: Settings) -> tuple[str, int, bytes]:
    """Host, port and password; live channels know no database numbers, so that of the address does not matter."""
    from redis.asyncio.connection import parse_url

    parts: dict[str, Any] = dict(parse_url(settings.redis_url))
    if "connection_class" in parts:
        raise SettingsError(
            f"HEADRACE_LIVE_DRIVER=asyncio-redis cannot reach {settings.shown_url}: it needs a redis:// address "
            "without TLS; use the driver redis"
        )
    if parts.get("username", "default") != "default":
        raise SettingsError(
            f"HEADRACE_LIVE_DRIVER=asyncio-redis cannot log in at {settings.shown_url} with a user name; "
            "use the driver redis, or the default user"
        )
    return parts.get("host", "localhost"), parts.get("port", 6379), parts.get("password", "").encode()


class _Hearing:
    """The two connections of one attempt, and what was pushed but not read yet."""

    def __init__(self) -> None:
        self.protocols: list[Any] = []
        self.pump: asyncio.Task[None] | None = None
        self.ended = False
        self.overflown = False
        self._pushed: deque[tuple[bytes, bytes]] = deque()
        self._size_bytes = 0
        self._some = asyncio.Event()

    async def fill(self, subscription: Any) -> None:
        """Move what the package queues, without a bound, into the bounded buffer."""
        while not self.overflown:
            reply = await subscription.next_published()
            self._size_bytes += len(reply.value)
            self.overflown = self._size_bytes > BUFFER_BYTES
            self._pushed.append((reply.channel, reply.value))
            self._some.set()

    def end(self) -> None:
        """A connection was lost: there is nothing more to wait for."""
        self.ended = True
        self._some.set()

    async def wait(self, timeout_s: float) -> None:
        """Return once something was pushed, the end came, or the time is over."""
        if not self._pushed and not self.ended:
            self._some.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._some.wait()

    def take(self, most: int) -> list[tuple[bytes, bytes]]:
        """The oldest pushes, up to `most`."""
        taken = [self._pushed.popleft() for _ in range(min(most, len(self._pushed)))]
        self._size_bytes -= sum(len(payload) for _, payload in taken)
        return taken

    async def close(self) -> None:
        """Give back both connections."""
        if self.pump:
            self.pump.cancel()
            with suppress(asyncio.CancelledError):
                await self.pump
        for protocol in self.protocols:
            if protocol.transport is not None:
                protocol.transport.close()
