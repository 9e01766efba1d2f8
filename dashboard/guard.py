"""Who may talk to the dashboard: the right host, the right origin; and what its pages may load. ASGI middleware.

A page of another site that a user has open can send requests here, and with a name of its own that resolves to this
machine (DNS rebinding) even read the answers. So `Host` must be an address, localhost or a name that was allowed, and a
request that opens the socket or changes something must come from a page of this very host.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
REFUSED = 4403
POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'self'",
        "form-action 'self'",
    )
)
"""Nothing is loaded from elsewhere, whatever a component tries. Dash puts scripts and styles into its page."""


class Guard:
    """Refuses requests for other hosts and from other origins, and says in every answer what a page may load."""

    def __init__(self, app: ASGIApp, hosts: Iterable[str] = ()) -> None:
        self.app = app
        self.hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        reason = self.refusal(
            headers.get("host", ""), headers.get("origin"), scope["type"] == "http" and scope["method"] in SAFE
        )
        if reason and scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": REFUSED, "reason": reason[:120]})
        elif reason:
            await PlainTextResponse(reason, status_code=403)(scope, receive, send)
        else:
            await self.app(scope, receive, _with_policy(send))

    def refusal(self, host: str, origin: str | None, safe: bool) -> str:
        """Why a request is refused; empty if it is not. `safe` requests only read, and not from the socket."""
        name = urlsplit(f"//{host}").hostname or ""
        if name not in self.hosts and name != "localhost" and not name.endswith(".localhost") and not _is_address(name):
            return f"host {name!r} is not served here; allow it with --allow-host {name}"
        if not safe and origin is not None and urlsplit(origin).netloc != host:
            return f"origin {origin!r} is not this host"
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _with_policy(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["content-security-policy"] = POLICY
            headers["x-content-type-options"] = "nosniff"
            headers["referrer-policy"] = "same-origin"
        await send(message)

    return sending
