"""A deleted group costs no request and gives none two outcomes, at whatever moment it goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.bus import Bus, GroupState
from headrace.channels import REQUESTS, RESULTS, SCORERS
from headrace.events import PredictionRequested, PredictionScored
from headrace.outcomes import decided
from headrace.positions import START, Position

if TYPE_CHECKING:
    from tests.contract.conftest import Connect, Events


class Deleting:
    """Answers which groups there are, and then has them deleted."""

    def __init__(self, bus: Bus, answer: Any) -> None:
        self._bus, self._answer = bus, answer
        self.armed = True

    async def __call__(self, channel: str, partition: int = 0) -> list[GroupState]:
        found: list[GroupState] = await self._answer(channel, partition)
        if self.armed and found:
            self.armed = False
            await self._bus.remove_group(channel, partition, found[0].name)
        return found


async def test_a_group_deleted_while_a_worker_looks_for_it_is_made_again_from_what_is_decided(
    any_bus: Bus, connect: Connect, events: Events, monkeypatch: Any
) -> None:
    asked: list[int] = []

    async def known(bus: Bus, partition: int, group: str) -> tuple[Position, list[Position]]:
        asked.append(partition)
        return newest, []

    await any_bus.publish("work", events(3))
    async with any_bus.consume("work", "g", worker="a", decided=decided) as first:
        batch = await first.next()
        assert batch is not None
        await first.finish(first.commit(batch))
    _, newest = await any_bus.last("work")
    assert newest != START

    other = await connect()
    monkeypatch.setattr(other, "groups", Deleting(any_bus, other.groups))
    async with other.consume("work", "g", worker="b", decided=known) as second:
        assert [found.ids async for found in second.batches(wait=False)] == []
    assert asked == [0]


async def test_what_was_decided_by_a_group_that_came_and_went_meanwhile_is_not_done_again(
    any_bus: Bus, connect: Connect
) -> None:
    """Found by chaos: one worker was still reading when another had made the group, and it was deleted once more."""
    asked = 0

    async def slowly(bus: Bus, partition: int, group: str) -> tuple[Position, list[Position]]:
        nonlocal asked
        asked += 1
        found = await decided(bus, partition, group)
        if asked == 1:
            async with any_bus.consume(REQUESTS, SCORERS, worker="b", decided=decided) as other:
                batch = await other.next()
                assert batch is not None
                work, spelled = other.commit(batch), b" ".join(batch.ids).decode()
                work.append(RESULTS, [PredictionScored(model="m", version=1, positions=spelled, ids=["q1", "q2"])])
                await other.finish(work)
            await any_bus.remove_group(REQUESTS, 0, SCORERS)
        return found

    await any_bus.publish(REQUESTS, [PredictionRequested(id=f"q{n}", model="m", inputs=[[1.0]]) for n in (1, 2)])
    slow = await connect()
    async with slow.consume(REQUESTS, SCORERS, worker="a", decided=slowly) as consumer:
        assert [batch.ids async for batch in consumer.batches(wait=False)] == []
    assert asked == 2


async def test_the_first_request_of_all_is_not_taken_for_decided_when_its_group_is_made_again(any_bus: Bus) -> None:
    """Found by a random walk: the second was decided, the first not, and the group was deleted."""
    requests = [PredictionRequested(id=f"q{n}", model="m", inputs=[[1.0]]) for n in (1, 2)]
    await any_bus.publish(REQUESTS, requests)
    async with any_bus.consume(REQUESTS, SCORERS, worker="a", decided=decided) as first:
        batch = await first.next()
        assert batch is not None
        work = first.commit(batch)
        work.retry(batch.ids[0], "not now")
        work.append(RESULTS, [PredictionScored(model="m", version=1, positions=batch.ids[1].decode(), ids=["q2"])])
        await first.finish(work)
    await any_bus.remove_group(REQUESTS, 0, SCORERS)
    assert await decided(any_bus, 0, SCORERS) == (START, [Position.parse(batch.ids[1])])
    async with any_bus.consume(REQUESTS, SCORERS, worker="b", decided=decided) as second:
        again = await second.next()
        assert again is not None
        assert again.ids == batch.ids[:1]
