"""The faults. Each scenario inflicts its own, again and again at seeded moments, and balances the books afterwards."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import shutil
import signal
import subprocess
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headrace.bus import Bus, Replaced
from headrace.channels import FRAMES, MODELS, REQUESTS, RESULTS, SCORERS
from headrace.codec import decode
from headrace.errors import BusError
from headrace.events import Frame, ModelPromoted, PredictionScored
from headrace.models.registry import Registry
from headrace.outcomes import pages
from headrace.settings import Settings
from tests.chaos.proxy import Proxy
from tests.chaos.stage import CLAIM_MS, Outcome, Size, Stage

Run = Callable[[Stage, Size], Awaitable[Outcome]]

LEASE_WAIT_S = 8.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """A fault, and what it is inflicted on. `settings` are those of all processes."""

    name: str
    run: Run
    fsync: str = "everysec"
    settings: dict[str, Any] = field(default_factory=dict)
    share: float = 1.0
    """Its part of the faults of a run: some need seconds each."""


ALL: list[Scenario] = []


def scenario(name: str, *, fsync: str = "everysec", share: float = 1.0, **settings: Any) -> Callable[[Run], Run]:
    """Enter a scenario into the list."""

    def enter(run: Run) -> Run:
        ALL.append(Scenario(name, run, fsync, settings, share))
        return run

    return enter


# workers


@scenario("scorer: SIGKILL")
async def scorer_killed(stage: Stage, size: Size) -> Outcome:
    load, workers = await stage.begin(size)
    for _ in range(size.faults):
        await stage.pause()

        async def inflict() -> None:
            victim = workers.pop(0)
            victim.kill()
            await asyncio.to_thread(victim.wait)
            workers.append(stage.start("scorer"))

        await stage.fault(inflict)
    return await stage.settle(load)


@scenario("scorer: SIGTERM, drains")
async def scorer_ended(stage: Stage, size: Size) -> Outcome:
    load, workers = await stage.begin(size)
    for _ in range(size.faults):
        await stage.pause()

        async def inflict() -> None:
            workers.append(stage.start("scorer"))
            await stage.end_well(workers.pop(0))

        await stage.fault(inflict)
    return await stage.settle(load)


@scenario("scorer: SIGSTOP, robbed, SIGCONT")
async def scorer_stopped(stage: Stage, size: Size) -> Outcome:
    load, workers = await stage.begin(size)
    for turn in range(size.faults):
        await stage.pause()
        victim = workers[turn % len(workers)]

        async def inflict(victim: subprocess.Popen[bytes] = victim) -> None:
            victim.send_signal(signal.SIGSTOP)
            await asyncio.sleep(2.5 * CLAIM_MS / 1000)
            victim.send_signal(signal.SIGCONT)

        await stage.fault(inflict)
    return await stage.settle(load)


@scenario("aggregator: SIGKILL", share=0.4)
async def aggregator_killed(stage: Stage, size: Size) -> Outcome:
    load, _ = await stage.begin(size)
    leader = stage.start("aggregator")
    await stage.until(lambda: _newer_frame(stage, 0), "the first frame")
    for _ in range(size.faults):
        await stage.pause()
        number = await _frame_number(stage)

        async def inflict() -> None:
            nonlocal leader
            leader.kill()
            await asyncio.to_thread(leader.wait)
            leader = stage.start("aggregator")

        await stage.fault(inflict)
        await stage.until(lambda number=number: _newer_frame(stage, number), "frames again")  # type: ignore[misc]
    return await stage.settle(load)


@scenario("aggregator: SIGSTOP, loses its lease, SIGCONT", share=0.2)
async def aggregator_stalled(stage: Stage, size: Size) -> Outcome:
    load, _ = await stage.begin(size)
    team = [stage.start("aggregator"), stage.start("aggregator")]
    await stage.until(lambda: _newer_frame(stage, 0), "the first frame")
    for _ in range(size.faults):
        await stage.pause()
        leader = await _leader(stage)
        stalled = next((one for one in team if f"-{one.pid}-" in leader), None)
        if stalled is None:
            stage.outcome.notes.append(f"nobody is the leader {leader!r}")
            break

        async def inflict(stalled: subprocess.Popen[bytes] = stalled, leader: str = leader) -> None:
            stalled.send_signal(signal.SIGSTOP)
            await stage.until(lambda: _led_by_another(stage, leader), "another leader")
            stalled.send_signal(signal.SIGCONT)

        await stage.fault(inflict)
    found = await stage.settle(load)
    found.notes += await _leaders_that_came_back(stage)
    return found


@scenario("publisher: SIGKILL in mid-batch")
async def publisher_killed(stage: Stage, size: Size) -> Outcome:
    load, _ = await stage.begin(size)
    accepted = 0
    part = Size(size.faults, 0, size.rate)
    for _ in range(size.faults):
        await stage.pause(0.3, 0.8)

        async def inflict() -> None:
            nonlocal load, accepted
            told = await load.kill()
            accepted += told["accepted"]
            load = await stage.load(part)

        await stage.fault(inflict)
    told = await load.finish()
    accepted += told["accepted"]
    # The dead cannot tell their last answers: more may be in the log than they told, never less.
    found = await stage.balance(accepted, exact=False)
    books = await stage.books()
    found.lost += max(0, accepted - books.published)
    found.accepted = books.published
    return found


@scenario("all processes: rolling restart", share=0.4)
async def rolling(stage: Stage, size: Size) -> Outcome:
    load, workers = await stage.begin(size)
    workers.append(stage.start("aggregator"))
    kinds = ["scorer", "scorer", "aggregator"]
    for turn in range(size.faults):
        await stage.pause()
        place = turn % len(kinds)

        async def inflict(place: int = place) -> None:
            await stage.end_well(workers[place])
            workers[place] = stage.start(kinds[place])

        await stage.fault(inflict)
    return await stage.settle(load)


@scenario("model: promoted and rolled back")
async def promoted(stage: Stage, size: Size) -> Outcome:
    load, _ = await stage.begin(size)
    registry = Registry(stage.models)
    for turn in range(size.faults):
        await stage.pause()

        async def inflict(version: int = 2 - turn % 2) -> None:
            made = await asyncio.to_thread(registry.promote, "digits", version)
            event = ModelPromoted(
                model="digits", version=version, sha256=made.sha256, previous=made.previous or 0, reason="chaos"
            )
            await stage.bus.publish(MODELS, [event])

        await stage.fault(inflict)
    await asyncio.to_thread(registry.promote, "digits", 1)
    found = await stage.settle(load)
    versions = await _versions(stage)
    if versions != {1, 2}:
        found.notes.append(f"results name the versions {sorted(versions)}, not both")
    return found


# the server


@scenario("server: SIGKILL, AOF everysec")
async def server_killed(stage: Stage, size: Size) -> Outcome:
    return await _server_killed(stage, size)


@scenario("server: SIGKILL, AOF always", fsync="always")
async def server_killed_always(stage: Stage, size: Size) -> Outcome:
    return await _server_killed(stage, size)


@scenario("server: power cut, end of the AOF gone")
async def power_cut(stage: Stage, size: Size) -> Outcome:
    load, _ = await stage.begin(size)
    for _ in range(size.faults):
        await stage.pause(0.3, 0.8)
        await stage.fault(lambda: asyncio.to_thread(_cut_power, stage))
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
        await stage.until(lambda: stage._above(0), "requests to be decided again")
        await stage.until(lambda turn=turn: _said(told, turn), "subscribers to be told of the new log")  # type: ignore[misc]
    listening.cancel()
    told_by_load = await load.finish()
    found = await stage.balance(told_by_load["accepted"], told_by_load["lost"], exact=False)
    found.accepted = (await stage.books()).published
    return found


@scenario("server: memory full, then free again", share=0.6)
async def memory_full(stage: Stage, size: Size) -> Outcome:
    load, _ = await stage.begin(size)
    for _ in range(size.faults):
        await stage.pause()

        async def inflict() -> None:
            used = int(stage.admin("INFO", "memory")["used_memory"])
            stage.admin("CONFIG", "SET", "maxmemory", max(1, used - 1_000_000))
            await asyncio.sleep(0.5)
            stage.admin("CONFIG", "SET", "maxmemory", 1 << 30)

        await stage.fault(inflict)
    return await stage.settle(load)


@scenario("server: disk full, then free again", share=0.4)
async def disk_full(stage: Stage, size: Size) -> Outcome:
    load, _ = await stage.begin(size)
    for _ in range(size.faults):
        await stage.pause()

        async def inflict() -> None:
            largest = max(path.stat().st_size for path in stage.server.data_dir.rglob("*") if path.is_file())
            _, hard = resource.prlimit(stage.server.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(stage.server.pid, resource.RLIMIT_FSIZE, (largest + 1, hard))
            await asyncio.sleep(1.0)
            if stage.server.poll() is None:
                resource.prlimit(stage.server.pid, resource.RLIMIT_FSIZE, (hard, hard))
            else:  # a server that cannot write its log may end; it is started again when there is room
                await asyncio.to_thread(stage.server.restart)

        await stage.fault(inflict)
    return await stage.settle(load)


@scenario("server: scripts flushed")
async def scripts_flushed(stage: Stage, size: Size) -> Outcome:
    load, _ = await stage.begin(size)
    for _ in range(size.faults):
        await stage.pause(0.05, 0.2)
        await stage.fault(lambda: asyncio.to_thread(stage.admin, "SCRIPT", "FLUSH"))
    return await stage.settle(load)


@scenario("server: stands still for a second", share=0.6)
async def server_stalled(stage: Stage, size: Size) -> Outcome:
    load, _ = await stage.begin(size)
    for _ in range(size.faults):
        await stage.pause()

        async def inflict() -> None:
            os.kill(stage.server.pid, signal.SIGSTOP)
            await asyncio.sleep(1.0)
            os.kill(stage.server.pid, signal.SIGCONT)

        await stage.fault(inflict)
    return await stage.settle(load)


@scenario("group deleted under running workers")
async def group_deleted(stage: Stage, size: Size) -> Outcome:
    load, _ = await stage.begin(size)
    for _ in range(size.faults):
        await stage.pause()
        await stage.fault(lambda: stage.bus.remove_group(REQUESTS, 0, SCORERS))
    return await stage.settle(load)


@scenario("channel at its bound, publishers five times as fast", depth_limit=2_000, share=0.4)
async def at_its_bound(stage: Stage, size: Size) -> Outcome:
    # One worker that is stopped most of the time scores a fifth of what comes.
    load, [worker] = await stage.begin(size, scorers=1)
    deepest = 0
    for _ in range(size.faults):
        await stage.pause()

        async def inflict() -> None:
            nonlocal deepest
            worker.send_signal(signal.SIGSTOP)
            await asyncio.sleep(0.8)
            with suppress(BusError):
                deepest = max(deepest, *(group.lag + group.in_flight for group in await stage.bus.groups(REQUESTS)))
            worker.send_signal(signal.SIGCONT)

        await stage.fault(inflict)
    found = await stage.settle(load)
    if deepest > 2_000:
        found.notes.append(f"{deepest} entries waited, more than the bound of 2,000")
    return found


# the network


@scenario("network: cut between and within commands")
async def network_cut(stage: Stage, size: Size) -> Outcome:
    async def cut(proxy: Proxy) -> None:
        if stage.draw.random() < 0.5:
            proxy.cut()
        else:
            proxy.cut_within()

    return await _through_a_proxy(stage, size, cut)


@scenario("network: half-open", share=0.3)
async def half_open(stage: Stage, size: Size) -> Outcome:
    async def stop_forwarding(proxy: Proxy) -> None:
        proxy.deaf = True
        await asyncio.sleep(1.5)
        proxy.cut()
        proxy.deaf = False

    return await _through_a_proxy(stage, size, stop_forwarding)


@scenario("network: slow, and one byte at a time", share=0.4)
async def slow(stage: Stage, size: Size) -> Outcome:
    async def drip(proxy: Proxy) -> None:
        proxy.drip, proxy.delay_s = True, stage.draw.uniform(0, 0.02)
        await asyncio.sleep(0.6)
        proxy.drip, proxy.delay_s = False, 0.0

    return await _through_a_proxy(stage, size, drip)


@scenario("a slow subscriber cut off by the server", share=0.4)
async def slow_subscriber(stage: Stage, size: Size) -> Outcome:
    stage.admin("CONFIG", "SET", "client-output-buffer-limit", "pubsub 65536 32768 1")
    seen: list[int] = []
    async with Proxy(stage.server.port, stage.draw, buffer_bytes=4096) as proxy:
        settings = stage.settings.with_(redis_url=f"redis://127.0.0.1:{proxy.port}/0")
        async with Bus(settings) as bus, bus.subscribe(REQUESTS, since="start") as subscription:

            async def follow() -> None:
                async for delivery in subscription:
                    seen.extend(entry.position.number for entry in delivery.entries)

            load, _ = await stage.begin(size)
            following = asyncio.create_task(follow())
            for _ in range(size.faults):
                await stage.pause()

                async def inflict() -> None:
                    before = _cut_off(stage)
                    proxy.deaf = True
                    await stage.until(lambda: _more_cut_off(stage, before), "the server to cut the subscriber off")
                    proxy.deaf = False

                await stage.fault(inflict)
            found = await stage.settle(load)
            _, newest = await stage.bus.last(REQUESTS)
            await stage.until(lambda: _reached(seen, newest.number), "the subscriber to see the newest event")
            following.cancel()
            lost = subscription.counts.lost
    if seen != list(range(1, newest.number + 1)):
        found.notes.append(f"the subscriber saw {len(seen)} of {newest.number} events, and {lost} as lost")
    return found


@scenario("a publisher whose clock is a day wrong", share=0.2)
async def wrong_clock(stage: Stage, size: Size) -> Outcome:
    load, _ = await stage.begin(size, skew_s=86_400.0)
    late = await stage.load(Size(0, size.requests // 4, size.rate // 4), skew_s=-86_400.0)
    for _ in range(size.faults):
        await stage.pause()
        stage.outcome.faults += 1
    told = await late.finish()
    told_too = await load.finish()
    return await stage.balance(told["accepted"] + told_too["accepted"])


async def _server_killed(stage: Stage, size: Size) -> Outcome:
    load, _ = await stage.begin(size)
    for _ in range(size.faults):
        await stage.pause()

        async def inflict() -> None:
            await asyncio.to_thread(stage.server.kill)
            await asyncio.to_thread(stage.server.restart)

        await stage.fault(inflict)
    return await stage.settle(load)


async def _through_a_proxy(stage: Stage, size: Size, inflict: Callable[[Proxy], Awaitable[None]]) -> Outcome:
    async with Proxy(stage.server.port, random.Random(stage.draw.random())) as proxy:
        stage.url = f"redis://127.0.0.1:{proxy.port}/0"
        load, workers = await stage.begin(size)
        for _ in range(size.faults):
            await stage.pause()
            await stage.fault(lambda: inflict(proxy))
        found = await stage.settle(load)
        for worker in workers:
            worker.kill()
            await asyncio.to_thread(worker.wait)
        return found


def _cut_power(stage: Stage) -> None:
    """Kill the server and take the end of its log away, as a disk does that had not written it."""
    stage.server.kill()
    [log] = stage.data.rglob("*.incr.aof")
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


def _cut_off(stage: Stage) -> int:
    return int(stage.admin("INFO", "stats")["client_output_buffer_limit_disconnections"])


async def _more_cut_off(stage: Stage, before: int) -> bool:
    return _cut_off(stage) > before


async def _reached(seen: list[int], number: int) -> bool:
    return bool(seen) and seen[-1] >= number


async def _notices(settings: Settings, told: list[object]) -> None:
    async with Bus(settings) as bus, bus.subscribe(REQUESTS) as subscription:
        async for delivery in subscription:
            told += [delivery.notice] if isinstance(delivery.notice, Replaced) else []


async def _said(told: list[object], count: int) -> bool:
    return len(told) >= count


async def _frame_number(stage: Stage) -> int:
    with suppress(BusError):
        return (await stage.bus.last(FRAMES))[1].number
    return 0


async def _newer_frame(stage: Stage, number: int) -> bool:
    return await _frame_number(stage) > number


async def _leader(stage: Stage) -> str:
    entries = await stage.bus.read(FRAMES, count=1, newest_first=True)
    frame = decode(entries[0].payload)
    return frame.aggregator if isinstance(frame, Frame) else ""


async def _led_by_another(stage: Stage, leader: str) -> bool:
    return await _leader(stage) not in ("", leader)


async def _leaders_that_came_back(stage: Stage) -> list[str]:
    """A leader that lost its lease may lead again later, but two never write in turns."""
    turns: list[str] = []
    async for page in pages(stage.bus, FRAMES, 0, (await stage.bus.last(FRAMES))[1]):
        for entry in page:
            frame = decode(entry.payload)
            if isinstance(frame, Frame) and (not turns or turns[-1] != frame.aggregator):
                turns.append(frame.aggregator)
    most = stage.outcome.faults + 1
    return [f"frames changed hands {len(turns) - 1} times"] if len(turns) > most else []


async def _versions(stage: Stage) -> set[int]:
    found: set[int] = set()
    async for page in pages(stage.bus, RESULTS, 0, (await stage.bus.last(RESULTS))[1]):
        for entry in page:
            event = decode(entry.payload)
            if isinstance(event, PredictionScored):
                found.add(event.version)
    return found


def folder_for(base: Path, number: int) -> Path:
    return base / f"stage-{number}"
