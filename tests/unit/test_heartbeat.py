"""A process that works says so, and nothing that befalls its heartbeat befalls the process."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator

import fakeredis
import pytest

from headrace.bus import Bus
from headrace.channels import WORKERS
from headrace.codec import decode
from headrace.events import WorkerAlive, WorkerStopped
from headrace.heartbeat import Heartbeat, Reading, Tally, alive, memory_bytes
from headrace.settings import Settings
from headrace.testing import wait_until


@pytest.fixture
def server() -> fakeredis.FakeServer:
    return fakeredis.FakeServer()


@pytest.fixture
async def bus(server: fakeredis.FakeServer) -> AsyncIterator[Bus]:
    async with Bus(Settings(), fakeredis.FakeAsyncRedis(server=server)) as bus:
        yield bus


async def said(bus: Bus) -> list[object]:
    return [decode(entry.payload) for entry in await bus.read(WORKERS)]


async def test_signs_of_life_carry_the_counts_and_the_last_is_a_farewell(bus: Bus) -> None:
    tally = Tally(events=10, batches=2, failed=1, models={"digits": 3}, live=5)
    async with Heartbeat(bus, "scorer", lambda: tally, worker="w", every_s=0.01):

        async def twice() -> bool:
            return len(await said(bus)) >= 2

        await wait_until(twice)
    *beats, farewell = await said(bus)
    first = beats[0]
    assert isinstance(first, WorkerAlive)
    assert (first.worker, first.kind, first.pid) == ("w", "scorer", os.getpid())
    assert (first.events, first.batches, first.failed, first.live) == (10, 2, 1, 5)
    assert first.models == {"digits": 3}
    assert first.memory_bytes > 1_000_000
    assert first.started > 0
    assert isinstance(farewell, WorkerStopped)
    assert (farewell.worker, farewell.kind) == ("w", "scorer")


async def test_a_server_that_is_away_is_waited_for_and_complained_of_once(
    bus: Bus, server: fakeredis.FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    calls = 0

    def read() -> Tally:
        nonlocal calls
        calls += 1
        return Tally()

    with caplog.at_level(logging.WARNING, "headrace.heartbeat"):
        server.connected = False
        async with Heartbeat(bus, "scorer", read, worker="w", every_s=0.01):
            await wait_until(lambda: calls > 3)
            server.connected = True

            async def back() -> bool:
                return bool(await said(bus))

            await wait_until(back)
    assert len(caplog.records) == 1


async def test_counts_that_cannot_be_read_do_not_reach_the_process(bus: Bus) -> None:
    calls = 0

    def broken() -> Tally:
        nonlocal calls
        calls += 1
        raise RuntimeError("no counts")

    async with Heartbeat(bus, "scorer", broken, every_s=0.001):
        await wait_until(lambda: calls > 3)
    assert [type(event) for event in await said(bus)] == [WorkerStopped]


async def test_the_end_does_not_wait_for_a_server_that_is_gone(bus: Bus, server: fakeredis.FakeServer) -> None:
    heart = Heartbeat(bus, "scorer", every_s=60)
    async with asyncio.timeout(5), heart:
        server.connected = False


async def test_it_leaves_one_fence_behind_however_long_it_beats(bus: Bus, server: fakeredis.FakeServer) -> None:
    async with Heartbeat(bus, "scorer", every_s=0.001):

        async def often() -> bool:
            return len(await said(bus)) > 5

        await wait_until(often)
    keys = await fakeredis.FakeAsyncRedis(server=server).keys("*:fence:*")
    assert len(keys) == 1


async def test_a_server_that_forgot_the_producer_hears_of_it_again(bus: Bus, server: fakeredis.FakeServer) -> None:
    async with Heartbeat(bus, "scorer", every_s=0.001):

        async def any_more_than(count: int) -> bool:
            return len(await said(bus)) > count

        await wait_until(lambda: any_more_than(3))
        await fakeredis.FakeAsyncRedis(server=server).flushall()
        await wait_until(lambda: any_more_than(3))


def test_shares_and_means_are_of_the_time_between_two_readings() -> None:
    tally = Tally(events=110, batches=14, busy_s=3.5)
    event = alive("w", "scorer", 1.0, tally, Reading(10.0, 10, 4, 3.0), Reading(12.0, 110, 14, 3.5))
    assert event.busy == 0.25
    assert event.batch_mean == 10.0


def test_no_batch_and_no_time_are_no_division_by_zero() -> None:
    same = Reading(10.0, 5, 1, 3.0)
    event = alive("w", "scorer", 1.0, Tally(events=5, batches=1), same, same)
    assert (event.busy, event.batch_mean) == (0.0, 0.0)


def test_busy_is_a_share() -> None:
    event = alive("w", "scorer", 1.0, Tally(), Reading(10.0, 0, 0, 0.0), Reading(11.0, 0, 0, 2.0))
    assert event.busy == 1.0


def test_memory_is_that_of_this_process() -> None:
    assert 5_000_000 < memory_bytes() < 100_000_000_000
