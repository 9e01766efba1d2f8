"""A server that is killed while its disk stalls: what it had answered and not yet written is gone, or is not."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from headrace.channels import FRAMES
from headrace.codec import decode
from headrace.errors import BusError
from headrace.events import Frame
from tests.chaos.scenario import scenario
from tests.chaos.stage import Outcome, Size, Stage

STALL_MS = 1_500
"""Longer than a second: a server under everysec then answers what it has not even given to the disk."""
STALL_ALWAYS_MS = 60
"""Each answer waits for it."""
SHORT_S = 0.05
"""A publisher that keeps accepted events for so long only has lost some of what such a server loses."""


@scenario("server: SIGKILL, fsync slow, AOF always", deep=True, fsync="always", share=0.4, slow_disk=True)
async def always(stage: Stage, size: Size) -> Outcome:
    found = await _killed_while_stalled(stage, Size(size.faults, size.requests // 2, size.rate // 2), STALL_ALWAYS_MS)
    if found.announced:
        found.notes.append(f"{found.announced} events were lost under always")
    return found


@scenario("server: SIGKILL, fsync slow, AOF everysec", deep=True, share=0.4, slow_disk=True)
async def everysec(stage: Stage, size: Size) -> Outcome:
    found = await _killed_while_stalled(stage, size, STALL_MS)
    if found.announced:
        found.notes.append(f"{found.announced} events were lost though their publisher still kept them")
    return found


@scenario("the same, publisher keeps nothing", deep=True, share=0.4, slow_disk=True, resend_s=SHORT_S)
async def everysec_lost(stage: Stage, size: Size) -> Outcome:
    aggregator = stage.start("aggregator")
    found = await _killed_while_stalled(stage, size, STALL_MS)
    await stage.until(lambda: _shown(stage, found.announced), "the frame to show what was lost")
    await stage.end_well(aggregator)
    return found


async def _killed_while_stalled(stage: Stage, size: Size, milliseconds: int) -> Outcome:
    disk = stage.disk
    assert disk is not None
    load, _ = await stage.begin(size)

    async def kill(_: int) -> None:
        before = disk.stalls
        disk.stall(milliseconds)
        await stage.until(lambda: _stalled(stage, before), "the disk to stall")
        await stage.pause(0.2, 1.5)
        await asyncio.to_thread(stage.server.kill)
        disk.stall(0)
        await asyncio.to_thread(stage.server.restart)

    await stage.repeat(size.faults, kill)
    return await stage.settle(load)


async def _stalled(stage: Stage, before: int) -> bool:
    return stage.disk is not None and stage.disk.stalls > before


async def _shown(stage: Stage, lost: int) -> bool:
    with suppress(BusError):
        for entry in await stage.bus.read(FRAMES, count=1, newest_first=True):
            frame = decode(entry.payload)
            return isinstance(frame, Frame) and frame.live.lost >= lost
    return False
