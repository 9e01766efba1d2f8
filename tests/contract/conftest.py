"""Several members on one server, connections that lose replies, events that are in the log but were never pushed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest

from headrace.bus import Bus
from headrace.bus.connection import connect_async
from headrace.bus.scripts import PublishCall, publish_request
from headrace.codec import encode
from headrace.events import Event, RunAlive, new_id
from headrace.settings import Settings

Connect = Callable[..., Awaitable[Bus]]
Cut = Callable[..., Bus]
Unheard = Callable[[Bus, str, Sequence[Event]], Awaitable[None]]
Events = Callable[..., list[Event]]


class CutClient:
    """A client whose next reply of each command named is lost: the server has done it, the caller cannot know."""

    def __init__(self, client: Any, commands: Sequence[str]) -> None:
        self._client, self._commands = client, set(commands)

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._client, name)
        if name not in self._commands:
            return attribute

        async def lose(*args: Any, **options: Any) -> Any:
            from redis.exceptions import ConnectionError as Lost

            await attribute(*args, **options)
            self._commands.discard(name)
            raise Lost("reply cut")

        return lose


@pytest.fixture
async def connect(any_settings: Settings) -> AsyncIterator[Connect]:
    """Another Bus on the same server and prefix, with some settings changed."""
    async with AsyncExitStack() as stack:

        async def make(**changes: Any) -> Bus:
            return await stack.enter_async_context(Bus(any_settings.with_(**changes)))

        yield make


@pytest.fixture
async def cut(any_settings: Settings) -> AsyncIterator[Cut]:
    """A Bus that loses the next reply of each client method named."""
    async with AsyncExitStack() as stack:

        def make(*commands: str, **changes: Any) -> Bus:
            settings = any_settings.with_(**changes)
            client: Any = CutClient(connect_async(settings), commands)
            bus = Bus(settings, client)
            stack.push_async_callback(bus.close)
            return bus

        yield make


@pytest.fixture
def unheard() -> Unheard:
    """Append events whose pushes get lost."""

    async def append(bus: Bus, channel: str, events: Sequence[Event]) -> None:
        call = PublishCall(channel, 0, new_id(), 1, [encode(event) for event in events])
        request = publish_request(bus.names, bus.settings, call)
        request.args[0] = bus.names.live("nobody-listens-here")
        await bus.call(request)

    return append


@pytest.fixture
def events() -> Events:
    """`events(3)`: three different events; `events(3, 10)` counts from 10."""

    def make(count: int, first: int = 0) -> list[Event]:
        return [RunAlive(run=f"run-{number}") for number in range(first, first + count)]

    return make
