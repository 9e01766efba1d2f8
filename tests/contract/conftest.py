"""Several members on one server, connections that lose replies, events that are in the log but were never pushed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest

from headrace.bus import Bus, Delivery, Entry, Subscription
from headrace.bus.connection import connect_async
from headrace.bus.scripts import PublishCall, publish_request
from headrace.codec import encode
from headrace.events import Event, RunAlive, new_id
from headrace.settings import Settings
from headrace.testing import wait_until

Connect = Callable[..., Awaitable[Bus]]
OpenBus = Callable[..., Awaitable[Bus]]
Cut = Callable[..., Bus]
Unheard = Callable[[Bus, str, Sequence[Event]], Awaitable[None]]
Events = Callable[..., list[Event]]
Follow = Callable[..., Awaitable["Follower"]]


class CutClient:
    """A client that loses the next reply of each Redis command in `cut`: the server did it, the caller cannot know."""

    connection_pool = None  # so that every command comes through here

    def __init__(self, client: Any, cut: Sequence[str]) -> None:
        self._client, self.cut = client, set(cut)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        from redis.exceptions import ConnectionError as Lost

        answer = await self._client.execute_command(*args, **options)
        if args[0] in self.cut:
            self.cut.discard(args[0])
            raise Lost("reply cut")
        return answer


class Follower:
    """What a subscriber was given so far."""

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        self.deliveries: list[Delivery] = []
        self._task = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        async for delivery in self.subscription:
            self.deliveries.append(delivery)

    async def stop(self) -> None:
        """End; raises what ended the subscription before."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    @property
    def entries(self) -> list[Entry]:
        return [entry for delivery in self.deliveries for entry in delivery.entries]

    @property
    def numbers(self) -> list[int]:
        return [entry.position.number for entry in self.entries]

    @property
    def notices(self) -> list[Any]:
        return [delivery.notice for delivery in self.deliveries if delivery.notice]

    async def until(self, *numbers: int) -> None:
        """Wait for exactly these numbers, in order."""
        await wait_until(
            lambda: len(self.numbers) >= len(numbers), description=lambda: f"{len(numbers)} events; {self.numbers}"
        )
        assert self.numbers == list(numbers)


@pytest.fixture
def connect(any_settings: Settings, open_bus: OpenBus) -> Connect:
    """Another Bus on the same server and prefix, with some settings changed."""

    async def make(**changes: Any) -> Bus:
        return await open_bus(any_settings, **changes)

    return make


@pytest.fixture
async def cut(any_settings: Settings) -> AsyncIterator[Cut]:
    """A Bus that loses the next reply of each command named."""
    async with AsyncExitStack() as stack:

        def make(*commands: str, **changes: Any) -> Bus:
            settings = any_settings.with_(**changes)
            client: Any = CutClient(connect_async(settings), commands)
            bus = Bus(settings, client)
            stack.push_async_callback(bus.close)
            return bus

        yield make


@pytest.fixture(params=["fake redis", "server redis", "server asyncio-redis"])
def live_settings(request: pytest.FixtureRequest) -> Settings:
    """Settings for each live driver; the second one needs a real server."""
    where, driver = request.param.split()
    settings: Settings = request.getfixturevalue("headrace_settings" if where == "fake" else "server_settings")
    return settings.with_(live_driver=driver)


@pytest.fixture
async def live_bus(live_settings: Settings) -> AsyncIterator[Bus]:
    """A Bus for each live driver."""
    async with Bus(live_settings) as bus:
        yield bus


@pytest.fixture
async def open_bus() -> AsyncIterator[OpenBus]:
    """A Bus with settings of the test's own choice; it is closed after what `follow` began."""
    async with AsyncExitStack() as stack:

        async def make(settings: Settings, **changes: Any) -> Bus:
            return await stack.enter_async_context(Bus(settings.with_(**changes)))

        yield make


@pytest.fixture
async def follow(open_bus: OpenBus) -> AsyncIterator[Follow]:
    """Follow channels in the background; the call returns once the subscription has begun."""
    async with AsyncExitStack() as stack:

        async def begin(bus: Bus, *channels: str, since: Any = "now") -> Follower:
            follower = Follower(await stack.enter_async_context(bus.subscribe(*channels, since=since)))
            stack.push_async_callback(follower.stop)
            await wait_until(lambda: follower.subscription.connected, description="the subscription to begin")
            return follower

        yield begin


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
