"""A worker that starts while its group is being deleted does nothing twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.bus import Bus, GroupState
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
