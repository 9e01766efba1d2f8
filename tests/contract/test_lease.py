"""lease: one holder at a time; commits under a lease are in test_commit."""

from __future__ import annotations

from headrace.bus import Bus
from headrace.testing import wait_until


async def test_one_holder_at_a_time(any_bus: Bus) -> None:
    assert await any_bus.lease("leader", "a", 60_000)
    assert not await any_bus.lease("leader", "b", 60_000)
    assert await any_bus.lease("leader", "a", 60_000)
    assert await any_bus.lease("another", "b", 60_000)


async def test_only_the_holder_can_give_it_up(any_bus: Bus) -> None:
    await any_bus.lease("leader", "a", 60_000)
    await any_bus.release("leader", "b")
    assert not await any_bus.lease("leader", "b", 60_000)
    await any_bus.release("leader", "a")
    assert await any_bus.lease("leader", "b", 60_000)
    await any_bus.release("never-taken", "a")


async def test_who_does_not_renew_loses_it(any_bus: Bus) -> None:
    await any_bus.lease("leader", "a", 30)
    await wait_until(lambda: any_bus.lease("leader", "b", 60_000), description="the lease to run out")
    assert not await any_bus.lease("leader", "a", 60_000)


async def test_renewing_keeps_it(any_bus: Bus) -> None:
    await any_bus.lease("leader", "a", 5)
    assert await any_bus.lease("leader", "a", 60_000)
    assert await any_bus._client.pttl(any_bus.names.lease("leader")) > 50_000


async def test_partitions_have_leases_of_their_own(any_bus: Bus) -> None:
    assert await any_bus.lease("leader", "a", 60_000, partition=0)
    assert await any_bus.lease("leader", "b", 60_000, partition=1)
