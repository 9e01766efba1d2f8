"""consume: every entry comes to one member, comes again if that one dies or asks for it, and is decided once."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from headrace.bus import Batch, Bus, Consumer, Decision, Left
from headrace.channels import DEAD
from headrace.codec import decode, encode
from headrace.errors import GroupLostError, UnavailableError
from headrace.events import EntryDead
from headrace.testing import wait_until

if TYPE_CHECKING:
    from tests.contract.conftest import Connect, Cut, Events

NEVER_MS = 3_600_000
CLAIM_MS = 100


async def some(consumer: Consumer) -> Batch:
    """The next batch, waited for."""
    return await wait_until(consumer.next, description="a batch")


async def in_flight(bus: Bus) -> int:
    [group] = await bus.groups("runs")
    return group.in_flight


async def idle(bus: Bus, milliseconds: int) -> None:
    """Wait until every pending entry was left alone for so long."""
    client, log = bus._client, bus.names.log("runs")

    async def quiet() -> bool:
        rows = await client.xpending_range(log, "readers", min="-", max="+", count=100)
        return all(row["time_since_delivered"] >= milliseconds for row in rows)

    await wait_until(quiet, description="pending entries to age")


async def abandon(bus: Bus, worker: str) -> Batch:
    """Read as a worker that is killed in the middle of its batch: nothing is committed, renewed or handed back."""
    batch = await bus.consume("runs", "readers", worker=worker).next()
    assert batch is not None
    return batch


async def test_a_batch_is_what_waits_in_log_order(any_bus: Bus, events: Events) -> None:
    async with any_bus.consume("runs", "readers", worker="w") as consumer:
        assert await consumer.next() is None
        receipt = await any_bus.publish("runs", events(3))
        batch = await consumer.next()
        assert batch is not None
        assert [entry.position for entry in batch.entries] == receipt.positions
        assert [decode(payload) for payload in batch.payloads] == events(3)
        assert batch.attempts == {}
        assert len(batch) == 3
        assert await consumer.finish(consumer.commit(batch)) == []
        assert await consumer.next() is None
    [group] = await any_bus.groups("runs")
    assert (group.lag, group.in_flight, group.consumers) == (0, 0, 0)


async def test_a_read_waits_for_the_first_event(any_bus: Bus, events: Events) -> None:
    async with any_bus.consume("runs", "readers", worker="w") as consumer:
        waiting = asyncio.create_task(consumer.next(5_000))
        await asyncio.sleep(0)
        started = time.monotonic()
        await any_bus.publish("runs", events(1))
        batch = await waiting
        assert batch is not None
        assert time.monotonic() - started < 1.0


async def test_iteration_ends_when_told(any_bus: Bus, events: Events) -> None:
    await any_bus.publish("runs", events(2))
    seen = 0
    async with any_bus.consume("runs", "readers", worker="w") as consumer:
        async for batch in consumer:
            seen += len(batch)
            await consumer.finish(consumer.commit(batch))
            consumer.stop()
    assert seen == 2


async def test_members_share_the_work(connect: Connect, events: Events) -> None:
    buses = [await connect(consume_entries=2) for _ in range(3)]
    await buses[0].publish("runs", events(12))
    seen: list[str] = []

    async def work(bus: Bus, name: str) -> None:
        async with bus.consume("runs", "readers", worker=name) as consumer:
            while batch := await consumer.next():
                assert len(batch) <= 2
                seen.extend(str(entry.position) for entry in batch.entries)
                await consumer.finish(consumer.commit(batch))

    await asyncio.gather(*(work(bus, f"w{n}") for n, bus in enumerate(buses)))
    assert sorted(seen) == sorted(str(entry.position) for entry in await buses[0].read("runs"))


async def test_groups_each_get_everything(any_bus: Bus, events: Events) -> None:
    await any_bus.publish("runs", events(3))
    for group in ("one", "two"):
        async with any_bus.consume("runs", group, worker="w") as consumer:
            assert len(await some(consumer)) == 3


async def test_reads_shrink_when_entries_are_large(connect: Connect) -> None:
    bus = await connect(consume_bytes=1_000)
    await bus.publish("runs", [b"{" + b" " * 400] * 6)
    async with bus.consume("runs", "readers", worker="w") as consumer:
        assert len(await some(consumer)) == 6
        await bus.publish("runs", [b"{" + b" " * 400] * 6)
        assert [len(await some(consumer)) for _ in range(3)] == [2, 2, 2]


async def test_a_retry_comes_again_later_with_its_number_of_attempts(connect: Connect, events: Events) -> None:
    bus = await connect(retry_base_ms=40, retry_limit_ms=40)
    async with bus.consume("runs", "readers", worker="w") as consumer:
        await bus.publish("runs", events(3))
        first = await some(consumer)
        work = consumer.commit(first)
        assert work.retry(first.ids[1], "not yet")
        await consumer.finish(work)
        started = time.monotonic()
        assert await in_flight(bus) == 1

        again = await some(consumer)
        assert time.monotonic() - started >= 0.02
        assert (again.ids, again.payloads) == ([first.ids[1]], [first.payloads[1]])
        assert again.attempts == {first.ids[1]: 2}
        await consumer.finish(consumer.commit(again))
        assert await in_flight(bus) == 0


async def test_a_batch_that_is_all_to_be_retried_is_counted(connect: Connect, events: Events) -> None:
    bus = await connect(retry_base_ms=1, retry_limit_ms=1)
    async with bus.consume("runs", "readers", worker="w") as consumer:
        await bus.publish("runs", events(2))
        batch = await some(consumer)
        work = consumer.commit(batch)
        for identity in batch.ids:
            assert work.retry(identity, "not yet")
        await consumer.finish(work)
        assert (await counted(bus)).get("retry:runs:readers") == 2
        again: list[bytes] = []
        while len(again) < 2:
            again += (await some(consumer)).ids
        assert sorted(again) == sorted(batch.ids)


async def counted(bus: Bus) -> dict[str, int]:
    """All statistics of the last seconds together."""
    total: dict[str, int] = {}
    now = int(time.time())
    for second in range(now - 60, now + 2):
        for name, n in (await bus.counters(0, second)).items():
            total[name] = total.get(name, 0) + n
    return total


async def test_after_the_last_attempt_an_entry_is_a_dead_letter(connect: Connect, events: Events) -> None:
    bus = await connect(retry_base_ms=1, retry_limit_ms=1, max_attempts=3)
    async with bus.consume("runs", "readers", worker="w") as consumer:
        receipt = await bus.publish("runs", events(1))
        for attempt in (1, 2, 3):
            batch = await some(consumer)
            assert batch.attempts.get(batch.ids[0], 1) == attempt
            work = consumer.commit(batch)
            assert work.retry(batch.ids[0], "cannot be read") is (attempt < 3)
            await consumer.finish(work)
        assert await consumer.next() is None
    [entry] = await bus.read(DEAD)
    letter = decode(entry.payload)
    assert isinstance(letter, EntryDead)
    assert (letter.channel, letter.group, letter.worker, letter.attempts) == ("runs", "readers", "w", 3)
    assert letter.position == str(receipt.positions[0])
    assert letter.reason == "cannot be read (given up after 3 attempts)"
    assert letter.payload == encode(events(1)[0])
    assert (await counted(bus))["dead:runs:readers"] == 1
    assert await in_flight(bus) == 0


async def test_the_dead_letter_leaves_the_rest_of_its_batch_alone(any_bus: Bus, events: Events) -> None:
    async with any_bus.consume("runs", "readers", worker="w") as consumer:
        await any_bus.publish("runs", events(3))
        batch = await some(consumer)
        work = consumer.commit(batch)
        work.append("results", [encode(events(1)[0])])
        work.dead(batch.ids[1], "poison")
        await consumer.finish(work)
    assert (await any_bus.length("results"), await any_bus.length(DEAD)) == (1, 1)
    assert await in_flight(any_bus) == 0


async def test_entries_of_a_dead_worker_are_taken_over(connect: Connect, events: Events) -> None:
    bus = await connect(claim_ms=CLAIM_MS)
    async with bus.consume("runs", "readers", worker="heir") as consumer:
        await bus.publish("runs", events(3))
        left = await abandon(bus, "dead")
        batch = await some(consumer)
        assert batch.ids == left.ids
        assert set(batch.attempts.values()) == {2}
        await consumer.finish(consumer.commit(batch))
        assert await in_flight(bus) == 0


async def test_nothing_is_taken_over_early(connect: Connect, events: Events) -> None:
    bus = await connect(claim_ms=NEVER_MS)
    async with bus.consume("runs", "readers", worker="heir") as consumer:
        await bus.publish("runs", events(3))
        await abandon(bus, "slow")
        assert await consumer.next() is None


async def test_long_work_keeps_its_entries(connect: Connect, events: Events) -> None:
    # The slow one renews many times in the time that the eager one grants it, however busy the machine is.
    bus, other = await connect(claim_ms=CLAIM_MS), await connect(claim_ms=5 * CLAIM_MS)
    async with (
        bus.consume("runs", "readers", worker="slow") as slow,
        other.consume("runs", "readers", worker="eager") as eager,
    ):
        await bus.publish("runs", events(3))
        batch = await some(slow)
        until = time.monotonic() + 6 * CLAIM_MS / 1000
        while time.monotonic() < until:
            eager._next_claim_s = 0.0
            assert await eager.next(20) is None
        assert await slow.finish(slow.commit(batch)) == []
        assert await in_flight(bus) == 0


async def test_entries_that_wait_for_a_retry_are_kept_too(connect: Connect, events: Events) -> None:
    bus = await connect(claim_ms=CLAIM_MS, retry_base_ms=NEVER_MS, retry_limit_ms=NEVER_MS)
    other = await connect(claim_ms=5 * CLAIM_MS)
    async with (
        bus.consume("runs", "readers", worker="slow") as slow,
        other.consume("runs", "readers", worker="eager") as eager,
    ):
        await bus.publish("runs", events(1))
        batch = await some(slow)
        work = slow.commit(batch)
        work.retry(batch.ids[0], "much later")
        await slow.finish(work)
        until = time.monotonic() + 6 * CLAIM_MS / 1000
        while time.monotonic() < until:
            eager._next_claim_s = 0.0
            assert await eager.next(20) is None


async def test_a_worker_that_woke_up_does_not_take_back_what_others_hold(connect: Connect, events: Events) -> None:
    sleeper = await connect(claim_ms=NEVER_MS)
    heir = await connect(claim_ms=1)
    async with sleeper.consume("runs", "readers", worker="sleeper") as zombie:
        await sleeper.publish("runs", events(2))
        await some(zombie)
        await idle(heir, 2)
        taken = await some(heir.consume("runs", "readers", worker="heir"))
        await zombie._claim_again(idle_ms=0)
        rows = await heir._client.xpending_range(heir.names.log("runs"), "readers", min="-", max="+", count=10)
        assert {row["consumer"].decode() for row in rows} == {taken.consumer}


async def test_a_late_commit_of_a_stolen_batch_changes_nothing(connect: Connect, events: Events) -> None:
    sleeper = await connect(claim_ms=NEVER_MS)
    heir = await connect(claim_ms=1)
    async with (
        sleeper.consume("runs", "readers", worker="sleeper") as zombie,
        heir.consume("runs", "readers", worker="heir") as consumer,
    ):
        await sleeper.publish("runs", events(3))
        old = await some(zombie)
        await idle(heir, 2)
        new = await some(consumer)
        assert new.ids == old.ids
        for member, batch in ((consumer, new), (zombie, old)):
            work = member.commit(batch)
            work.append("results", [encode(event) for event in events(3)])
            answer = await member.finish(work)
            assert isinstance(answer, Left) is (member is zombie)
        assert answer == Left([])
    assert await heir.length("results") == 3
    assert (await counted(heir))["ack:runs:readers"] == 3


async def test_whoever_commits_first_has_decided_even_if_it_was_robbed(connect: Connect, events: Events) -> None:
    sleeper = await connect(claim_ms=NEVER_MS)
    heir = await connect(claim_ms=1)
    async with (
        sleeper.consume("runs", "readers", worker="sleeper") as zombie,
        heir.consume("runs", "readers", worker="heir") as consumer,
    ):
        await sleeper.publish("runs", events(3))
        old = await some(zombie)
        await idle(heir, 2)
        new = await some(consumer)
        assert await zombie.finish(zombie.commit(old)) == []
        assert await consumer.finish(consumer.commit(new)) == Left([])
    assert (await counted(heir))["ack:runs:readers"] == 3
    assert await in_flight(heir) == 0


@pytest.mark.parametrize("rebuilding", [True, False])
async def test_of_a_batch_that_was_stolen_in_part_only_the_rest_is_decided(
    connect: Connect, events: Events, rebuilding: bool
) -> None:
    sleeper = await connect(claim_ms=NEVER_MS)
    heir = await connect(claim_ms=1, consume_entries=2)
    async with (
        sleeper.consume("runs", "readers", worker="sleeper") as zombie,
        heir.consume("runs", "readers", worker="heir") as consumer,
    ):
        await sleeper.publish("runs", events(5))
        old = await some(zombie)
        await idle(heir, 2)
        new = await some(consumer)
        assert new.ids == old.ids[:2]
        await consumer.finish(consumer.commit(new))

        parts: list[Batch] = []

        def decide(batch: Batch) -> Decision:
            parts.append(batch)
            work = zombie.commit(batch)
            work.append("results", batch.payloads)
            return work

        work = decide(old)
        answer = await zombie.finish(work, decide if rebuilding else None)
        if rebuilding:
            assert [len(part) for part in parts] == [5, 3]
            assert await heir.length("results") == 3
            assert await in_flight(heir) == 0
        else:
            assert answer == Left([entry.position for entry in old.entries[2:]])
            assert await heir.length("results") == 0
            assert await in_flight(heir) == 3


async def test_what_was_to_be_retried_is_decided_again_with_the_rest(connect: Connect, events: Events) -> None:
    sleeper = await connect(claim_ms=NEVER_MS)
    heir = await connect(claim_ms=1, consume_entries=1)
    async with (
        sleeper.consume("runs", "readers", worker="sleeper") as zombie,
        heir.consume("runs", "readers", worker="heir") as consumer,
    ):
        await sleeper.publish("runs", events(3))
        old = await some(zombie)
        await idle(heir, 2)
        await consumer.finish(consumer.commit(await some(consumer)))
        work = zombie.commit(old)
        work.retry(old.ids[2], "not yet")
        parts: list[Batch] = []

        def decide(batch: Batch) -> Decision:
            parts.append(batch)
            return zombie.commit(batch)

        await zombie.finish(work, decide)
        assert [part.ids for part in parts] == [old.ids[1:]]
        assert await in_flight(heir) == 0


async def test_what_kills_its_workers_is_delivered_alone(connect: Connect, events: Events) -> None:
    bus = await connect(claim_ms=1)
    await bus.consume("runs", "readers", worker="w")._create()
    await bus.publish("runs", events(3))
    for _ in range(2):
        await abandon(bus, "victim")
        await idle(bus, 2)
    consumer = bus.consume("runs", "readers", worker="heir")
    batches = [await some(consumer) for _ in range(3)]
    assert [len(batch) for batch in batches] == [1, 1, 1]
    assert [next(iter(batch.attempts.values())) for batch in batches] == [3, 3, 3]
    assert len({batch.consumer for batch in batches}) == 3
    for batch in batches:
        assert await consumer.finish(consumer.commit(batch)) == []
    assert await in_flight(bus) == 0


async def test_what_killed_all_its_workers_is_given_up(connect: Connect, events: Events) -> None:
    bus = await connect(claim_ms=1, max_attempts=3)
    await bus.consume("runs", "readers", worker="w")._create()
    receipt = await bus.publish("runs", events(1))
    for _ in range(3):
        await abandon(bus, "victim")
        await idle(bus, 2)
    assert await bus.consume("runs", "readers", worker="heir").next() is None
    [entry] = await bus.read(DEAD)
    letter = decode(entry.payload)
    assert isinstance(letter, EntryDead)
    assert letter.position == str(receipt.positions[0])
    assert letter.reason == "delivered 3 times, and no worker lived to decide it"
    assert await in_flight(bus) == 0


async def test_a_worker_that_ends_hands_back_what_it_holds(connect: Connect, events: Events) -> None:
    bus = await connect(claim_ms=NEVER_MS)
    async with bus.consume("runs", "readers", worker="leaving") as leaving:
        await bus.publish("runs", events(3))
        batch = await some(leaving)
    async with bus.consume("runs", "readers", worker="heir") as consumer:
        handed = await consumer.next()
        assert handed is not None
        assert handed.ids == batch.ids
        await consumer.finish(consumer.commit(handed))
    assert await in_flight(bus) == 0


async def test_retries_are_handed_back_too(connect: Connect, events: Events) -> None:
    bus = await connect(claim_ms=NEVER_MS, retry_base_ms=NEVER_MS, retry_limit_ms=NEVER_MS)
    async with bus.consume("runs", "readers", worker="leaving") as leaving:
        await bus.publish("runs", events(1))
        batch = await some(leaving)
        work = leaving.commit(batch)
        work.retry(batch.ids[0], "much later")
        await leaving.finish(work)
    handed = await bus.consume("runs", "readers", worker="heir").next()
    assert handed is not None
    assert handed.ids == batch.ids


async def test_a_lost_read_comes_back_by_claim_under_another_name(connect: Connect, cut: Cut, events: Events) -> None:
    bus = cut("XREADGROUP", claim_ms=CLAIM_MS)
    async with bus.consume("runs", "readers", worker="w") as consumer:
        await bus.publish("runs", events(2))
        with pytest.raises(UnavailableError):
            await consumer.next()
        await bus.publish("runs", events(1, 2))
        fresh = await some(consumer)
        await consumer.finish(consumer.commit(fresh))
        rows = await bus._client.xpending_range(bus.names.log("runs"), "readers", min="-", max="+", count=10)
        assert fresh.consumer.encode() not in {row["consumer"] for row in rows}
        lost = await some(consumer)
        assert (len(fresh), len(lost)) == (1, 2)
        await consumer.finish(consumer.commit(lost))
    assert await in_flight(bus) == 0


async def test_a_read_that_was_cancelled_loses_nothing(connect: Connect, events: Events) -> None:
    bus = await connect(claim_ms=CLAIM_MS)
    async with bus.consume("runs", "readers", worker="w") as consumer:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(consumer.next(5_000), 0.02)
        abandoned = consumer._name()
        await bus.publish("runs", events(2))
        seen = 0
        while seen < 2:
            batch = await some(consumer)
            seen += len(batch)
            assert batch.consumer >= abandoned
            await consumer.finish(consumer.commit(batch))
    assert await in_flight(bus) == 0


async def test_a_deleted_group_is_an_error(any_bus: Bus, events: Events) -> None:
    async with any_bus.consume("runs", "readers", worker="w") as consumer:
        await any_bus.publish("runs", events(2))
        batch = await some(consumer)
        await any_bus.remove_group("runs", 0, "readers")
        with pytest.raises(GroupLostError, match="'readers' of channel 'runs' is gone"):
            await consumer.finish(consumer.commit(batch))
        with pytest.raises(GroupLostError):
            await consumer.next()
