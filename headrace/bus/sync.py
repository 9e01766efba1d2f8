"""The synchronous link to the server: what a publisher in plain code needs of the bus, and no event loop.

Every call gives up quickly and raises UnavailableError (retryable) while no server answers, BusError for what a server
refuses: the caller decides when to try again. Calls may come from any thread; a `Listener` belongs to one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

from hiredis import pack_command

from headrace.bus.connection import connect_sync, translated
from headrace.bus.lanes import SyncLanes
from headrace.bus.scripts import Accepted, PublishCall, Request, entries_reply, publish_reply, publish_request
from headrace.channels import Names
from headrace.positions import Entry, Position
from headrace.settings import Settings

PING_S = 5.0
DEAD_S = 15.0
"""A subscription that answers no ping for so long is half-open: make a new one."""


class Link:
    """Publishes, reads logs and listens, over blocking connections that are made at the first call."""

    def __init__(self, settings: Settings, client: Any = None) -> None:
        self.settings = settings
        self.names = Names(settings.prefix, settings.partitions)
        self._own = client is None
        self._client: Any = connect_sync(settings) if client is None else client
        self._lanes = SyncLanes(self._client)
        self._ready: tuple[PublishCall, bytes] | None = None

    def publish(self, call: PublishCall, meanwhile: Callable[[], None] | None = None) -> Accepted:
        """One batch of one producer; safe to repeat with the same arguments. See publish.lua.

        `meanwhile` is called while the server works on it, perhaps to `prepare` the next one; a cluster's client, which
        sends and waits in one, has it called before.
        """
        import redis.exceptions as redis_errors

        if not self._lanes.direct:
            if meanwhile:
                meanwhile()
            return publish_reply(call, self._call(self._request(call), call.channel))
        ready, self._ready = self._ready, None
        packed = ready[1] if ready and ready[0] is call else _packed(self._request(call))
        with translated(self.settings, call.channel):
            try:
                raw = self._lanes.exchange([packed], meanwhile)
            except redis_errors.NoScriptError:
                raw = self._call(self._request(call), call.channel)
        return publish_reply(call, raw)

    def prepare(self, call: PublishCall) -> None:
        """Have the bytes of a call ready for the `publish` that follows."""
        if self._lanes.direct:
            self._ready = call, _packed(self._request(call))

    def read(self, channel: str, partition: int, *, start: Position | None = None, count: int = 200) -> list[Entry]:
        """Up to `count` entries of a log from `start` on, that one included."""
        with translated(self.settings, channel):
            log = self.names.log(channel, partition)
            return entries_reply(self._client.xrange(log, str(start) if start else "-", "+", count=count))

    def time(self) -> float:
        """The server's clock, Unix seconds."""
        with translated(self.settings):
            seconds, micros = self._lanes.command("TIME")
        return float(seconds) + float(micros) / 1e6

    def listen(self, live: str) -> Listener:
        """Subscribe to one live channel."""
        listener = Listener(self.settings, self._client.pubsub())
        with translated(self.settings):
            listener.subscribe(live)
        return listener

    def close(self) -> None:
        """Give back all connections; a client that was given stays open."""
        self._lanes.close()
        if self._own:
            self._client.close()

    def _request(self, call: PublishCall) -> Request:
        return publish_request(self.names, self.settings, call)

    def _call(self, request: Request, channel: str) -> Any:
        import redis.exceptions as redis_errors

        script, keys, args = request
        with translated(self.settings, channel):
            try:
                return self._lanes.command("EVALSHA", script.sha, len(keys), *keys, *args)
            except redis_errors.NoScriptError:
                return self._lanes.command("EVAL", script.text, len(keys), *keys, *args)


def _packed(request: Request) -> bytes:
    script, keys, args = request
    parts: Any = ("EVALSHA", script.sha, len(keys), *keys, *args)
    packed: bytes = pack_command(parts)
    return packed


class Listener:
    """Hears what is pushed to one live channel, at most once. A context manager."""

    def __init__(self, settings: Settings, pubsub: Any) -> None:
        self._settings, self._pubsub = settings, pubsub
        self._heard_at = self._asked_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def subscribe(self, live: str) -> None:
        self._pubsub.subscribe(live)

    def hear(self, timeout_s: float) -> list[bytes] | None:
        """What was pushed, waiting up to `timeout_s` for the first: empty if nothing was.

        None says that the subscription stands, for the first time or again: something may have been missed before.
        """
        with translated(self._settings):
            got = self._pubsub.get_message(timeout=timeout_s)
            if got is None:
                self._look_alive()
                return []
        self._heard_at = time.monotonic()
        if got["type"] == "subscribe":
            return None
        return [got["data"]] if got["type"] == "message" else []  # asking for more would keep this one waiting

    def close(self) -> None:
        with suppress(Exception):  # the connection may be gone: nothing is left to tell the server
            self._pubsub.close()

    def _look_alive(self) -> None:
        """Ask a silent connection for a sign of life; a half-open one never gives it."""
        now = time.monotonic()
        if now - self._heard_at > DEAD_S:
            raise ConnectionError("the subscription went silent: no answer to a ping")
        if now - max(self._heard_at, self._asked_at) > PING_S:
            self._asked_at = now
            self._pubsub.ping()
