"""Serving the dashboard over HTTP until told to stop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import uvicorn

from headrace import serving
from headrace.access import PAGE_LOCK, Role, Secret, path_prefix, require_lock
from headrace.bus import Bus
from headrace.dashboard.app import create_app
from headrace.settings import Settings

GRACE_S = 3
HEARD_BYTES = 64 * 1024


async def serve(
    settings: Settings,
    bus: Bus,
    host: str = "127.0.0.1",
    port: int = 8050,
    on_ready: Callable[[str], None] = lambda url: None,
    *,
    hosts: Iterable[str] = (),
    prefix: str = "",
    passwords: Mapping[Role, Secret] | None = None,
    public: bool = False,
) -> None:
    """Serve until SIGINT, SIGTERM or cancellation; open sockets get `GRACE_S` seconds to close.

    Port 0 takes a free one; `on_ready` is called with the URL once it answers. `passwords`, `public`
    and `prefix` are as in `create_app`. Raises SettingsError if the address cannot be had, or if other machines would
    reach it without a password and `public` does not say that they may.
    """
    require_lock("the dashboard", host, locked=bool(passwords), public=public, how=PAGE_LOCK)
    prefix = path_prefix(prefix)
    app = create_app(settings, bus, hosts=(*hosts, host), prefix=prefix, passwords=passwords, public=public)
    listener = serving.listen(host, port)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        ws_max_size=HEARD_BYTES,
        timeout_graceful_shutdown=GRACE_S,
        server_header=False,
    )
    await serving.serve(
        serving.Server(config, lambda: on_ready(f"{serving.url_of(host, listener)}{prefix}/")), listener
    )
