"""Keeps other web sites from using a visitor's browser to reach a gateway that only the visitor can reach."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from headrace.publisher.gateway.problems import Problem


class SameOrigin:
    """Refuses requests that a page of another site makes a browser send; programs send no Origin and pass."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            origin = headers.get("origin")
            if origin is not None and urlsplit(origin).netloc != headers.get("host"):
                fix = "Call the gateway from a program, or from a page it serves itself."
                problem = Problem(403, "cross_origin", f"a page of {origin!r:.80} may not use this gateway", fix)
                await problem.response()(scope, receive, send)
                return
        await self._app(scope, receive, send)
