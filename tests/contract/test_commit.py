"""commit: acknowledgement, results, statistics, saved state and replies happen together, once, or not at all."""

from __future__ import annotations

import time
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from headrace.bus import Batch, Bus, Commit, Consumer, Decision, Left
from headrace.bus.envelope import opened
from headrace.codec import decode, encode
from headrace.errors import EventError, LeaseLostError
from headrace.positions import Position
from headrace.testing import wait_until

if TYPE_CHECKING:
    from tests.contract.conftest import Connect, Cut, Events


async def some(consumer: Consumer) -> Batch:
    """The next batch, waited for."""
    return await wait_until(consumer.next, description="a batch")


async def counted(bus: Bus, partition: int = 0) -> dict[str, int]:
    """All statistics of the last seconds together."""
    total: dict[str, int] = {}
    now = int(time.time())
    for second in range(now - 60, now + 2):
        for name, n in (await bus.counters(partition, second)).items():
            total[name] = total.get(name, 0) + n
    return total


def everything(consumer: Consumer, batch: Batch) -> Decision:
    """A decision that writes one of each kind."""
    work = consumer.commit(batch)
    work.append("results", batch.payloads)
    work.append("tail", batch.payloads[:1])
    work.count("row:digits:1", 7)
    work.save("fold", {"a": b"\x00\xff", "b": b"2"})
    work.wait_for_label(batch.entries[0].position, b"guess")
    return work


async def test_all_parts_are_written(any_bus: Bus, events: Events) -> None:
    async with any_bus.consume("requests", "scorers", worker="w") as consumer:
        receipt = await any_bus.publish("requests", events(3))
        batch = await some(consumer)
        answer = await consumer.finish(everything(consumer, batch))
    results, tail = await any_bus.read("results"), await any_bus.read("tail")
    assert [decode(entry.payload) for entry in results] == events(3)
    assert answer == [results[-1].position, tail[-1].position]
    assert [entry.position.number for entry in results] == [1, 2, 3]
    assert (await any_bus.state("fold")) == {"a": b"\x00\xff", "b": b"2"}
    assert (await any_bus.waiting(0, receipt.positions)) == [b"guess", None, None]
    sizes = [len(encode(event)) for event in events(3)]
    assert await counted(any_bus) == {
        "pub:requests": 3,
        "bytes:requests": sum(sizes),
        "pub:results": 3,
        "bytes:results": sum(sizes),
        "pub:tail": 1,
        "bytes:tail": sizes[0],
        "ack:requests:scorers": 3,
        "row:digits:1": 7,
    }
    [group] = await any_bus.groups("requests")
    assert (group.lag, group.in_flight, group.consumers) == (0, 0, 0)


async def test_nothing_is_written_when_part_of_the_batch_was_decided_by_others(any_bus: Bus, events: Events) -> None:
    async with any_bus.consume("requests", "scorers", worker="w") as consumer:
        receipt = await any_bus.publish("requests", events(3))
        batch = await some(consumer)
        await any_bus._client.xack(any_bus.names.log("requests"), "scorers", batch.ids[1])
        before = await counted(any_bus)
        answer = await any_bus.commit(everything(consumer, batch))
        assert answer == Left([batch.entries[0].position, batch.entries[2].position])
    assert [await any_bus.length(channel) for channel in ("results", "tail")] == [0, 0]
    assert await any_bus.state("fold") == {}
    assert await any_bus.waiting(0, receipt.positions) == [None] * 3
    assert await counted(any_bus) == before
    [group] = await any_bus.groups("requests")
    assert group.in_flight == 2


async def test_a_lost_reply_of_a_commit_doubles_nothing(any_bus: Bus, cut: Cut, events: Events) -> None:
    await any_bus.publish("requests", events(3))
    bus = cut()
    async with bus.consume("requests", "scorers", worker="w") as consumer:
        batch = await some(consumer)
        bus._client.cut.update(("EVALSHA", "EVAL"))
        assert await consumer.finish(everything(consumer, batch)) == Left([])
    assert [await any_bus.length(channel) for channel in ("results", "tail")] == [3, 1]
    assert (await counted(any_bus))["ack:requests:scorers"] == 3


async def test_results_are_numbered_behind_what_is_there(any_bus: Bus, events: Events) -> None:
    await any_bus.publish("results", events(2))
    async with any_bus.consume("requests", "scorers", worker="w") as consumer:
        await any_bus.publish("requests", events(2))
        batch = await some(consumer)
        await consumer.finish(everything(consumer, batch))
    assert [entry.position.number for entry in await any_bus.read("results")] == [1, 2, 3, 4]


async def test_a_result_is_pushed_like_a_published_event(any_bus: Bus, events: Events) -> None:
    live = any_bus.names.live("results")
    async with any_bus.consume("requests", "scorers", worker="w") as consumer:
        await any_bus.publish("requests", events(2))
        batch = await some(consumer)
        async with aclosing(any_bus.listen(live)) as pushes:
            async for pushed in pushes:
                if pushed is None:
                    await consumer.finish(everything(consumer, batch))
                elif pushed:
                    [(channel, payload)] = pushed
                    break
    epoch, entries = opened(payload)
    assert channel == live
    assert epoch == (await any_bus.last("results"))[0]
    assert entries == await any_bus.read("results")


async def test_replies_are_pushed_to_their_channel(any_bus: Bus, events: Events) -> None:
    live = any_bus.names.reply("client")
    async with any_bus.consume("requests", "scorers", worker="w") as consumer:
        await any_bus.publish("requests", events(1))
        batch = await some(consumer)
        heard: list[tuple[str, bytes]] = []
        async with aclosing(any_bus.listen(live)) as pushes:
            async for pushed in pushes:
                if pushed is None:
                    work = consumer.commit(batch)
                    work.reply(live, b"one")
                    work.reply(live, b"two")
                    await consumer.finish(work)
                heard += pushed or []
                if len(heard) == 2:
                    break
        assert heard == [(live, b"one"), (live, b"two")]


