"""The gateway as a process: a port of its own, and an end that leaves nobody without an answer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable

import uvicorn

from headrace import serving
from headrace.access import GATEWAY_LOCK, Secret, require_lock
from headrace.bus import Bus
from headrace.publisher.gateway.access import RATE
from headrace.publisher.gateway.app import create_gateway
from headrace.publisher.gateway.desk import Desk
from headrace.settings import Settings

GRACE_S = 2.0
"""How long whoever waits for a result still gets it after the order to stop; then they are told that it is queued."""


async def serve(
    settings: Settings,
    bus: Bus,
    host: str = "127.0.0.1",
    port: int = 8080,
    on_ready: Callable[[str], None] = lambda url: None,
    *,
    token: Secret | None = None,
    public: bool = False,
    hosts: Iterable[str] = (),
    rate: float = RATE,
) -> None:
    """Serve until SIGINT, SIGTERM or cancellation; port 0 takes a free one. `on_ready` is told the URL.

    `token`, `hosts` and `rate` are as in `create_gateway`. Raises SettingsError if the port cannot be had, or if other
    machines would reach it without a token and `public` does not say that they may.
    """
    require_lock("the gateway", host, locked=token is not None, public=public, how=GATEWAY_LOCK)
    listener = serving.listen(host, port)
    app = create_gateway(settings, bus, token=token, hosts=(*hosts, host), rate=rate)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, lifespan="on", timeout_graceful_shutdown=int(GRACE_S) + 5
    )
    server = _Server(config, lambda: on_ready(serving.url_of(host, listener)), app.state.gateway.desk)
    await serving.serve(server, listener)


class _Server(serving.Server):
    def __init__(self, config: uvicorn.Config, started: Callable[[], None], desk: Desk) -> None:
        super().__init__(config, started)
        self._desk = desk

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        async with asyncio.TaskGroup() as ending:
            ending.create_task(self._desk.release(GRACE_S))
            ending.create_task(super().shutdown(sockets))
