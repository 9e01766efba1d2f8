"""Dead letters: requeued once however often it is asked for, discarded without touching a log, and all of it told."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from headrace.bus import Bus, Commit
from headrace.channels import ACTIONS, DEAD, REQUESTS
from headrace.codec import decode, encode
from headrace.errors import FullError, LeaseLostError, UnavailableError
from headrace.events import ActionTaken, EntryDead, Event, PredictionRequested
from headrace.letters import Filter, actions, fetch, letters, matching
from headrace.orders import discard, requeue
from headrace.positions import Handle, Position
from headrace.testing import wait_until

if TYPE_CHECKING:
    from tests.contract.conftest import Connect, Cut

NOW = 1_763_800_000.0


def request(number: int = 1, **fields: Any) -> PredictionRequested:
    return PredictionRequested(id=f"q{number}", model="digits", inputs=[[1.0]], reply_to="me", **fields)


async def died(bus: Bus, *events: Event, reason: str = "row 0 holds nan", partition: int = 0) -> list[Handle]:
    """Requests that became dead letters, by way of a consumer."""
    await bus.publish(REQUESTS, events, partition=partition)
    async with bus.consume(REQUESTS, "scorers", worker="w1", partition=partition) as consumer:
        done = 0
        while done < len(events):
            batch = await wait_until(consumer.next, description="a batch")
            work = consumer.commit(batch)
            for spelled in list(batch.ids):
                work.dead(spelled, reason)
            await consumer.finish(work)
            done += len(batch)
    entries = await bus.read(DEAD, partition)
    return [Handle(partition, entry.position) for entry in entries[-len(events) :]]


async def requests(bus: Bus, partition: int = 0) -> list[bytes]:
    return [entry.payload for entry in await bus.read(REQUESTS, partition)]


async def told(bus: Bus) -> list[ActionTaken]:
    return [event for entry in await bus.read(ACTIONS) if isinstance(event := decode(entry.payload), ActionTaken)]


async def test_a_requeued_letter_is_its_own_bytes_again_and_its_group_gets_them(any_bus: Bus) -> None:
    places = await died(any_bus, request(1), request(2))
    found, refused = await fetch(any_bus, places[:1])
    tally = await requeue(any_bus, found, actor="local", now=NOW)
    assert (tally.done, tally.already, tally.refused, refused) == (1, 0, {}, {})
    assert await requests(any_bus) == [encode(request(1)), encode(request(2)), encode(request(1))]
    async with any_bus.consume(REQUESTS, "scorers", worker="w2") as consumer:
        batch = await wait_until(consumer.next, description="the requeued entry")
    assert batch.payloads == [encode(request(1))]
    [action] = await told(any_bus)
    assert (action.action, action.actor, action.count, action.time) == ("requeue", "local", 1, NOW)
    assert str(places[0]) in action.text


async def test_requeued_twice_it_is_there_once(any_bus: Bus) -> None:
    places = await died(any_bus, request())
    stale, _ = await fetch(any_bus, places)
    for _ in range(2):
        await requeue(any_bus, stale, actor="local", now=NOW)
    assert len(await requests(any_bus)) == 2
    assert len(await told(any_bus)) == 1
    again = await requeue(any_bus, stale, actor="local", now=NOW)
    assert (again.done, again.already) == (0, 1)


async def test_of_two_operators_at_the_same_moment_one_wins(any_bus: Bus, connect: Connect) -> None:
    places = await died(any_bus, *[request(n) for n in range(5)])
    chosen, _ = await fetch(any_bus, places)
    other = await connect()
    tallies = await asyncio.gather(
        requeue(any_bus, chosen, actor="a", now=NOW),
        discard(other, chosen, actor="b", now=NOW),
        requeue(other, chosen, actor="c", now=NOW),
    )
    assert sorted(tally.done for tally in tallies) == [0, 0, 5]
    [action] = await told(any_bus)
    assert len(await requests(any_bus)) == (10 if action.action == "requeue" else 5)


@pytest.mark.parametrize("lost", [["EVALSHA"], ["EVALSHA", "EVAL"], ["HGETALL"], ["XRANGE"]])
async def test_a_lost_reply_doubles_nothing(any_bus: Bus, cut: Cut, lost: list[str]) -> None:
    chosen, _ = await fetch(any_bus, await died(any_bus, request()))
    bus = cut()
    await bus.lease("warm", "up", 10)
    bus._client.cut.update(lost)
    tally = await requeue(bus, chosen, actor="local", now=NOW)
    assert (tally.done, tally.already) == (1, 0)
    assert len(await requests(any_bus)) == 2
    assert len(await told(any_bus)) == 1


async def test_a_crash_in_the_middle_leaves_all_or_nothing(any_bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever dies before the commit has done nothing; whoever dies after it has done everything."""
    places = await died(any_bus, request())
    chosen, _ = await fetch(any_bus, places)
    commit = Bus.commit

    async def dies_before(bus: Bus, work: Commit) -> Any:
        raise asyncio.CancelledError

    async def dies_after(bus: Bus, work: Commit) -> Any:
        await commit(bus, work)
        raise asyncio.CancelledError

    for death, expected in ((dies_before, 1), (dies_after, 2), (commit, 2)):
        monkeypatch.setattr(Bus, "commit", death)
        try:
            await requeue(any_bus, chosen, actor="local", now=NOW)
        except asyncio.CancelledError:
            assert death is not commit
        assert len(await requests(any_bus)) == expected
        assert (await letters(any_bus)).waiting == 2 - expected


