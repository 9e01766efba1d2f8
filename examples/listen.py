"""Follow a channel from its beginning, and be told of everything that was missed.

python examples/listen.py [CHANNEL [SECONDS]]
"""

from __future__ import annotations

import asyncio
import sys

from headrace import Bus, CodecError, Settings
from headrace.codec import decode


async def follow(channel: str) -> None:
    async with Bus(Settings.load()) as bus, bus.subscribe(channel, since="start") as subscription:
        async for delivery in subscription:
            if delivery.notice:
                print("notice:", delivery.notice)
            for position, payload in delivery.entries:
                try:
                    print(position, decode(payload))
                except CodecError as error:
                    print(position, "is not for us:", error)


async def main(channel: str = "runs", seconds: str = "30") -> None:
    try:
        await asyncio.wait_for(follow(channel), float(seconds))
    except TimeoutError:
        print(f"followed {channel} for {seconds} s")


asyncio.run(main(*sys.argv[1:]))
