"""Connections kept at hand for the commands of the hot path.

The client picks a connection, packs in Python, prepares retries and reports to observers for each command. Here a
command goes straight to a connection of its pool and back, for half the cost; the connection itself, with its
handshake, its encryption and its errors, is the client's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from hiredis import pack_command
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

REST_S = 1.0
"""A connection unused for so long is looked at before it is used: asking costs a system call."""


class Lanes:
    """Commands over connections of an asyncio client, one each at a time. A cluster's client routes them itself."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._pool: Any = getattr(client, "connection_pool", None)
        self._idle: list[Any] = []

    async def command(self, *parts: Any) -> Any:
        """The answer as the server gave it. Raises what the client raises; the next command connects again."""
        if self._pool is None:
            return await self._client.execute_command(*parts)
        lane = self._idle.pop() if self._idle else await self._pool.get_connection()
        try:
            if lane.is_connected and await lane.can_read():  # closed by the server since its last command
                await lane.disconnect()
            await lane.send_packed_command([pack_command(parts)])
            return await lane.read_response()
        finally:
            self._idle.append(lane)

    async def close(self) -> None:
        """Give the connections back to the client."""
        while self._idle:
            await self._pool.release(self._idle.pop())


class SyncLanes:
    """The same for a blocking client, from any thread."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._pool: Any = getattr(client, "connection_pool", None)
        self._idle: list[tuple[float, Any]] = []

    @property
    def direct(self) -> bool:
        """Whether commands can be packed beforehand; a cluster's client wants to see their parts."""
        return self._pool is not None

    def command(self, *parts: Any) -> Any:
        """As `Lanes.command`."""
        return self.exchange([pack_command(parts)]) if self.direct else self._client.execute_command(*parts)

    def exchange(self, packed: Sequence[bytes], meanwhile: Callable[[], None] | None = None) -> Any:
        """The answer to a packed command; `meanwhile` is called while the server works on it."""
        now = time.monotonic()
        try:
            used_at, lane = self._idle.pop()
        except IndexError:
            used_at, lane = now, self._pool.get_connection()
        try:
            if now - used_at > REST_S:
                _look(lane)
            lane.send_packed_command(packed)
            if meanwhile:
                meanwhile()
            return lane.read_response()
        except (Exception, KeyboardInterrupt) as error:
            if not isinstance(error, ResponseError):
                lane.disconnect()  # an answer that still comes must not be taken for that of the next command
            raise
        finally:
            self._idle.append((now, lane))

    def close(self) -> None:
        """Give the connections back to the client."""
        while self._idle:
            self._pool.release(self._idle.pop()[1])


def _look(lane: Any) -> None:
    """Give up a connection that the server closed meanwhile; the next command makes it anew."""
    try:
        stands = not lane.can_read()
    except (RedisConnectionError, OSError):
        stands = False
    if not stands:
        lane.disconnect()