async def test_a_call_that_was_on_its_way_too_long_writes_nothing(
    any_bus: Bus, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen, _ = await fetch(any_bus, await died(any_bus, request()))
    other, commit = await connect(), Bus.commit

    async def late(bus: Bus, work: Commit) -> Any:
        monkeypatch.setattr(Bus, "commit", commit)
        await bus.release("letters", work._lease[1] if work._lease else "")
        await discard(other, chosen, actor="quick", now=NOW)
        return await commit(bus, work)

    monkeypatch.setattr(Bus, "commit", late)
    tally = await requeue(any_bus, chosen, actor="slow", now=NOW)
    assert (tally.done, tally.already) == (0, 1)
    assert len(await requests(any_bus)) == 1
    assert [action.actor for action in await told(any_bus)] == ["quick"]


async def test_another_one_who_acts_is_waited_for_but_not_for_ever(
    any_bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headrace.orders.PATIENCE_S", 0.01)
    chosen, _ = await fetch(any_bus, await died(any_bus, request()))
    await any_bus.lease("letters", "somebody", 5_000)
    with pytest.raises(LeaseLostError):
        await requeue(any_bus, chosen, actor="local", now=NOW)
    await any_bus.release("letters", "somebody")
    assert (await requeue(any_bus, chosen, actor="local", now=NOW)).done == 1


async def test_a_discarded_letter_is_published_nowhere(any_bus: Bus) -> None:
    places = await died(any_bus, request(1), request(2))
    chosen, _ = await fetch(any_bus, places[:1])
    assert (await discard(any_bus, chosen, actor="local", now=NOW)).done == 1
    assert len(await requests(any_bus)) == 2
    assert await any_bus.length(DEAD) == 2
    listing = await letters(any_bus)
    assert [letter.place for letter in listing.letters] == places[1:]
    assert (listing.waiting, listing.done) == (1, 1)
    everything = await letters(any_bus, done=True)
    [_, marked] = everything.letters
    assert marked.mark is not None
    assert (marked.mark.action, marked.mark.time, marked.mark.actor) == ("discard", NOW, "local")


async def test_all_of_a_filter_but_nothing_newer_than_what_was_confirmed(any_bus: Bus) -> None:
    await died(any_bus, request(1), reason="row 0 holds nan")
    confirmed = await died(any_bus, request(2), reason="row 17 holds inf")
    await died(any_bus, request(3), reason="unknown model 'x'")
    await died(any_bus, request(4), reason="row 0 holds nan")
    wanted = Filter(channel=REQUESTS, group="scorers", text="ROW", newest=confirmed[0])
    chosen = await matching(any_bus, wanted)
    assert [letter.event.payload for letter in chosen] == [encode(request(1)), encode(request(2))]
    await requeue(any_bus, chosen, actor="local", now=NOW)
    assert (await requests(any_bus))[4:] == [encode(request(1)), encode(request(2))]
    assert not await matching(any_bus, wanted)
    assert not await matching(any_bus, Filter(channel="other"))


async def test_pages_go_back_through_all_partitions_without_a_gap(any_bus: Bus, connect: Connect) -> None:
    bus = await connect(partitions=3)
    for number in range(9):
        await died(bus, request(number), partition=number % 3)
    seen: list[str] = []
    before = None
    while True:
        listing = await letters(bus, before=before, limit=2)
        seen += [str(letter.place) for letter in listing.letters]
        before = listing.before
        if before is None:
            break
    assert len(seen) == len(set(seen)) == 9
    assert listing.complete
    stamps = [Handle.parse(place).position.ms for place in seen]
    assert stamps == sorted(stamps, reverse=True)
    chosen = await matching(bus, Filter())
    assert (await requeue(bus, chosen, actor="local", now=NOW)).done == 9
    assert [len(await requests(bus, partition)) for partition in range(3)] == [6, 6, 6]
    assert sum(action.count for _, action in await actions(bus)) == 9


async def test_a_bounded_look_back_says_how_far_it_went(any_bus: Bus) -> None:
    places = await died(any_bus, *[request(n) for n in range(6)])
    listing = await letters(any_bus, most=4)
    assert (listing.looked, listing.complete, listing.before) == (4, False, places[2])
    rest = await letters(any_bus, before=listing.before)
    assert [letter.place for letter in rest.letters] == places[1::-1]
    assert (rest.complete, rest.before) == (True, None)


async def test_what_cannot_be_published_again_is_refused_with_its_reason(any_bus: Bus, connect: Connect) -> None:
    bus = await connect(event_limit_bytes=200)
    letter = EntryDead(
        channel=REQUESTS, partition=0, position="1-1", group="g", reason="x", attempts=1, payload=b"{" * 200
    )
    astray = EntryDead(channel=REQUESTS, partition=2, position="1-1", group="g", reason="x", attempts=1, payload=b"{}")
    for event in (letter, astray):
        await any_bus.publish(DEAD, [event])
    chosen = await matching(bus, Filter())
    tally = await requeue(bus, chosen, actor="local", now=NOW)
    assert tally.done == 0
    assert ["cut at 200 bytes" in why or "partition 2" in why for why in tally.refused.values()] == [True, True]
    assert (await discard(bus, chosen, actor="local", now=NOW)).done == 2


async def test_a_full_channel_takes_nothing(any_bus: Bus, connect: Connect) -> None:
    await died(any_bus, request(1), request(2))
    await any_bus.publish(REQUESTS, [request(3)])
    bus = await connect(depth_limit=2)
    with pytest.raises(FullError):
        await requeue(bus, await matching(bus, Filter()), actor="local", now=NOW)
    assert (await letters(bus)).waiting == 2


async def test_letters_that_are_not_there_are_named(any_bus: Bus) -> None:
    missing = [Handle(0, Position(1, 1)), Handle(9, Position(1, 1))]
    found, refused = await fetch(any_bus, missing)
    assert found == []
    assert set(refused) == {"0-1-1", "9-1-1"}


async def test_marks_of_letters_that_retention_removed_are_dropped(any_bus: Bus) -> None:
    places = await died(any_bus, request(1), request(2))
    chosen, _ = await fetch(any_bus, places[:1])
    await discard(any_bus, chosen, actor="local", now=NOW)
    await any_bus._client.xtrim(any_bus.names.log(DEAD), minid=str(places[1].position), approximate=False)
    chosen, _ = await fetch(any_bus, places[1:])
    await discard(any_bus, chosen, actor="local", now=NOW)
    assert set(await any_bus.state("letters")) == {str(places[1].position)}


async def test_a_requeued_request_counts_as_published(any_bus: Bus) -> None:
    chosen, _ = await fetch(any_bus, await died(any_bus, request()))
    await requeue(any_bus, chosen, actor="local", now=NOW)
    now = int(time.time())
    counted = [(await any_bus.counters(0, second)).get("pub:requests", 0) for second in range(now - 30, now + 2)]
    assert sum(counted) == 2


async def test_without_a_server_it_says_so(any_bus: Bus, cut: Cut) -> None:
    chosen, _ = await fetch(any_bus, await died(any_bus, request()))
    bus = cut()

    async def refuse(*args: object, **options: object) -> object:
        raise UnavailableError("redis://nowhere", "refused")

    bus.lease = refuse  # type: ignore[method-assign, assignment]
    with pytest.raises(UnavailableError):
        await requeue(bus, chosen, actor="local", now=NOW)
