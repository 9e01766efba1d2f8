"""The application: pages by Dash, one live socket, and the endpoints that programs ask.

/            the pages             /healthz     the process is up
/live        the socket            /readyz      it has seen a frame of the last seconds
/api/frame   a frame                /metrics     the same as Prometheus text

From outside to inside: guard (host, origin, policy), prefix, limits, access (who asks), compression, Dash.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable, Mapping

from fastapi import FastAPI
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.websockets import WebSocket

from headrace.access import Role, Secret, path_prefix
from headrace.bus import Bus
from headrace.dashboard.access import Access, Door, Refused, answer_refused
from headrace.dashboard.api import dead, events, models, past, session, snapshot
from headrace.dashboard.compression import Compression
from headrace.dashboard.feed import Feed
from headrace.dashboard.guard import Guard, hashes
from headrace.dashboard.layout import THEME_SCRIPT, add_pages
from headrace.dashboard.limits import Limits
from headrace.dashboard.past import Archive
from headrace.dashboard.prefix import Prefix
from headrace.dashboard.session import Sessions
from headrace.dashboard.socket import live
from headrace.heartbeat import Heartbeat
from headrace.metrics import frame_metrics
from headrace.settings import Settings

FAREWELL_S = 1.0
"""How long the end of the process waits for what follows the bus: a cancellation may be swallowed below."""
READY_S = 5.0
"""A dashboard whose newest frame is older is not ready."""


def create_app(
    settings: Settings,
    bus: Bus,
    *,
    hosts: Iterable[str] = (),
    prefix: str = "",
    passwords: Mapping[Role, Secret] | None = None,
    public: bool = False,
) -> FastAPI:
    """The dashboard as an ASGI application; its lifespan follows the bus. The caller closes the bus.

    `hosts` are names under which it is reached, besides addresses and localhost; `prefix` is the path under which a
    proxy serves it, such as `/headrace`, whether the proxy takes it away or passes it on. Without `passwords`
    everybody may look and act, with them who signs in; `public` lets anybody look, and act only who signs in.
    """
    feed = Feed(bus)
    archive = Archive(feed)
    prefix, passwords = path_prefix(prefix), passwords or {}
    door = Door(bus, passwords, public, Sessions(passwords, f"{settings.prefix} {prefix}"))

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with Heartbeat(bus, "dashboard", feed.tally):
            tasks = [asyncio.create_task(feed.run(), name="feed"), asyncio.create_task(feed.look(), name="look")]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks, timeout=FAREWELL_S)
                await door.close()

    app = FastAPI(
        title="headrace dashboard",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.state.feed = feed
    app.state.door = door
    app.add_exception_handler(Refused, answer_refused)

    @app.websocket("/live")
    async def socket(websocket: WebSocket) -> None:
        await live(websocket, feed, archive)

    @app.get("/healthz")
    async def healthy() -> JSONResponse:
        return JSONResponse({"status": "up"})

    @app.get("/readyz")
    async def ready() -> JSONResponse:
        reason = unready(feed, time.time())
        return JSONResponse(
            {"status": "waiting", "reason": reason} if reason else {"status": "ready"}, 503 if reason else 200
        )

    @app.get("/metrics")
    async def exposition() -> PlainTextResponse:
        newest = feed.state.frame
        if newest is None:
            return PlainTextResponse("no frame yet\n", 503)
        return PlainTextResponse(frame_metrics(newest), media_type="text/plain; version=0.0.4; charset=utf-8")

    past.add_routes(app, feed, archive)
    snapshot.add_routes(app, feed, archive)
    models.add_routes(app, feed)
    events.add_routes(app, feed)
    dead.add_routes(app, feed)
    session.add_routes(app, door, settings.prefix, prefix)
    pages = add_pages(app, settings, prefix)
    # Dash does it when `/` is first asked for: who came by a link to another page had no scripts before.
    pages._setup_server()  # type: ignore[no-untyped-call]
    app.add_middleware(Compression)
    app.add_middleware(Access, door=door, prefix=prefix)
    app.add_middleware(Limits)
    app.add_middleware(Prefix, prefix=prefix)
    scripts = [*hashes(f"<script>{THEME_SCRIPT}</script>"), *pages.csp_hashes()]
    app.add_middleware(Guard, hosts=tuple(hosts), scripts=scripts)
    return app


def unready(feed: Feed, now: float) -> str:
    """Why the dashboard is not ready at Unix time `now`; empty if it is."""
    newest = feed.state.frame
    if newest is None:
        return feed.status().reason or "no frame yet; start an aggregator with `headrace aggregator`"
    age_s = now - newest.time
    if age_s > READY_S:
        return f"the newest frame is {age_s:.0f} s old; {feed.status().reason or 'is an aggregator running?'}"
    return ""
