"""What faces people and other programs, killed, stopped and ended in mid-work: gateway and dashboard."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import Awaitable, Callable

import httpx

from headrace.channels import REQUESTS
from headrace.embedded.probe import free_port
from headrace.forwards import forwards
from headrace.positions import Handle
from tests.chaos.callers import Callers
from tests.chaos.scenario import scenario
from tests.chaos.stage import START_S, Outcome, Size, Stage

STOPPED_S = 1.5


class Front:
    """One process that serves HTTP at an address that it keeps when it is started again."""

    def __init__(self, stage: Stage, kind: str) -> None:
        self.stage, self.kind, self.port = stage, kind, free_port()
        self.process: subprocess.Popen[bytes]

    async def start(self) -> None:
        words = ("--rate", "0") if self.kind == "gateway" else ()
        self.process = self.stage.start(self.kind, "--port", str(self.port), *words)
        await self.ready()

    async def ready(self) -> None:
        await self.stage.until(self._answers, f"the {self.kind} to be ready", START_S)

    async def kill(self) -> None:
        self.process.kill()
        await asyncio.to_thread(self.process.wait)
        await self.start()

    async def end(self) -> None:
        await self.stage.end_well(self.process)
        await self.start()

    async def stop(self) -> None:
        self.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(STOPPED_S)
        self.process.send_signal(signal.SIGCONT)
        await self.ready()

    async def _answers(self) -> bool:
        try:
            async with httpx.AsyncClient(timeout=5.0) as client:
                return (await client.get(f"http://127.0.0.1:{self.port}/readyz")).status_code == 200
        except httpx.HTTPError:
            return False


@scenario("gateway: SIGKILL", share=0.4)
async def gateway_killed(stage: Stage, size: Size) -> Outcome:
    found, callers = await _called(stage, size, lambda front: front.kill())
    if not callers.broken:
        found.notes.append("no caller noticed that the gateway was killed")
    return found


@scenario("gateway: SIGTERM", deep=True, share=0.4)
async def gateway_ended(stage: Stage, size: Size) -> Outcome:
    found, callers = await _called(stage, size, lambda front: front.end())
    untold = await _handles(stage) - callers.told.keys()
    if untold:
        found.notes.append(f"{len(untold)} requests were published, and nobody was told of them: {sorted(untold)[:3]}")
    return found


@scenario("gateway: SIGSTOP, SIGCONT", deep=True, share=0.4)
async def gateway_stopped(stage: Stage, size: Size) -> Outcome:
    found, callers = await _called(stage, size, lambda front: front.stop())
    if callers.broken or callers.refused:
        found.notes.append(f"{callers.broken} calls had no answer, others had {dict(callers.refused)}")
    return found


@scenario("dashboard: SIGKILL, SIGTERM, SIGSTOP", deep=True, share=0.4)
async def dashboard(stage: Stage, size: Size) -> Outcome:
    stage.start("aggregator")
    front = Front(stage, "dashboard")
    await front.start()
    load, _ = await stage.begin(size)
    ways: list[Callable[[], Awaitable[None]]] = [front.kill, front.end, front.stop]

    async def fault(turn: int) -> None:
        before = await _frame(front)
        await ways[turn % len(ways)]()
        await stage.until(lambda: _shows_more(front, before), "the page to show newer frames")

    await stage.repeat(size.faults, fault)
    return await stage.settle(load)


async def _called(stage: Stage, size: Size, fault: Callable[[Front], Awaitable[None]]) -> tuple[Outcome, Callers]:
    """Callers ask one after the other while the gateway has its faults; what they were told is what happened."""
    front = Front(stage, "gateway")
    await front.start()
    for _ in range(2):
        stage.start("scorer")
    async with Callers(front.port) as callers:
        await stage.until(lambda: _some(callers, 20), "the first answers", START_S)
        for _ in range(size.faults):
            await stage.pause()
            before = len(callers.told)
            await stage.fault(lambda: fault(front))
            await stage.until(lambda before=before: _some(callers, before + 1), "answers again")  # type: ignore[misc]
        await callers.finish()
    _, newest = await stage.bus.last(REQUESTS)
    found = await stage.balance(newest.number)
    published = await _handles(stage)
    invented = callers.told.keys() - published
    if invented or callers.doubled:
        found.notes.append(f"{len(invented)} answers about nothing, {len(callers.doubled)} twice")
    return found, callers


async def _some(callers: Callers, count: int) -> bool:
    return len(callers.told) >= count


async def _handles(stage: Stage) -> set[str]:
    """The handles of all requests in the log."""
    _, newest = await stage.bus.last(REQUESTS)
    return {str(Handle(0, entry.position)) async for page in forwards(stage.bus, REQUESTS, 0, newest) for entry in page}


async def _frame(front: Front) -> int:
    """The number of the newest frame that the page has; 0 if it has none."""
    async with httpx.AsyncClient(timeout=5.0) as client:
        answer = await client.get(f"http://127.0.0.1:{front.port}/api/frame")
        return int(answer.json()["time"] * 1000) if answer.status_code == 200 else 0


async def _shows_more(front: Front, before: int) -> bool:
    return await _frame(front) > before
