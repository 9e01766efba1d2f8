"""Waiting until what was published is decided."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from headrace.channels import AGGREGATORS, LABELS, REQUESTS, SCORERS
from headrace.cli.process import within
from headrace.errors import UnavailableError

if TYPE_CHECKING:
    from headrace.bus import Bus

POLL_S = 0.2
WAITED_FOR = ((REQUESTS, SCORERS), (LABELS, AGGREGATORS))


async def depth(bus: Bus) -> int:
    """Requests that are not scored and labels that are not joined, over all partitions."""
    total = 0
    for channel, group in WAITED_FOR:
        for partition in bus.names.partitions_of(channel):
            states = await bus.groups(channel, partition)
            total += sum(state.lag + state.in_flight for state in states if state.name == group)
    return total


async def drained(bus: Bus, stop: asyncio.Event, timeout_s: float) -> bool:
    """Whether the depth is 0 within the time; False, too, once `stop` is set. Waits through a server's absence."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while loop.time() < deadline:
        with suppress(UnavailableError):
            if await depth(bus) == 0:
                return True
        if await within(stop, POLL_S):
            return False
    return False
