"""Keeping an embedded server alive for as long as its owner works."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from headrace.cli.process import within
from headrace.errors import EmbeddedError
from headrace.retry import Backoff

if TYPE_CHECKING:
    from headrace.embedded import EmbeddedServer

POLL_S = 0.2
STEADY_S = 30.0
"""A server that ran for so long is started again at once."""
RESTART = Backoff(200, 30_000)


async def keep(server: EmbeddedServer, stop: asyncio.Event, say: Callable[[str], None]) -> None:
    """Start the server again, with the same data and port, whenever it ends, until `stop` is set."""
    failures, began_s = 0, time.monotonic()
    while not await within(stop, POLL_S):
        status = server.poll()
        if status is None:
            continue
        failures = 0 if time.monotonic() - began_s > STEADY_S else failures + 1
        say(f"the server ended with status {status}; starting it again with the same data")
        if failures and await within(stop, RESTART.delay_ms(failures) / 1000):
            return
        began_s = time.monotonic()
        try:
            await asyncio.to_thread(server.restart)
        except EmbeddedError as error:
            say(str(error))
        else:
            say(f"the server answers again at {server.url}")
