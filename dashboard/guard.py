"""Who may talk to the dashboard: the right host, the right origin; and what its pages may load. ASGI middleware.

A page of another site that a user has open can send requests here, and with a name of its own that resolves to this
machine (DNS rebinding) even read the answers. So `Host` must be an address, localhost or a name that was allowed, and a
request that opens the socket or changes something must come from a page of this very host. With the cookie's
`SameSite=Strict` this is the defence against forged requests: no page holds a token.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headrace.access import host_name, same_place, serves

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
REFUSED = 4403
FRAGILE = ("/api/", "/metrics", "/sign-")
"""Answers that no cache may keep."""
CLOSED = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
"""The policy of whatever is no page."""
HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_HOST = re.compile(r"[\w.\-\[\]:]{1,255}")
_INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)


def hashes(html: str) -> list[str]:
    """The scripts that stand in a page, as a policy names them."""
    return [_hash(script) for script in _INLINE.findall(html)]


def policy(scripts: Iterable[str], host: str = "", *, styles: bool = True) -> str:
    """What a page may do: load from here alone, and run of what stands in it only `scripts`. Nothing is ever evaluated.

    Plotly writes styles into the page, so pages with charts allow them: `styles`. Browsers older than the present rule
    do not count a socket to the same host as 'self', hence `host`.
    """
    inline = " 'unsafe-inline'" if styles else ""
    sockets = f" ws://{host} wss://{host}" if _HOST.fullmatch(host) else ""
    return "; ".join(
        (
            "default-src 'self'",
            " ".join(("script-src 'self'", *scripts)),
            f"style-src 'self'{inline}",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            f"connect-src 'self'{sockets}",
            "object-src 'none'",
            "frame-ancestors 'none'",
            "base-uri 'self'",
            "form-action 'self'",
        )
    )


class Guard:
    """Refuses requests for other hosts and from other origins, and says in every answer what a page may load.

    `scripts` are the hashes of the scripts that stand in the pages.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str] = (), scripts: Iterable[str] = ()) -> None:
        self.app = app
        self.hosts = frozenset(host.lower() for host in hosts)
        self.scripts = tuple(scripts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        reason = self.refusal(
            host,
            headers.get("origin"),
            scope["type"] == "http" and scope["method"] in SAFE,
            headers.get("sec-fetch-site", ""),
        )
        if reason and scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": REFUSED, "reason": reason[:120]})
        elif reason:
            await PlainTextResponse(reason, status_code=403)(scope, receive, send)
        else:
            await self.app(scope, receive, self._with_headers(scope, host, send))

    def refusal(self, host: str, origin: str | None, safe: bool, site: str = "") -> str:
        """Why a request is refused; empty if it is not. `safe` requests only read, and not from the socket.

        `site` is what the browser says of where the request comes from, if it does.
        """
        if not serves(host, self.hosts):
            name = host_name(host)
            return f"host {name!r} is not served here; allow it with --allow-host {name}"
        if safe:
            return ""
        if origin is not None and not same_place(origin, host):
            return f"origin {origin!r} is not this host; a proxy in front must pass on the header Host as it got it"
        return "pages of other sites may not ask this" if site in ("cross-site", "same-site") else ""

    def _with_headers(self, scope: Scope, host: str, send: Send) -> Send:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                page = headers.get("content-type", "").startswith("text/html")
                headers.setdefault("content-security-policy", policy(self.scripts, host) if page else CLOSED)
                if any(part in scope["path"] for part in FRAGILE):
                    headers.setdefault("cache-control", "no-store")
            await send(message)

        return sending


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
