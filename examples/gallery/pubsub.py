"""Alice and Bob: pub/sub in ten lines, and what a log behind it adds.

Plain pub/sub forgets: Bob hears what Alice measures while he listens, and nothing of what she said before he came. Over
a channel of headrace he comes late and is still told everything, in order. Carol and Dave share the work on it as one
group, and do none of it twice.

From: the publish/subscribe pattern, as introductions to Redis show it.
Look at: the channel `alice-...` on the page of events, and its group `readers` on the page of queues.
Checked: plain pub/sub loses exactly what was said while nobody listened; from the log Bob gets each reading once and in
order; Carol and Dave together commit each reading exactly once.
Needs: nothing more
Weight: light
"""

from __future__ import annotations

import asyncio
import secrets

import redis.asyncio

from headrace import Bus
from headrace.codec import decode
from headrace.events import RunMetrics, stamped
from stage import Show, play

PATIENCE_S = 30.0


def main(show: Show) -> str:
    readings = show.sizes["readings"]
    heard = asyncio.run(plain(show, readings))
    show.check(heard == list(range(readings // 2, readings)), "Bob should have missed exactly the first half")

    channel = f"alice-{secrets.token_hex(3)}"
    bob, carol, dave = asyncio.run(logged(show, channel, readings))
    show.check(bob == list(range(readings)), "Bob did not get each reading once and in order from the log")
    show.check(sorted(carol + dave) == bob, "Carol and Dave did not commit each reading exactly once")
    show.count("readings", readings, lambda: sum(1 for _ in show.log(channel)))
    lost = readings - len(heard)
    return f"of {readings:,} readings plain pub/sub lost {lost:,}; the log gave Bob all, the group did each once"


async def plain(show: Show, readings: int) -> list[int]:
    """What Bob hears by plain pub/sub if he comes at half time: ten lines, and no promise."""
    name = f"{show.settings.prefix}-plain"
    async with redis.asyncio.Redis.from_url(show.settings.redis_url) as alice, alice.pubsub() as bob:
        heard: list[int] = []
        for reading in range(readings):
            if reading == readings // 2:
                await bob.subscribe(name)
                await bob.get_message(timeout=PATIENCE_S)  # the confirmation: from here on he listens
            await alice.publish(name, reading)
        while len(heard) < readings - readings // 2 and (said := await bob.get_message(timeout=PATIENCE_S)):
            heard.append(int(said["data"]))
        return heard


async def logged(show: Show, channel: str, readings: int) -> tuple[list[int], list[int], list[int]]:
    """What a late Bob gets from the channel, and what two readers of one group commit."""
    async with Bus(show.settings.with_(consume_entries=20)) as bus:
        said = [RunMetrics(run="alice", step=n, metrics={"degrees": 20 + n % 7}) for n in range(readings)]
        await bus.publish(channel, [stamped(event, "alice") for event in said])

        bob: list[int] = []
        async with bus.subscribe(channel, since="start") as subscription:
            async for delivery in subscription:
                bob += [step(entry.payload) for entry in delivery.entries]
                if len(bob) >= readings:
                    break
        carol, dave = await asyncio.gather(*(share(bus, channel, name) for name in ("carol", "dave")))
        return bob, carol, dave


async def share(bus: Bus, channel: str, name: str) -> list[int]:
    """Take readings as one of the group until none is waiting."""
    done: list[int] = []
    async with bus.consume(channel, "readers", worker=name) as consumer:
        while batch := await consumer.next():
            await consumer.finish(consumer.commit(batch))
            done += [step(entry.payload) for entry in batch.entries]
    return done


def step(payload: bytes) -> int:
    event = decode(payload)
    return event.step if isinstance(event, RunMetrics) else -1


if __name__ == "__main__":
    play(main, ("redis",), readings=(1000, 100))