async def test_state_without_entries(any_bus: Bus) -> None:
    work = Commit(0)
    work.save("fold", {"a": b"1", "b": b"2"})
    assert await any_bus.commit(work) == []
    work = Commit(0)
    work.drop("fold", ["a", "absent"])
    work.save("fold", {"c": b"3"})
    await any_bus.commit(work)
    assert await any_bus.state("fold") == {"b": b"2", "c": b"3"}


async def test_a_label_is_joined_once(any_bus: Bus) -> None:
    minute, next_minute = Position(1_800_000_000_000, 1), Position(1_800_000_060_000, 2)
    work = Commit(0)
    work.wait_for_label(minute, b"first")
    work.wait_for_label(next_minute, b"second")
    await any_bus.commit(work)
    assert await any_bus.waiting(0, [next_minute, minute, Position(5, 5)]) == [b"second", b"first", None]
    work = Commit(0)
    work.joined(minute)
    await any_bus.commit(work)
    assert await any_bus.waiting(0, [minute, next_minute]) == [None, b"second"]


async def test_a_commit_larger_than_what_lua_unpacks(connect: Connect, events: Events) -> None:
    bus = await connect(consume_entries=10_000, batch_events=10_000)
    count = 8_500
    await bus.publish("requests", [b'{"type":"run.alive","run":"r"}'] * count)
    async with bus.consume("requests", "scorers", worker="w") as consumer:
        batch = await some(consumer)
        assert len(batch) == count
        work = consumer.commit(batch)
        work.save("fold", {str(n): b"x" for n in range(count)})
        assert await consumer.finish(work) == []
    dropping = Commit(0)
    dropping.drop("fold", [str(n) for n in range(count)])
    await bus.commit(dropping)
    assert await bus.state("fold") == {}
    [group] = await bus.groups("requests")
    assert group.in_flight == 0


async def test_an_outcome_of_impossible_size_is_refused_before_anything_is_written(
    connect: Connect, events: Events
) -> None:
    bus = await connect(event_limit_bytes=100)
    async with bus.consume("requests", "scorers", worker="w") as consumer:
        await bus.publish("requests", events(1))
        batch = await some(consumer)
        work = consumer.commit(batch)
        work.append("results", [b"x" * 201])
        with pytest.raises(EventError, match="'results'"):
            await consumer.finish(work)
        [group] = await bus.groups("requests")
        assert group.in_flight == 1


async def test_scripts_that_the_server_forgot_are_sent_again(any_bus: Bus, events: Events) -> None:
    async with any_bus.consume("requests", "scorers", worker="w") as consumer:
        await any_bus.publish("requests", events(1))
        batch = await some(consumer)
        await any_bus._client.script_flush()
        await consumer.finish(everything(consumer, batch))
    assert await any_bus.length("results") == 1


async def test_the_statistics_equal_a_recount(connect: Connect, events: Events) -> None:
    bus = await connect(consume_entries=7, retry_base_ms=1, retry_limit_ms=1)
    await bus.publish("requests", events(40))
    dead = retried = 0
    async with bus.consume("requests", "scorers", worker="w") as consumer:
        while (group := (await bus.groups("requests"))[0]).lag + group.in_flight:
            batch = await some(consumer)
            work = consumer.commit(batch)
            for entry in batch.entries:
                if entry.position.number % 10 == 0:
                    work.dead(entry.position, "every tenth")
                    dead += 1
                elif entry.position.number % 7 == 0 and not batch.attempts:
                    retried += work.retry(entry.position, "every seventh")
            work.append("results", [encode(events(1)[0])] * len(work.entries))
            await consumer.finish(work)
    counters = await counted(bus)
    assert counters["pub:requests"] == await bus.length("requests") == 40
    assert counters["ack:requests:scorers"] == counters["pub:results"] == await bus.length("results") == 40
    assert counters["dead:requests:scorers"] == counters["pub:dead"] == await bus.length("dead") == dead == 4
    assert counters["retry:requests:scorers"] == retried
    assert counters["bytes:requests"] == sum(len(entry.payload) for entry in await bus.read("requests"))


@pytest.mark.parametrize("holder", ["another", "nobody"])
async def test_who_lost_the_lease_writes_nothing(any_bus: Bus, events: Events, holder: str) -> None:
    assert await any_bus.lease("leader", "me", 60_000)
    async with any_bus.consume("requests", "scorers", worker="w") as consumer:
        await any_bus.publish("requests", events(2))
        batch = await some(consumer)
        await any_bus.release("leader", "me")
        if holder == "another":
            assert await any_bus.lease("leader", "other", 60_000)
        before = await counted(any_bus)
        work = everything(consumer, batch)
        work.under_lease("leader", "me")
        with pytest.raises(LeaseLostError, match="'leader'"):
            await consumer.finish(work)
        assert await any_bus.length("results") == 0
        assert await any_bus.state("fold") == {}
        assert await counted(any_bus) == before
        [group] = await any_bus.groups("requests")
        assert group.in_flight == 2


async def test_who_holds_the_lease_writes(any_bus: Bus) -> None:
    assert await any_bus.lease("leader", "me", 60_000)
    work = Commit(0)
    work.save("fold", {"a": b"1"})
    work.under_lease("leader", "me")
    await any_bus.commit(work)
    assert await any_bus.state("fold") == {"a": b"1"}
