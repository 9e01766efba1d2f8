"""A batch of which only a part is left is proven entry by entry: its consumer name may hold more than that part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.bus import Batch, Bus, Consumer, Decision, Left
from headrace.channels import Names
from headrace.codec import decode

if TYPE_CHECKING:
    from tests.contract.conftest import Connect, Cut, Events


def decide(consumer: Consumer, batch: Batch) -> Decision:
    """A decision whose outcomes are the entries themselves, on the channel `out`."""
    work = consumer.commit(batch)
    work.append("out", list(batch.payloads))
    return work


async def outcomes(bus: Bus) -> list[str]:
    return [decode(entry.payload).run for entry in await bus.read("out")]  # type: ignore[union-attr]


async def comes_back(bus: Bus, batch: Batch, position: bytes) -> None:
    """What a power cut does: an entry that was taken over is pending under its old name again."""
    log = Names(bus.settings.prefix).log("work")
    client: Any = bus._client
    await client.xclaim(log, "g", batch.consumer, 0, [position], force=True, justid=True)


async def test_a_part_is_decided_once_though_a_power_cut_gave_its_name_the_rest_again(
    any_bus: Bus, cut: Cut, connect: Connect, events: Events
) -> None:
    """The way there that the search in tests/model found: a theft, a power cut, a lost reply."""
    await any_bus.publish("work", events(2))
    cutting = cut()
    async with cutting.consume("work", "g", worker="a") as slow:
        batch = await slow.next()
        assert batch is not None
        assert len(batch) == 2
        other = await connect(claim_ms=1, consume_entries=1)
        async with other.consume("work", "g", worker="b") as thief:
            stolen = await thief.next()
            assert stolen is not None
            assert stolen.ids == batch.ids[:1]
            await thief.finish(decide(thief, stolen))
            left = await slow.finish(decide(slow, batch))
            assert isinstance(left, Left)
            part = batch.part({str(position).encode() for position in left.positions})
            assert part.ids == batch.ids[1:]

            await comes_back(any_bus, batch, batch.ids[0])
            cutting._client.cut.add("EVALSHA")
            await slow.finish(decide(slow, part), lambda again: decide(slow, again))
    assert await outcomes(any_bus) == ["run-0", "run-1"]
