"""Processes of headrace that are killed, stopped, ended and replaced, and models that change under them."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from functools import partial
from typing import Any

from headrace.channels import FRAMES, MODELS, RESULTS
from headrace.codec import decode
from headrace.errors import BusError
from headrace.events import Frame, ModelPromoted, PredictionScored
from headrace.forwards import forwards
from headrace.models.registry import Registry
from tests.chaos.scenario import scenario
from tests.chaos.stage import CLAIM_MS, START_S, Load, Outcome, Size, Stage


@scenario("scorer: SIGKILL", deep=True)
async def scorer_killed(stage: Stage, size: Size) -> Outcome:
    load, workers = await stage.begin(size)

    async def kill(_: int) -> None:
        victim = workers.pop(0)
        victim.kill()
        await asyncio.to_thread(victim.wait)
        workers.append(stage.start("scorer"))

    await stage.repeat(size.faults, kill)
    return await stage.settle(load)


@scenario("scorer: SIGTERM, drains and hands back")
async def scorer_ended(stage: Stage, size: Size) -> Outcome:
    load, workers = await stage.begin(size)

    async def replace(_: int) -> None:
        workers.append(stage.start("scorer"))
        leaving = workers.pop(0)
        await stage.end_well(leaving)
        stage.outcome.notes += await stage.kept_back(leaving)

    await stage.repeat(size.faults, replace)
    return await stage.settle(load)


@scenario("scorer: SIGSTOP, robbed, SIGCONT", deep=True)
async def scorer_stopped(stage: Stage, size: Size) -> Outcome:
    load, workers = await stage.begin(size)

    async def stop(turn: int) -> None:
        victim = workers[turn % len(workers)]
        victim.send_signal(signal.SIGSTOP)
        await asyncio.sleep(2.5 * CLAIM_MS / 1000)
        victim.send_signal(signal.SIGCONT)

    await stage.repeat(size.faults, stop)
    return await stage.settle(load)


@scenario("aggregator: SIGKILL", deep=True, share=0.4)
async def aggregator_killed(stage: Stage, size: Size) -> Outcome:
    leader = stage.start("aggregator")
    await stage.until(lambda: _newer_frame(stage, 0), "the first frame", START_S)
    load, _ = await stage.begin(size)

    async def kill(_: int) -> None:
        nonlocal leader
        number = await _frame_number(stage)
        leader.kill()
        await asyncio.to_thread(leader.wait)
        leader = stage.start("aggregator")
        await stage.until(lambda: _newer_frame(stage, number), "frames again")

    await stage.repeat(size.faults, kill)
    return await stage.settle(load)


@scenario("aggregator: SIGSTOP, loses its lease, SIGCONT", deep=True, share=0.2)
async def aggregator_stalled(stage: Stage, size: Size) -> Outcome:
    team = [stage.start("aggregator"), stage.start("aggregator")]
    await stage.until(lambda: _newer_frame(stage, 0), "the first frame", START_S)
    load, _ = await stage.begin(size)

    async def stall(_: int) -> None:
        leader = await _leader(stage)
        [stalled] = [one for one in team if f"-{one.pid}-" in leader]
        stalled.send_signal(signal.SIGSTOP)
        await stage.until(lambda: _led_by_another(stage, leader), "another leader")
        stalled.send_signal(signal.SIGCONT)

    await stage.repeat(size.faults, stall)
    found = await stage.settle(load)
    found.notes += await _leaders_that_came_back(stage)
    return found


@scenario("publisher: SIGKILL in mid-batch")
async def publisher_killed(stage: Stage, size: Size) -> Outcome:
    load, _ = await stage.begin(size)
    accepted = 0
    part = Size(size.faults, 0, size.rate)

    async def kill(_: int) -> None:
        nonlocal load, accepted
        told = await load.kill()
        accepted += told["accepted"]
        load = await stage.load(part)

    await stage.repeat(size.faults, kill, 0.3, 0.8)
    told = await load.finish()
    accepted += told["accepted"]
    # The dead cannot tell their last answers: more may be in the log than they told, never less.
    found = await stage.balance(accepted, exact=False)
    books = await stage.books()
    found.lost += max(0, accepted - books.published)
    found.accepted = books.published
    return found


@scenario("publisher: SIGTERM in mid-batch", deep=True, share=0.6)
async def publisher_ended(stage: Stage, size: Size) -> Outcome:
    load, _ = await stage.begin(size)
    accepted = lost = 0
    part = Size(size.faults, 0, size.rate)

    def note(told: dict[str, Any]) -> None:
        nonlocal accepted, lost
        accepted, lost = accepted + told["accepted"], lost + told["lost"]
        if not told.get("done") or told["waiting"] or told["offered"] > told["accepted"]:
            stage.outcome.notes.append(f"a publisher that was asked to end did not send what it held: {told}")

    async def end(_: int) -> None:
        nonlocal load
        await stage.until(partial(_publishes, load), "the publisher to begin")  # before, it would just be gone
        note(await load.kill(signal.SIGTERM))
        load = await stage.load(part)

    await stage.repeat(size.faults, end, 0.3, 0.8)
    note(await load.finish())
    return await stage.balance(accepted, lost)


async def _publishes(load: Load) -> bool:
    return bool(load.told["offered"])


@scenario("a publisher whose clock is a day wrong", deep=True, share=0.2)
async def wrong_clock(stage: Stage, size: Size) -> Outcome:
    load, _ = await stage.begin(size, skew_s=86_400.0)
    late = await stage.load(Size(0, size.requests // 4, size.rate // 4), skew_s=-86_400.0)
    told = await late.finish()
    told_too = await load.finish()
    stage.outcome.faults += 2
    return await stage.balance(told["accepted"] + told_too["accepted"])


@scenario("all processes: rolling restart", share=0.4)
async def rolling(stage: Stage, size: Size) -> Outcome:
    load, workers = await stage.begin(size)
    workers.append(stage.start("aggregator"))
    kinds = ["scorer", "scorer", "aggregator"]

    async def replace(turn: int) -> None:
        place = turn % len(kinds)
        await stage.end_well(workers[place])
        workers[place] = stage.start(kinds[place])

    await stage.repeat(size.faults, replace)
    return await stage.settle(load)


@scenario("model: promoted and rolled back")
async def promoted(stage: Stage, size: Size) -> Outcome:
    load, _ = await stage.begin(size)
    registry = Registry(stage.models)

    async def promote(turn: int) -> None:
        version = 2 - turn % 2
        made = await asyncio.to_thread(registry.promote, "digits", version)
        event = ModelPromoted(
            model="digits", version=version, sha256=made.sha256, previous=made.previous or 0, reason="chaos"
        )
        await stage.bus.publish(MODELS, [event])

    await stage.repeat(size.faults, promote)
    await asyncio.to_thread(registry.promote, "digits", 1)
    found = await stage.settle(load)
    versions = await _versions(stage)
    if versions != {1, 2}:
        found.notes.append(f"results name the versions {sorted(versions)}, not both")
    return found


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
    async for page in forwards(stage.bus, FRAMES, 0, (await stage.bus.last(FRAMES))[1]):
        for entry in page:
            frame = decode(entry.payload)
            if isinstance(frame, Frame) and (not turns or turns[-1] != frame.aggregator):
                turns.append(frame.aggregator)
    most = stage.outcome.faults + 1
    return [f"frames changed hands {len(turns) - 1} times"] if len(turns) > most else []


async def _versions(stage: Stage) -> set[int]:
    found: set[int] = set()
    async for page in forwards(stage.bus, RESULTS, 0, (await stage.bus.last(RESULTS))[1]):
        for entry in page:
            event = decode(entry.payload)
            if isinstance(event, PredictionScored):
                found.add(event.version)
    return found
