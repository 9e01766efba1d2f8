"""Ending asyncio tasks so that they have ended."""

from __future__ import annotations

import asyncio
from typing import Any

AGAIN_S = 1.0


async def end(*tasks: asyncio.Task[Any] | None) -> None:
    """Cancel tasks and return when all have ended; what they raised is not raised here. None is skipped.

    Once is not enough: before Python 3.12, `asyncio.wait_for`, with which the Redis client sends, swallows a
    cancellation that comes at the moment when the sending has just succeeded.
    """
    every = [task for task in tasks if task is not None]
    pending = {task for task in every if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=AGAIN_S)
    for task in every:
        if not task.cancelled():
            task.exception()  # looked at, so that nobody complains that it was not
