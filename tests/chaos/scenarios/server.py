"""A server that dies, forgets, fills up, stands still, or has its group deleted; each fault must have taken effect."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import signal
from contextlib import suppress

from headrace.bus import Bus, Replaced
from headrace.channels import REQUESTS, SCORERS
from headrace.errors import BusError
from headrace.settings import Settings
from tests.chaos.scenario import scenario
from tests.chaos.stage import Outcome, Size, Stage

BOUND = 2_000
"""Depth limit of the channel that is at its bound."""
ROOM_BYTES = 1 << 30


@scenario("server: SIGKILL, AOF everysec", deep=True)
async def server_killed(stage: Stage, size: Size) -> Outcome:
    load, _ = await stage.begin(size)

    async def kill(_: int) -> None:
        await asyncio.to_thread(stage.server.kill)
        await asyncio.to_thread(stage.server.restart)

    await stage.repeat(size.faults, kill)
    return await stage.settle(load)


scenario("server: SIGKILL, AOF always", fsync="always")(server_killed)


@scenario("server: power cut, end of the AOF gone")
async def power_cut(stage: Stage, size: Size) -> Outcome:
    load, _ = await stage.begin(size)
    await stage.repeat(size.faults, lambda _: asyncio.to_thread(_cut_power, stage), 0.3, 0.8)
    return await stage.settle(load)


@scenario("server: started again with nothing", share=0.4)
async def emptied(stage: Stage, size: Size) -> Outcome:
    load, _ = await stage.begin(size)
    told: list[object] = []
    listening = asyncio.create_task(_notices(stage.settings, told))
    await asyncio.sleep(0.3)
    for turn in range(1, size.faults + 1):
        await stage.pause(0.3, 0.8)
        await asyncio.to_thread(_lose_everything, stage)
        stage.outcome.faults += 1
        await stage.until(lambda: stage.above(0), "requests to be decided again")
        await stage.until(lambda turn=turn: _said(told, turn), "subscribers to be told of the new log")  # type: ignore[misc]
    listening.cancel()
    told_by_load = await load.finish()
    found = await stage.balance(told_by_load["accepted"], told_by_load["lost"], exact=False)
    found.accepted = (await stage.books()).published
    return found


@scenario("server: memory full, then free again", share=0.6)
async def memory_full(stage: Stage, size: Size) -> Outcome:
    load, _ = await stage.begin(size)

    async def fill(_: int) -> None:
        before = _refused(stage)
        used = int(stage.admin("INFO", "memory")["used_memory"])
        stage.admin("CONFIG", "SET", "maxmemory", max(1, used - 1_000_000))
        await stage.until(lambda: _more_refused(stage, before), "the server to refuse for want of memory")
        await stage.until(stage.all_decided, "everything accepted to be decided on the full server")
        stage.admin("CONFIG", "SET", "maxmemory", ROOM_BYTES)

    await stage.repeat(size.faults, fill)
    return await stage.settle(load)


@scenario("server: disk full, then free again", deep=True, share=0.4)
async def disk_full(stage: Stage, size: Size) -> Outcome:
    load, _ = await stage.begin(size)

    async def fill(_: int) -> None:
        largest = max(path.stat().st_size for path in stage.server.data_dir.rglob("*") if path.is_file())
        _, hard = resource.prlimit(stage.server.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(stage.server.pid, resource.RLIMIT_FSIZE, (largest + 1, hard))
        await stage.until(lambda: _cannot_write(stage), "the server to find its disk full")
        if stage.server.poll() is None:
            resource.prlimit(stage.server.pid, resource.RLIMIT_FSIZE, (hard, hard))
        else:  # a server that cannot write its log may end; it is started again when there is room
            await asyncio.to_thread(stage.server.restart)

    await stage.repeat(size.faults, fill)
    return await stage.settle(load)


@scenario("server: scripts flushed", deep=True)
async def scripts_flushed(stage: Stage, size: Size) -> Outcome:
    load, _ = await stage.begin(size)
    await stage.repeat(size.faults, lambda _: asyncio.to_thread(stage.admin, "SCRIPT", "FLUSH"), 0.05, 0.2)
    return await stage.settle(load)


@scenario("server: stands still for a second", deep=True, share=0.6)
async def server_stalled(stage: Stage, size: Size) -> Outcome:
    load, _ = await stage.begin(size)

    async def stall(_: int) -> None:
        os.kill(stage.server.pid, signal.SIGSTOP)
        await asyncio.sleep(1.0)
        os.kill(stage.server.pid, signal.SIGCONT)

    await stage.repeat(size.faults, stall)
    return await stage.settle(load)


@scenario("group deleted under running workers")
async def group_deleted(stage: Stage, size: Size) -> Outcome:
    load, _ = await stage.begin(size)
    await stage.repeat(size.faults, lambda _: stage.bus.remove_group(REQUESTS, 0, SCORERS))
    return await stage.settle(load)


@scenario("channel at its bound, publishers faster than scorers", depth_limit=BOUND, share=0.4)
async def at_its_bound(stage: Stage, size: Size) -> Outcome:
    load, [worker] = await stage.begin(size, scorers=1)
    deepest = 0

    async def full() -> bool:
        nonlocal deepest
        with suppress(BusError):
            deepest = max(deepest, *(group.lag + group.in_flight for group in await stage.bus.groups(REQUESTS)))
        return deepest >= BOUND and load.told["waiting"] > 0

    async def stop(_: int) -> None:
        worker.send_signal(signal.SIGSTOP)
        await stage.until(full, "the channel to be full and its publisher to wait")
        await asyncio.sleep(0.5)
        worker.send_signal(signal.SIGCONT)

    await stage.repeat(size.faults, stop)
    found = await stage.settle(load)
    if deepest > BOUND:
        found.notes.append(f"{deepest} entries waited, more than the bound of {BOUND}")
    return found


def _cut_power(stage: Stage) -> None:
    """Kill the server and take the end of its log away, as a disk does that had not written it."""
    stage.server.kill()
    # There are two while the log is being rewritten.
    log = max(stage.data.rglob("*.incr.aof"), key=lambda path: int(path.name.split(".")[-3]))
    size = log.stat().st_size
    os.truncate(log, max(0, size - stage.draw.randrange(1_000, 150_000)))
    stage.server.restart()


def _lose_everything(stage: Stage) -> None:
    stage.server.kill()
    for path in stage.data.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.suffix in (".aof", ".rdb"):
            path.unlink()
    stage.server.restart()


def _refused(stage: Stage) -> int:
    """How often the server refused to write for want of memory."""
    found = stage.admin("INFO", "errorstats").get("errorstat_OOM", {"count": 0})
    return int(found["count"])


async def _more_refused(stage: Stage, before: int) -> bool:
    return _refused(stage) > before


async def _cannot_write(stage: Stage) -> bool:
    """Whether the server noticed that its log cannot grow, or ended of it."""
    if stage.server.poll() is not None:
        return True
    with suppress(Exception):  # a server that is about to end
        return bool(stage.admin("INFO", "persistence")["aof_last_write_status"] == "err")
    return False


async def _notices(settings: Settings, told: list[object]) -> None:
    async with Bus(settings) as bus, bus.subscribe(REQUESTS) as subscription:
        async for delivery in subscription:
            told += [delivery.notice] if isinstance(delivery.notice, Replaced) else []


async def _said(told: list[object], count: int) -> bool:
    return len(told) >= count
