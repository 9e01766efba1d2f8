"""intake: what anybody sends by bare PUBLISH is taken into the log, once an id."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

from headrace.bus import Bus
from headrace.bus.connection import connect_async
from headrace.codec import decode
from headrace.events import RunAlive
from headrace.testing import wait_until

if TYPE_CHECKING:
    from tests.contract.conftest import Follow

ONE = b'{"type":"run.alive","id":"id-1","run":"r"}'
TWO = b'{"type":"run.alive","id":"id-2","run":"r"}'


async def test_a_bare_publish_arrives(any_bus: Bus) -> None:
    async def publish() -> None:
        """What any other client does, as soon as somebody listens."""
        async with connect_async(any_bus.settings) as client:
            await wait_until(lambda: client.publish(f"{any_bus.settings.prefix}:in:runs", ONE))

    publishing = asyncio.create_task(publish())
    async with aclosing(any_bus.intake()) as intake, asyncio.timeout(5):
        async for taken in intake:
            assert taken == [("runs", ONE)]
            break
    await publishing


async def test_an_id_is_taken_once(any_bus: Bus) -> None:
    assert await any_bus.take("runs", 0, [("id-1", ONE), ("id-2", TWO), ("id-1", ONE)]) == (2, 1)
    assert await any_bus.take("runs", 0, [("id-1", ONE)]) == (0, 1)
    entries = await any_bus.read("runs")
    assert [entry.position.number for entry in entries] == [1, 2]
    assert [decode(entry.payload) for entry in entries] == [RunAlive(id="id-1", run="r"), RunAlive(id="id-2", run="r")]


async def test_without_an_id_nothing_is_a_duplicate(any_bus: Bus) -> None:
    assert await any_bus.take("runs", 0, [("", ONE), ("", ONE)]) == (2, 0)


async def test_ids_are_remembered_by_channel_and_for_a_while(any_bus: Bus) -> None:
    assert await any_bus.take("runs", 0, [("id-1", ONE)]) == (1, 0)
    assert await any_bus.take("models", 0, [("id-1", ONE)]) == (1, 0)
    assert 590 < await any_bus._client.ttl(any_bus.names.seen("runs", 0) + "id-1") <= 600


async def test_what_was_taken_in_is_pushed_and_counted(any_bus: Bus, follow: Follow) -> None:
    follower = await follow(any_bus, "runs")
    await any_bus.take("runs", 0, [("id-1", ONE), ("id-2", TWO)])
    await follower.until(1, 2)
    assert follower.subscription.counts.live == 2
    second = follower.entries[0].position.ms // 1000
    counters = await any_bus.counters(0, second)
    assert (counters["pub:runs"], counters["bytes:runs"]) == (2, len(ONE) + len(TWO))
