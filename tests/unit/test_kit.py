"""The test kit: its docstring works, its fixtures keep tests apart, its sources follow the script."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterable
from contextlib import suppress
from typing import TypeVar

import fakeredis
import pytest
from fakeredis.commands_mixins.streams_mixin import StreamsCommandsMixin

from headrace import testing
from headrace.bus import Bus
from headrace.bus.connection import connect_async, connect_sync
from headrace.codec import decode
from headrace.errors import UnavailableError
from headrace.events import RunAlive, RunStarted
from headrace.settings import Settings
from headrace.testing import CRASH, END, PAUSE, Crash, Source, collect, wait_until, wait_until_sync

T = TypeVar("T")

ONE, TWO, THREE = (RunAlive(run=run) for run in ("one", "two", "three"))


def test_the_kit_costs_a_test_run_next_to_nothing() -> None:
    code = "import pytest, sys; before = set(sys.modules); import headrace.testing; print(*set(sys.modules) - before)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30).stdout
    assert set(loaded.split()) <= {"headrace", "headrace.testing"} | set(sys.stdlib_module_names)


async def test_the_example_of_the_docstring(headrace_bus: Bus) -> None:
    lines = (testing.__doc__ or "").splitlines()
    begin = next(at for at, line in enumerate(lines) if line.startswith("    from headrace.events"))
    end = next(at for at, line in enumerate(lines) if at > begin and line and not line.startswith("    "))
    scope: dict[str, object] = {}
    exec("\n".join(line[4:] for line in lines[begin:end]), scope)
    await scope["test_a_run_is_announced"](headrace_bus)  # type: ignore[operator]
    assert await headrace_bus.length("runs") == 1


prefixes: list[str] = []


@pytest.mark.parametrize("again", [1, 2])
async def test_each_test_has_a_server_and_a_prefix_of_its_own(
    headrace_bus: Bus, headrace_settings: Settings, again: int
) -> None:
    assert headrace_settings.prefix not in prefixes
    prefixes.append(headrace_settings.prefix)
    assert await headrace_bus._client.dbsize() == 0
    await headrace_bus.publish("runs", [ONE])


async def test_whatever_connects_with_the_settings_meets_on_one_server(
    headrace_bus: Bus, headrace_settings: Settings
) -> None:
    blocking = connect_sync(headrace_settings)
    asking = connect_async(headrace_settings)
    await headrace_bus._client.set("key", b"value", ex=60)
    assert blocking.get("key") == await asking.get("key") == b"value"


def test_the_kit_works_without_an_asyncio_plugin(headrace_bus: Bus) -> None:
    async def main() -> int:
        receipt = await headrace_bus.publish("runs", [ONE])
        return receipt.positions[0].number

    assert asyncio.run(main()) == 1


async def test_a_server_can_go_away_and_come_back(headrace_fake: fakeredis.FakeServer, headrace_bus: Bus) -> None:
    headrace_fake.connected = False
    with pytest.raises(UnavailableError):
        await headrace_bus.check()
    headrace_fake.connected = True
    await headrace_bus.check()


def test_real_addresses_stay_real(headrace_fake: fakeredis.FakeServer) -> None:
    assert type(connect_sync(Settings(redis_url="redis://127.0.0.1:1"))).__module__.startswith("redis")


async def test_a_blocking_read_waits_as_on_a_server(headrace_bus: Bus) -> None:
    """Guards the repair: without it the read returns at once."""
    client = headrace_bus._client
    await client.xgroup_create("log", "group", mkstream=True)
    started = time.monotonic()
    assert not await client.xreadgroup("group", "me", {"log": ">"}, count=1, block=50)
    assert time.monotonic() - started >= 0.045
    reading = asyncio.create_task(client.xreadgroup("group", "me", {"log": ">"}, block=5_000))
    await asyncio.sleep(0)
    await client.xadd("log", {"e": b"x"})
    assert await reading
    await client.delete("log")


async def test_fakeredis_still_needs_the_repair(
    headrace_bus: Bus, headrace_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When this fails, fakeredis is repaired: remove `mend_fakeredis`, its pin, and this test."""
    original = StreamsCommandsMixin._xreadgroup.__wrapped__  # type: ignore[attr-defined]
    monkeypatch.setattr(StreamsCommandsMixin, "_xreadgroup", original)
    client = headrace_bus._client
    await client.xgroup_create("log", "group", mkstream=True)
    started = time.monotonic()
    await client.xreadgroup("group", "me", {"log": ">"}, count=1, block=200)
    ended_at_once = time.monotonic() - started < 0.1
    await client.xadd("log", {"e": b"x"})
    lost_an_entry = not await client.xreadgroup("group", "me", {"log": ">"}, block=20)
    await client.delete("log")
    assert (ended_at_once, lost_an_entry) == (True, True)


