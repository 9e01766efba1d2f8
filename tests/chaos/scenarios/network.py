"""Connections that are cut, go deaf, crawl, or are given up by the server."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

from headrace.bus import Bus
from headrace.bus.connection import CONNECT_TIMEOUT_S
from headrace.channels import REQUESTS
from tests.chaos.proxy import Proxy
from tests.chaos.scenario import scenario
from tests.chaos.stage import Outcome, Size, Stage

NOISE = b"x" * 32_768
"""Pushed by a stranger: no event, and large, though never too large for somebody who reads."""


@scenario("network: cut between and within commands")
async def cut(stage: Stage, size: Size) -> Outcome:
    async def inflict(proxy: Proxy) -> None:
        if stage.draw.random() < 0.5:
            proxy.cut()
        else:
            proxy.cut_within()

    return await _through_a_proxy(stage, size, inflict)


@scenario("network: half-open", deep=True, share=0.3)
async def half_open(stage: Stage, size: Size) -> Outcome:
    async def inflict(proxy: Proxy) -> None:
        proxy.deaf = True
        await asyncio.sleep(1.5)
        proxy.cut()
        proxy.deaf = False

    return await _through_a_proxy(stage, size, inflict)


@scenario("network: slow, and one byte at a time", deep=True, share=0.4)
async def slow(stage: Stage, size: Size) -> Outcome:
    async def inflict(proxy: Proxy) -> None:
        proxy.drip, proxy.delay_s = True, stage.draw.uniform(0, 0.02)
        await asyncio.sleep(0.6)
        proxy.drip, proxy.delay_s = False, 0.0

    return await _through_a_proxy(stage, size, inflict)


@scenario("network: replies later than anybody waits", deep=True, share=0.2)
async def late_replies(stage: Stage, size: Size) -> Outcome:
    async def inflict(proxy: Proxy) -> None:
        proxy.reply_delay_s = CONNECT_TIMEOUT_S + stage.draw.uniform(0.1, 0.5)
        await asyncio.sleep(CONNECT_TIMEOUT_S)
        proxy.reply_delay_s = 0.0

    return await _through_a_proxy(stage, size, inflict)


@scenario("a slow subscriber cut off by the server", share=0.4)
async def slow_subscriber(stage: Stage, size: Size) -> Outcome:
    # Small, but more than one batch pushes at once: only who does not read is cut off.
    stage.admin("CONFIG", "SET", "client-output-buffer-limit", "pubsub 2097152 1048576 1")
    seen: list[int] = []
    async with Proxy(stage.server.port, stage.draw) as proxy:
        settings = stage.settings.with_(redis_url=f"redis://127.0.0.1:{proxy.port}/0")
        async with Bus(settings) as bus, bus.subscribe(REQUESTS, since="start") as subscription:
            live = bus.names.live(REQUESTS)

            async def follow() -> None:
                async for delivery in subscription:
                    seen.extend(entry.position.number for entry in delivery.entries)

            async def stop_reading(_: int) -> None:
                before = _cut_off(stage)

                async def cut_off() -> bool:
                    proxy.deaf = await _heard(stage, live)  # deaf to somebody who is not there, nobody could come
                    return await _flooded(stage, live, before)

                await stage.until(cut_off, "the server to cut the subscriber off")
                proxy.deaf = False

            load, _ = await stage.begin(size)
            following = asyncio.create_task(follow())
            await stage.repeat(size.faults, stop_reading)
            found = await stage.settle(load)
            _, newest = await stage.bus.last(REQUESTS)
            await stage.until(lambda: _reached(seen, newest.number), "the subscriber to see the newest event")
            following.cancel()
            lost = subscription.counts.lost
    if seen != list(range(1, newest.number + 1)):
        found.notes.append(f"the subscriber saw {len(seen)} of {newest.number} events, and {lost} as lost")
    return found


async def _through_a_proxy(stage: Stage, size: Size, inflict: Callable[[Proxy], Awaitable[None]]) -> Outcome:
    async with Proxy(stage.server.port, random.Random(stage.draw.random())) as proxy:
        stage.url = f"redis://127.0.0.1:{proxy.port}/0"
        load, workers = await stage.begin(size)
        await stage.repeat(size.faults, lambda _: inflict(proxy))
        found = await stage.settle(load)
        for worker in workers:
            worker.kill()
            await asyncio.to_thread(worker.wait)
        return found


def _cut_off(stage: Stage) -> int:
    return int(stage.admin("INFO", "stats")["client_output_buffer_limit_disconnections"])


async def _heard(stage: Stage, live: str) -> bool:
    """Whether anybody is subscribed: who was cut off needs a moment to come back, and may lose its connection again."""
    return int(stage.admin("PUBSUB", "NUMSUB", live)[1]) > 0


async def _flooded(stage: Stage, live: str, before: int) -> bool:
    """Push noise, beside the load, which may not be enough to fill what the system buffers: was somebody cut off?"""
    client: Any = stage.bus._client
    for _ in range(256):
        await client.publish(live, NOISE)
    return _cut_off(stage) > before


async def _reached(seen: list[int], number: int) -> bool:
    return bool(seen) and seen[-1] >= number
