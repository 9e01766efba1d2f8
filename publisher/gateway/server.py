"""The gateway as a process: a port of its own, and an end that leaves nobody without an answer."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from headrace.bus import Bus
from headrace.errors import SettingsError
from headrace.publisher.gateway.app import create_gateway
from headrace.settings import Settings

GRACE_S = 2.0
"""How long whoever waits for a result still gets it after the order to stop; then they are told that it is queued."""


async def serve(
    settings: Settings,
    bus: Bus,
    host: str = "127.0.0.1",
    port: int = 8080,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve until SIGINT, SIGTERM or cancellation; port 0 takes a free one. `on_ready` is told the URL.

    Raises SettingsError if the port cannot be had.
    """
    listener = bound(host, port)
    server = _Server(create_gateway(settings, bus), listener, on_ready)
    running = asyncio.create_task(server.serve(sockets=[listener]), name="gateway")
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        server.should_exit = True
        await running
        raise


def bound(host: str, port: int) -> socket.socket:
    """A listening socket. Raises SettingsError that names the port and what to do."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        where = f"{host}:{port}"
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise SettingsError(
                f"port {where} is in use; stop what uses it, or choose another port (0 takes a free one)"
            ) from None
        raise SettingsError(f"cannot listen on {where}: {error}; choose another host or port") from None
    # asyncio does it for connections of sockets that name their protocol only, which this one does not; without it an
    # answer waits up to 40 ms for the caller's delayed acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


class _Server(uvicorn.Server):
    def __init__(self, app: FastAPI, listener: socket.socket, on_ready: Callable[[str], None] | None) -> None:
        super().__init__(
            uvicorn.Config(
                app, log_level="warning", access_log=False, lifespan="on", timeout_graceful_shutdown=int(GRACE_S) + 5
            )
        )
        host, port = listener.getsockname()[:2]
        self._url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._desk, self._on_ready = app.state.gateway.desk, on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and self._on_ready:
            self._on_ready(self._url)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        async with asyncio.TaskGroup() as ending:
            ending.create_task(self._desk.release(GRACE_S))
            ending.create_task(super().shutdown(sockets))
