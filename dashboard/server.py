"""Serving the dashboard over HTTP until told to stop."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Iterable

import uvicorn

from headrace.bus import Bus
from headrace.dashboard.app import create_app
from headrace.errors import SettingsError
from headrace.settings import Settings

GRACE_S = 3
HEARD_BYTES = 64 * 1024


class Server(uvicorn.Server):
    """A server that says when it answers."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_started()


async def serve(
    settings: Settings,
    bus: Bus,
    host: str = "127.0.0.1",
    port: int = 8050,
    on_ready: Callable[[str], None] = lambda url: None,
    *,
    hosts: Iterable[str] = (),
    metrics: Callable[[], str] | None = None,
) -> None:
    """Serve until SIGINT, SIGTERM or cancellation; open sockets get `GRACE_S` seconds to close.

    Port 0 takes a free one; `on_ready` is called with the URL once it answers. Raises SettingsError if the address
    cannot be had.
    """
    app = create_app(settings, bus, hosts=(*hosts, host), metrics=metrics)
    listener = listen(host, port)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        ws_max_size=HEARD_BYTES,
        timeout_graceful_shutdown=GRACE_S,
        server_header=False,
    )
    server = Server(config, lambda: on_ready(url_of(host, listener)))
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="dashboard")
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        server.should_exit = True
        await serving
        raise
    finally:
        listener.close()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises SettingsError that says what is wrong with the address."""
    if not 0 <= port <= 65_535:
        raise SettingsError(f"port {port} is not a port: it must be between 0 and 65535")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise SettingsError(
                f"port {port} on {host} is in use; choose another with --port, or 0 for a free one"
            ) from None
        raise SettingsError(f"cannot listen on {host} port {port}: {error.strerror or error}") from None


def url_of(host: str, listener: socket.socket) -> str:
    """Where a browser on this machine finds the listener."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{listener.getsockname()[1]}/"
