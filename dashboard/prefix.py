"""A dashboard under a path of somebody else's site. ASGI middleware."""

from __future__ import annotations

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class Prefix:
    """Takes the prefix away from a path, if the proxy in front has not done so: what is behind never sees it."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self.app = app
        self.prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.prefix and scope["type"] in ("http", "websocket"):
            path: str = scope["path"]
            if path == self.prefix and scope["type"] == "http":
                await RedirectResponse(f"{self.prefix}/", 307)(scope, receive, send)
                return
            if path.startswith(f"{self.prefix}/"):
                raw = scope.get("raw_path") or path.encode()
                bare = raw.removeprefix(self.prefix.encode())
                scope = {**scope, "path": path.removeprefix(self.prefix), "raw_path": bare}
        await self.app(scope, receive, send)
