"""publish: what it accepted is in the log exactly once, in order, under dense numbers, and was pushed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from headrace.bus import Accepted, Bus, PublishCall
from headrace.bus.connection import connect_async
from headrace.codec import decode, encode
from headrace.errors import EventError, FullError
from headrace.events import RunMetrics
from headrace.settings import Settings

if TYPE_CHECKING:
    from tests.contract.conftest import Connect, Cut, Events


@asynccontextmanager
async def foreign(settings: Settings, live: str) -> AsyncIterator[Any]:
    """What any other client does: a bare SUBSCRIBE."""
    async with connect_async(settings) as client, client.pubsub() as pubsub:
        await pubsub.subscribe(live)
        assert (await pubsub.get_message(timeout=2))["type"] == "subscribe"
        yield pubsub


async def pushed(pubsub: Any, count: int) -> list[bytes]:
    """The next `count` payloads, and nothing after them."""
    payloads: list[bytes] = []
    for _ in range(count):
        message = await pubsub.get_message(timeout=2)
        assert message is not None, f"only {len(payloads)} of {count} pushes came"
        payloads.append(message["data"])
    assert await pubsub.get_message(timeout=0.01) is None
    return payloads


async def test_numbers_are_dense_and_positions_follow_the_log(any_bus: Bus, events: Events) -> None:
    first = await any_bus.publish("runs", events(3))
    second = await any_bus.publish("runs", events(2, 3))
    positions = [*first.positions, *second.positions]
    assert [position.number for position in positions] == [1, 2, 3, 4, 5]
    assert positions == sorted(positions)
    entries = await any_bus.read("runs")
    assert [entry.position for entry in entries] == positions
    assert [decode(entry.payload) for entry in entries] == events(5)
    assert first.epoch == second.epoch == (await any_bus.last("runs"))[0]
    assert (await any_bus.last("runs"))[1] == positions[-1]


async def test_nothing_published_is_nothing_written(any_bus: Bus) -> None:
    assert (await any_bus.publish("runs", [])).positions == []
    assert await any_bus.last("runs") == ("", (0, 0))


async def test_a_repeated_batch_is_appended_once_and_told_the_same_positions(any_bus: Bus, events: Events) -> None:
    call = PublishCall("runs", 0, "producer", 1, [encode(event) for event in events(4)])
    once = await any_bus.publish_batch(call)
    again = await any_bus.publish_batch(call)
    assert (once.status, once.taken, once.added) == ("ok", 4, 4)
    assert (again.status, again.taken, again.added) == ("ok", 4, 0)
    assert again.positions.all() == once.positions.all()
    assert await any_bus.length("runs") == 4


async def test_a_lost_reply_doubles_nothing(any_bus: Bus, cut: Cut, events: Events) -> None:
    receipt = await cut("EVALSHA").publish("runs", events(5))
    assert [position.number for position in receipt.positions] == [1, 2, 3, 4, 5]
    assert await any_bus.length("runs") == 5


def numbers(accepted: Accepted) -> dict[int, int]:
    """Sequence numbers of a producer and the numbers that its events have in the log."""
    found = {n: accepted.positions.get(n) for n in range(12)}
    return {n: position.number for n, position in found.items() if position}


async def test_a_batch_that_overlaps_what_is_held_adds_only_the_rest(any_bus: Bus, events: Events) -> None:
    payloads = [encode(event) for event in events(6)]
    await any_bus.publish_batch(PublishCall("runs", 0, "producer", 1, payloads[:4]))
    accepted = await any_bus.publish_batch(PublishCall("runs", 0, "producer", 3, payloads[2:]))
    assert (accepted.status, accepted.taken, accepted.added) == ("ok", 6, 2)
    assert numbers(accepted) == {3: 3, 4: 4, 5: 5, 6: 6}
    assert [decode(entry.payload) for entry in await any_bus.read("runs")] == events(6)


async def test_a_batch_behind_a_gap_is_refused_and_told_where_to_begin(any_bus: Bus, events: Events) -> None:
    payloads = [encode(event) for event in events(2)]
    await any_bus.publish_batch(PublishCall("runs", 0, "producer", 1, payloads))
    accepted = await any_bus.publish_batch(PublishCall("runs", 0, "producer", 5, payloads))
    assert (accepted.status, accepted.taken, accepted.added) == ("ahead", 2, 0)
    assert await any_bus.length("runs") == 2


async def test_producers_side_by_side_lose_and_double_nothing(any_bus: Bus, events: Events) -> None:
    await asyncio.gather(*(any_bus.publish("runs", events(20, 20 * n)) for n in range(8)))
    entries = await any_bus.read("runs")
    assert [entry.position.number for entry in entries] == list(range(1, 161))
    assert {decode(entry.payload) for entry in entries} == set(events(160))


async def test_a_full_partition_takes_what_it_has_room_for(connect: Connect, events: Events) -> None:
    bus = await connect(depth_limit=6)
    async with bus.consume("runs", "readers", worker="w") as consumer:
        await bus.publish("runs", events(4))
        call = PublishCall("runs", 0, "producer", 1, [encode(event) for event in events(5, 4)])
        partly = await bus.publish_batch(call)
        assert (partly.status, partly.taken, partly.added) == ("full", 2, 2)
        assert numbers(partly) == {1: 5, 2: 6}
        nothing = await bus.publish_batch(call)
        assert (nothing.status, nothing.taken, nothing.added) == ("full", 2, 0)
        assert numbers(nothing) == numbers(partly)
        assert await bus.length("runs") == 6

        batch = await consumer.next()
        assert batch is not None
        await consumer.finish(consumer.commit(batch))
        rest = await bus.publish_batch(call)
        assert (rest.status, rest.taken, rest.added) == ("ok", 5, 3)
        assert numbers(rest) == {1: 5, 2: 6, 3: 7, 4: 8, 5: 9}
        assert [decode(entry.payload) for entry in await bus.read("runs")] == events(9)


async def test_full_is_an_error_that_says_how_many_went_in(connect: Connect, events: Events) -> None:
    bus = await connect(depth_limit=3)
    async with bus.consume("runs", "readers", worker="w"):
        with pytest.raises(FullError, match="consumers are slower") as caught:
            await bus.publish("runs", events(5))
    assert (caught.value.channel, caught.value.taken, caught.value.retryable) == ("runs", 3, True)


async def test_handed_out_entries_count_for_the_limit_until_they_are_committed(
    connect: Connect, events: Events
) -> None:
    bus = await connect(depth_limit=3)
    async with bus.consume("runs", "readers", worker="w") as consumer:
        await bus.publish("runs", events(3))
        assert await consumer.next() is not None
        with pytest.raises(FullError):
            await bus.publish("runs", events(1))


async def test_without_a_group_nothing_is_full(connect: Connect, events: Events) -> None:
    bus = await connect(depth_limit=3)
    await bus.publish("runs", events(3))
    await bus.publish("runs", events(3))
    assert await bus.length("runs") == 6


@pytest.mark.parametrize("how", ["deleted", "emptied"])
async def test_a_new_log_gets_a_new_epoch_and_later_positions(any_bus: Bus, events: Events, how: str) -> None:
    old = await any_bus.publish("runs", events(3))
    log = any_bus.names.log("runs")
    await (any_bus._client.delete(log) if how == "deleted" else any_bus._client.xtrim(log, maxlen=0, approximate=False))
    new = await any_bus.publish("runs", events(2))
    assert new.epoch != old.epoch
    assert [position.number for position in new.positions] == [1, 2]
    assert new.positions[0] > old.positions[-1]


@pytest.mark.parametrize("payload", [b"", b"x" * 101])
async def test_an_event_of_impossible_size_is_refused_before_it_is_sent(connect: Connect, payload: bytes) -> None:
    bus = await connect(event_limit_bytes=100)
    with pytest.raises(EventError, match="HEADRACE_EVENT_LIMIT_BYTES"):
        await bus.publish("runs", [payload])
    assert await bus.length("runs") == 0


async def test_scripts_that_the_server_forgot_are_sent_again(any_bus: Bus, events: Events) -> None:
    await any_bus.publish("runs", events(1))
    await any_bus._client.script_flush()
    receipt = await any_bus.publish("runs", events(1))
    assert receipt.positions[0].number == 2


async def test_any_client_can_listen_to_msgpack(any_bus: Bus, events: Events) -> None:
    async with foreign(any_bus.settings, any_bus.names.live("runs")) as pubsub:
        receipt = await any_bus.publish("runs", events(2))
        [payload] = await pushed(pubsub, 1)
    epoch, items = msgspec.msgpack.decode(payload)
    assert epoch == receipt.epoch
    assert items[0::2] == [str(position) for position in receipt.positions]
    assert items[1::2] == [{"type": "run.alive", "run": "run-0"}, {"type": "run.alive", "run": "run-1"}]


async def test_any_client_can_listen_to_json(any_bus: Bus, events: Events) -> None:
    async with foreign(any_bus.settings, any_bus.names.live("runs")) as pubsub:
        receipt = await any_bus.publish("runs", [encode(event, "json") for event in events(2)])
        [payload] = await pushed(pubsub, 1)
    epoch, items = json.loads(payload)
    assert epoch == receipt.epoch
    assert items[0::2] == [str(position) for position in receipt.positions]
    assert items[1::2] == [{"type": "run.alive", "run": "run-0"}, {"type": "run.alive", "run": "run-1"}]


async def test_an_envelope_holds_one_codec(any_bus: Bus, events: Events) -> None:
    async with foreign(any_bus.settings, any_bus.names.live("runs")) as pubsub:
        a, b, c, d = events(4)
        await any_bus.publish("runs", [encode(a), encode(b), encode(c, "json"), encode(d)])
        packed, text, last = await pushed(pubsub, 3)
    assert [item["run"] for item in msgspec.msgpack.decode(packed)[1][1::2]] == ["run-0", "run-1"]
    assert [item["run"] for item in json.loads(text)[1][1::2]] == ["run-2"]
    assert [item["run"] for item in msgspec.msgpack.decode(last)[1][1::2]] == ["run-3"]


async def test_envelopes_are_cut_at_about_4_kilobytes(any_bus: Bus) -> None:
    async with foreign(any_bus.settings, any_bus.names.live("runs")) as pubsub:
        big = [RunMetrics(run="r", step=step, metrics={"m" * 1000: 1.0}) for step in range(12)]
        await any_bus.publish("runs", big)
        payloads = await pushed(pubsub, 3)
    steps = [item["step"] for payload in payloads for item in msgspec.msgpack.decode(payload)[1][1::2]]
    assert steps == list(range(12))
    assert all(len(payload) < 5200 for payload in payloads)


async def test_an_envelope_of_many_small_events_is_a_long_msgpack_array(any_bus: Bus, events: Events) -> None:
    async with foreign(any_bus.settings, any_bus.names.live("runs")) as pubsub:
        await any_bus.publish("runs", events(40))
        [payload] = await pushed(pubsub, 1)
    assert [item["run"] for item in msgspec.msgpack.decode(payload)[1][1::2]] == [f"run-{n}" for n in range(40)]


async def test_partitions_count_by_themselves(connect: Connect, events: Events) -> None:
    bus = await connect(partitions=2)
    await bus.publish("requests", events(2), partition=0)
    receipt = await bus.publish("requests", events(1), partition=1)
    assert receipt.positions[0].number == 1
    assert [await bus.length("requests", partition) for partition in (0, 1)] == [2, 1]
