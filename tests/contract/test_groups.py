"""groups: lag and in flight are right from a group's first moment on, and names that hold nothing are forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.bus import Bus
from headrace.testing import wait_until

if TYPE_CHECKING:
    from tests.contract.conftest import Connect, Events


async def test_no_log_has_no_groups(any_bus: Bus) -> None:
    assert await any_bus.groups("runs") == []


async def test_what_a_group_still_needs(connect: Connect, events: Events) -> None:
    bus = await connect(consume_entries=2)
    receipt = await bus.publish("runs", events(5))
    async with bus.consume("runs", "readers", worker="w") as consumer:
        [group] = await bus.groups("runs")
        assert (group.name, group.lag, group.in_flight, group.oldest) == ("readers", 5, 0, receipt.positions[0])
        batch = await consumer.next()
        assert batch is not None
        [group] = await bus.groups("runs")
        assert (group.lag, group.in_flight, group.oldest) == (3, 2, receipt.positions[0])
        await consumer.finish(consumer.commit(batch))
        [group] = await bus.groups("runs")
        assert (group.lag, group.in_flight, group.oldest) == (3, 0, receipt.positions[2])
        while batch := await consumer.next():
            await consumer.finish(consumer.commit(batch))
        [group] = await bus.groups("runs")
        assert (group.lag, group.in_flight, group.oldest) == (0, 0, None)


async def test_a_group_that_begins_now_needs_nothing_of_the_past(any_bus: Bus, events: Events) -> None:
    await any_bus.publish("runs", events(3))
    async with any_bus.consume("runs", "late", worker="w", start="now") as consumer:
        [group] = await any_bus.groups("runs")
        assert group.lag == 0
        await any_bus.publish("runs", events(2, 3))
        [group] = await any_bus.groups("runs")
        assert group.lag == 2
        batch = await consumer.next()
        assert batch is not None
        assert [entry.position.number for entry in batch.entries] == [4, 5]
        await consumer.finish(consumer.commit(batch))
        [group] = await any_bus.groups("runs")
        assert group.lag == 0


async def test_a_group_that_begins_now_on_a_channel_without_a_log(any_bus: Bus, events: Events) -> None:
    async with any_bus.consume("runs", "early", worker="w", start="now") as consumer:
        await any_bus.publish("runs", events(2))
        [group] = await any_bus.groups("runs")
        assert group.lag == 2
        batch = await consumer.next()
        assert batch is not None
        assert len(batch) == 2


async def test_a_group_is_made_once(any_bus: Bus, events: Events) -> None:
    await any_bus.publish("runs", events(3))
    async with any_bus.consume("runs", "readers", worker="a") as first:
        batch = await first.next()
        assert batch is not None
        await first.finish(first.commit(batch))
        async with any_bus.consume("runs", "readers", worker="b", start="now") as second:
            await any_bus.publish("runs", events(1, 3))
            assert await second.next() is not None
    assert len(await any_bus.groups("runs")) == 1


async def test_names_that_hold_nothing_are_forgotten_and_those_that_hold_something_are_not(
    connect: Connect, events: Events
) -> None:
    bus = await connect(claim_ms=3_600_000)
    async with bus.consume("runs", "readers", worker="w"):
        await bus.publish("runs", events(1))
        log, client = bus.names.log("runs"), bus._client
        await client.xgroup_createconsumer(log, "readers", "empty")
        await client.xreadgroup("readers", "busy", {log: ">"})

        async def forgotten() -> bool:
            return await bus.forget("runs", 0, "readers", idle_ms=5) == 1

        await wait_until(forgotten, description="the empty name to be forgotten")
        [group] = await bus.groups("runs")
        assert (group.consumers, group.in_flight) == (1, 1)
        assert await bus.forget("runs", 0, "readers", idle_ms=3_600_000) == 0


async def test_removing_a_group_frees_what_it_needed(connect: Connect, events: Events) -> None:
    bus = await connect(depth_limit=2)
    async with bus.consume("runs", "gone", worker="w"):
        await bus.publish("runs", events(2))
    await bus.remove_group("runs", 0, "gone")
    assert await bus.groups("runs") == []
    await bus.publish("runs", events(2))
    assert await bus.length("runs") == 4


async def test_a_group_made_by_hand_in_the_middle_of_a_log_needs_the_rest(any_bus: Bus, events: Events) -> None:
    receipt = await any_bus.publish("runs", events(5))
    log = any_bus.names.log("runs", 0)
    await any_bus._client.xgroup_create(log, "odd", id=str(receipt.positions[1]))
    [group] = await any_bus.groups("runs")
    assert (group.name, group.lag, group.in_flight, group.oldest) == ("odd", 3, 0, receipt.positions[2])
