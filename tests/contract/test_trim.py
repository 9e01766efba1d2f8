"""trim: only what every group has committed goes, a log never becomes empty, and lags stay right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from headrace.bus import Bus
from headrace.settings import Settings
from headrace.testing import wait_until

if TYPE_CHECKING:
    from tests.contract.conftest import Connect, Events

FAR_MS = 4_000_000_000_000
ENOUGH_BYTES = 1 << 40


async def numbers(bus: Bus) -> list[int]:
    return [entry.position.number for entry in await bus.read("runs", count=10_000)]


async def tick(bus: Bus) -> None:
    """Wait until the server's clock shows another millisecond than the newest event."""
    _, newest = await bus.last("runs")

    async def passed() -> bool:
        seconds, microseconds = await bus._client.time()
        return bool(seconds * 1000 + microseconds // 1000 > newest.ms)

    await wait_until(passed)


async def fill(bus: Bus, events: Events, count: int) -> None:
    """Publish so many events, a hundred in each of as many milliseconds."""
    for at in range(0, count, 100):
        await bus.publish("runs", events(100, at))
        await tick(bus)


async def test_no_log_is_nothing_to_trim(any_bus: Bus) -> None:
    assert await any_bus.trim("runs", 0, before_ms=FAR_MS, keep_bytes=1) == 0


async def test_without_a_group_the_newest_entry_stays(any_bus: Bus, events: Events) -> None:
    await fill(any_bus, events, 500)
    removed = await any_bus.trim("runs", 0, before_ms=FAR_MS, keep_bytes=ENOUGH_BYTES)
    left = await numbers(any_bus)
    assert removed >= 400
    assert left == list(range(removed + 1, 501))


async def test_any_number_of_entries_goes_at_once(
    any_bus: Bus, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In turns, so that no single one holds up the server."""
    monkeypatch.setattr("headrace.bus.bus.TRIM_AT_ONCE", 400)
    await fill(any_bus, events, 1500)
    assert await any_bus.trim("runs", 0, before_ms=FAR_MS, keep_bytes=ENOUGH_BYTES) >= 1400


@pytest.mark.server
async def test_a_server_removes_more_than_it_would_unasked(server_settings: Settings, events: Events) -> None:
    async with Bus(server_settings) as bus:
        for at in range(0, 25_000, 5_000):
            await bus.publish("runs", events(5_000, at))
            await tick(bus)
        assert await bus.trim("runs", 0, before_ms=FAR_MS, keep_bytes=ENOUGH_BYTES) >= 19_900


async def test_what_a_group_has_not_read_stays(any_bus: Bus, events: Events) -> None:
    async with any_bus.consume("runs", "readers", worker="w"):
        await fill(any_bus, events, 300)
        assert await any_bus.trim("runs", 0, before_ms=FAR_MS, keep_bytes=1) == 0
    assert len(await numbers(any_bus)) == 300


async def test_what_a_group_holds_stays_and_lag_and_in_flight_stay_right(connect: Connect, events: Events) -> None:
    bus = await connect(consume_entries=110)
    await fill(bus, events, 500)
    async with bus.consume("runs", "readers", worker="w") as consumer:
        first, second, third = [await consumer.next() for _ in range(3)]
        assert first and second and third  # noqa: PT018
        await consumer.finish(consumer.commit(first))
        await consumer.finish(consumer.commit(third))
        removed = await bus.trim("runs", 0, before_ms=FAR_MS, keep_bytes=1)
        assert 0 < removed <= 110
        assert await numbers(bus) == list(range(removed + 1, 501))
        [group] = await bus.groups("runs")
        assert (group.lag, group.in_flight, group.oldest) == (170, 110, second.entries[0].position)
        await consumer.finish(consumer.commit(second))


async def test_the_slowest_group_decides(connect: Connect, events: Events) -> None:
    bus = await connect(consume_entries=120)
    await fill(bus, events, 400)
    async with bus.consume("runs", "fast", worker="w") as fast, bus.consume("runs", "slow", worker="w") as slow:
        while batch := await fast.next():
            await fast.finish(fast.commit(batch))
        batch = await slow.next()
        assert batch is not None
        await slow.finish(slow.commit(batch))
        removed = await bus.trim("runs", 0, before_ms=FAR_MS, keep_bytes=1)
        assert 0 < removed <= 120
        assert [group.lag for group in await bus.groups("runs")] == [0, 280]


async def test_after_everything_is_committed_and_trimmed_lags_and_numbers_go_on(any_bus: Bus, events: Events) -> None:
    async with any_bus.consume("runs", "readers", worker="w") as consumer:
        await fill(any_bus, events, 400)
        while batch := await consumer.next():
            await consumer.finish(consumer.commit(batch))
        assert await any_bus.trim("runs", 0, before_ms=FAR_MS, keep_bytes=1) > 0
        epoch, _ = await any_bus.last("runs")
        receipt = await any_bus.publish("runs", events(2))
        assert receipt.epoch == epoch
        assert [position.number for position in receipt.positions] == [401, 402]
        [group] = await any_bus.groups("runs")
        assert (group.lag, group.in_flight) == (2, 0)


async def test_young_entries_stay(any_bus: Bus, events: Events) -> None:
    await any_bus.publish("runs", events(250))
    await tick(any_bus)
    young = await any_bus.publish("runs", events(250, 250))
    removed = await any_bus.trim("runs", 0, before_ms=young.positions[0].ms, keep_bytes=ENOUGH_BYTES)
    assert 0 < removed <= 250
    assert await any_bus.trim("runs", 0, before_ms=0, keep_bytes=ENOUGH_BYTES) == 0


async def test_more_bytes_than_wanted_lets_the_oldest_go(server_settings: Settings, events: Events) -> None:
    async with Bus(server_settings) as bus:
        await fill(bus, events, 3000)
        before = await bus.memory("runs")
        assert before is not None
        removed = await bus.trim("runs", 0, before_ms=0, keep_bytes=before // 2)
        assert 1000 <= removed <= 1700
        assert await numbers(bus) == list(range(removed + 1, 3001))
        after = await bus.memory("runs")
        assert after is not None
        assert after < 0.7 * before


async def test_bytes_do_not_outweigh_a_group(server_settings: Settings, events: Events) -> None:
    async with Bus(server_settings) as bus, bus.consume("runs", "readers", worker="w"):
        await fill(bus, events, 500)
        assert await bus.trim("runs", 0, before_ms=FAR_MS, keep_bytes=1) == 0
