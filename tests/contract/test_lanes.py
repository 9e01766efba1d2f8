"""Lanes: commands go past the client's ceremony, and fail and heal as the client's own would."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from redis.exceptions import RedisError, ResponseError

from headrace.bus import Bus
from headrace.bus.connection import connect_async, connect_sync
from headrace.bus.lanes import Lanes, SyncLanes
from headrace.errors import BusError
from headrace.testing import wait_until

if TYPE_CHECKING:
    from headrace.bus.batch import Batch
    from headrace.bus.consume import Consumer
    from headrace.settings import Settings
    from tests.contract.conftest import Connect, Events


async def one(consumer: Consumer) -> Batch:
    batch = await consumer.next(1_000)
    assert batch is not None
    return batch


async def test_an_error_of_the_server_leaves_the_lane_usable(any_settings: Settings) -> None:
    client = connect_async(any_settings)
    lanes = Lanes(client)
    try:
        with pytest.raises(ResponseError):
            await lanes.command("HGET", "only-a-key")
        assert await lanes.command("SET", "k", b"v") in (b"OK", "OK", True)
        assert await lanes.command("GET", "k") == b"v"
    finally:
        await lanes.close()
        await client.aclose()


async def test_commands_side_by_side_get_their_own_answers(any_settings: Settings) -> None:
    client = connect_async(any_settings)
    lanes = Lanes(client)
    try:
        for number in range(20):
            await lanes.command("SET", f"k{number}", number)
        found = await asyncio.gather(*(lanes.command("GET", f"k{number}") for number in range(20)))
        assert found == [str(number).encode() for number in range(20)]
    finally:
        await lanes.close()
        await client.aclose()


async def test_a_command_given_up_leaves_no_answer_for_the_next(server_settings: Settings) -> None:
    client = connect_async(server_settings)
    lanes = Lanes(client)
    try:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await lanes.command("BLPOP", "nothing", 30)
        assert await lanes.command("ECHO", b"mine") == b"mine"
    finally:
        await lanes.close()
        await client.aclose()


async def test_a_connection_that_the_server_closed_is_made_anew(server_settings: Settings, events: Events) -> None:
    async with Bus(server_settings) as bus:
        await bus.publish("runs", events(1))
        await bus._client.client_kill_filter(_type="normal", skipme=True)
        receipt = await bus.publish("runs", events(1, 1))
        assert receipt.positions[0].number == 2


def test_a_blocking_lane_that_rested_looks_whether_it_still_stands(
    server_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connect_sync(server_settings)
    lanes = SyncLanes(client)
    try:
        assert lanes.command("ECHO", b"one") == b"one"
        with suppress(RedisError):  # kills the connection that asks for it, too, if it is the pool's
            client.client_kill_filter(_type="normal", skipme=False)
        monkeypatch.setattr("headrace.bus.lanes.REST_S", -1.0)
        assert lanes.command("ECHO", b"two") == b"two"
        with pytest.raises(ResponseError):
            lanes.command("HGET", "only-a-key")
        assert lanes.command("ECHO", b"three") == b"three"
    finally:
        lanes.close()
        client.close()


async def test_reading_ahead_keeps_the_order_and_drops_nothing(any_bus: Bus, events: Events) -> None:
    seen: list[int] = []
    async with any_bus.consume("runs", "readers", worker="w") as consumer:
        await any_bus.publish("runs", events(3000))
        async for batch in consumer.batches(wait=False):
            seen += [entry.position.number for entry in batch.entries]
            await consumer.finish(consumer.commit(batch))
    assert seen == list(range(1, 3001))
    [group] = await any_bus.groups("runs")
    assert (group.lag, group.in_flight) == (0, 0)


async def test_a_read_bound_by_bytes_is_followed_by_one_ahead_too(connect: Connect) -> None:
    bus = await connect(consume_bytes=1_000)
    await bus.publish("runs", [b"{" + b" " * 400] * 12)
    seen = 0
    async with bus.consume("runs", "readers", worker="w") as consumer:
        await consumer.finish(consumer.commit(await one(consumer)))  # the mean size is known from here on
        await bus.publish("runs", [b"{" + b" " * 400] * 12)
        async for batch in consumer.batches(wait=False):
            seen += len(batch)
            if seen < 12:

                async def more_in_flight(here: int = len(batch)) -> bool:
                    [group] = await bus.groups("runs")
                    return group.in_flight > here

                await wait_until(more_in_flight, description="the next batch to be read beside the work")
            await consumer.finish(consumer.commit(batch))
    assert seen == 12


async def test_what_was_read_ahead_is_handed_back_when_the_work_fails(any_bus: Bus, events: Events) -> None:
    await any_bus.publish("runs", events(3000))

    async def fail() -> None:
        async with any_bus.consume("runs", "readers", worker="first") as consumer:
            async for batch in consumer:
                assert len(batch) < 3000
                raise BusError("unlucky")

    with pytest.raises(BusError, match="unlucky"):
        await fail()
    got: list[int] = []
    async with any_bus.consume("runs", "readers", worker="second") as consumer:

        async def all_of_them() -> bool:
            batch = await consumer.next()
            if batch:
                got.extend(entry.position.number for entry in batch.entries)
                await consumer.finish(consumer.commit(batch))
            return len(got) == 3000

        await wait_until(all_of_them, description=lambda: f"3000 entries, not {len(got)}")
    assert sorted(got) == list(range(1, 3001))


async def test_a_consumer_that_is_stopped_finishes_what_it_read_ahead(any_bus: Bus, events: Events) -> None:
    await any_bus.publish("runs", events(3000))
    async with any_bus.consume("runs", "readers", worker="w") as consumer:
        decided = 0
        async for batch in consumer:
            consumer.stop()
            await consumer.finish(consumer.commit(batch))
            decided += len(batch)
    [group] = await any_bus.groups("runs")
    assert group.in_flight == 0
    assert group.lag == 3000 - decided
    assert 0 < decided < 3000
