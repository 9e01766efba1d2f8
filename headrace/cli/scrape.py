"""The newest frame for whoever scrapes it, from a process that serves nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from headrace.channels import FRAMES
from headrace.codec import decode
from headrace.ending import end
from headrace.errors import CodecError, SettingsError
from headrace.events import Frame

if TYPE_CHECKING:
    from headrace.bus import Bus


class Newest:
    """The newest frame of a bus."""

    frame: Frame | None = None

    async def follow(self, bus: Bus) -> None:
        """Keep `frame` the newest, for ever."""
        async with bus.subscribe(FRAMES) as subscription:
            async for delivery in subscription:
                for entry in delivery.entries[-1:]:
                    with suppress(CodecError):
                        event = decode(entry.payload)
                        if isinstance(event, Frame):
                            self.frame = event


@asynccontextmanager
async def scraped(bus: Bus, host: str, port: int) -> AsyncIterator[str]:
    """Serve /metrics on an address while entered; gives the URL. Raises SettingsError if the address cannot be had."""
    from prometheus_client import CollectorRegistry, start_http_server

    from headrace.metrics import FrameCollector

    newest = Newest()
    registry = CollectorRegistry(auto_describe=False)
    registry.register(FrameCollector(lambda: newest.frame))
    try:
        server, thread = start_http_server(port, host, registry)
    except (OSError, OverflowError) as error:
        raise SettingsError(
            f"cannot serve metrics on {host}:{port}: {error}; choose another with --metrics-port"
        ) from None
    following = asyncio.create_task(newest.follow(bus), name="follow frames")
    try:
        yield f"http://{host}:{server.server_port}/metrics"
    finally:
        await end(following)
        await asyncio.to_thread(server.shutdown)
        server.server_close()
        thread.join()
