"""Short questions to a server: connect, ask, disconnect."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from headrace.bus import Bus
    from headrace.settings import Settings

T = TypeVar("T")


def ask(settings: Settings, question: Callable[[Bus], Awaitable[T]]) -> T:
    """What `question` finds out on a connection of its own. Raises UnavailableError at once if no server answers."""
    import asyncio

    from headrace.bus import Bus

    async def asked() -> T:
        async with Bus(settings) as bus:
            await bus.check()
            return await question(bus)

    return asyncio.run(asked())


def check(settings: Settings) -> None:
    """Raises UnavailableError unless the server answers."""

    async def nothing(bus: Bus) -> None:
        return

    ask(settings, nothing)