async def test_collect_waits_for_what_is_on_its_way(headrace_bus: Bus) -> None:
    collecting = asyncio.create_task(collect(headrace_bus, "runs", 2))
    await headrace_bus.publish("runs", [ONE])
    await headrace_bus.publish("runs", [TWO, THREE])
    assert await collecting == [ONE, TWO]


async def test_collect_says_what_is_missing(headrace_bus: Bus) -> None:
    await headrace_bus.publish("runs", [ONE])
    with pytest.raises(AssertionError, match="in vain for 2 events on 'runs', which has 1"):
        await collect(headrace_bus, "runs", 2, timeout_s=0.02)


async def test_waiting_returns_the_first_true_value() -> None:
    values = iter([0, None, "", "there"])
    assert await wait_until(lambda: next(values)) == "there"
    values = iter([0, None, "", "there"])
    assert wait_until_sync(lambda: next(values)) == "there"


async def test_waiting_asks_coroutines_too() -> None:
    values = iter([False, True])

    async def ready() -> bool:
        return next(values)

    assert await wait_until(ready) is True


async def test_waiting_in_vain_says_for_what_and_how_far_it_was() -> None:
    with pytest.raises(AssertionError, match=r"waited 0\.01 s in vain for the tide; last value: 0"):
        await wait_until(lambda: 0, 0.01, "the tide")
    with pytest.raises(AssertionError, match=r"waited 0\.01 s in vain for the tide; last value: \[\]"):
        wait_until_sync(list, 0.01, lambda: "the tide")


async def test_waiting_passes_errors_on() -> None:
    with pytest.raises(ZeroDivisionError):
        await wait_until(lambda: 1 / 0)


async def played(source: AsyncIterable[T]) -> tuple[list[T], bool]:
    """What a reader got, and whether it crashed."""
    seen: list[T] = []
    try:
        async for item in source:
            seen.append(item)  # noqa: PERF401
    except Crash:
        return seen, True
    return seen, False


def test_a_source_plays_its_script_and_the_next_reader_goes_on_behind_a_crash() -> None:
    source = Source(ONE, CRASH, TWO, END, THREE)
    with pytest.raises(Crash):
        list(source)
    assert list(source) == [TWO]
    assert not source.done
    assert list(source) == [THREE]
    assert source.done
    assert list(source) == []


async def test_a_source_can_be_read_by_coroutines() -> None:
    source = Source(ONE, PAUSE(0.02), TWO, CRASH, b"raw")
    started = time.monotonic()
    seen, crashed = await played(source)
    assert (seen, crashed) == ([ONE, TWO], True)
    assert time.monotonic() - started >= 0.018
    assert await played(source) == ([b"raw"], False)


def test_a_crash_is_no_error_that_a_program_may_handle() -> None:
    def program() -> None:
        with suppress(Exception):
            list(Source(CRASH))

    with pytest.raises(Crash):
        program()


async def test_a_source_drives_a_publisher(headrace_bus: Bus) -> None:
    source = Source(ONE, TWO, CRASH, THREE)
    for _ in range(2):
        try:
            async for event in source:
                await headrace_bus.publish("runs", [event])
        except Crash:
            continue
    assert await collect(headrace_bus, "runs", 3) == [ONE, TWO, THREE]


async def test_a_source_stands_in_for_a_consumer() -> None:
    source = Source(ONE, TWO, THREE, PAUSE(0.0), ONE, CRASH, TWO)
    batches, crashed = await played(source.batches(2))
    assert crashed
    batches += [batch async for batch in source.batches(2)]
    assert [[decode(payload) for payload in batch.payloads] for batch in batches] == [[ONE, TWO], [THREE], [ONE], [TWO]]
    assert [entry.position.number for batch in batches for entry in batch.entries] == [1, 2, 3, 4, 5]
    assert len({batch.consumer for batch in batches}) == 4
    assert [batch async for batch in source.batches()] == []


async def test_the_publisher_of_a_program_reaches_the_fake_server(
    headrace_settings: Settings, headrace_bus: Bus
) -> None:
    from headrace.publisher import Publisher

    def program() -> None:
        with Publisher(settings=headrace_settings) as publisher:
            publisher.publish("runs", RunStarted(run="r1"))

    await asyncio.to_thread(program)
    [event] = await collect(headrace_bus, "runs", 1)
    assert isinstance(event, RunStarted)
    assert event.run == "r1"
