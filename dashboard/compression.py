"""Compressed answers; files are compressed once and then served from memory. ASGI middleware.

The page brings several megabytes of scripts. Compressing them for every browser would hold up the live socket, which
shares the process, so files are compressed in a thread and kept.
"""

from __future__ import annotations

import asyncio
import gzip

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

FILES = ("/_dash-component-suites/", "/assets/")
KEPT_BYTES = 32 * 1024 * 1024
WORTH_BYTES = 500
LARGE_BYTES = 200_000
FOR_EVER = "public, max-age=31536000, immutable"
TEXTUAL = ("text/", "application/javascript", "application/json", "image/svg+xml", "application/openmetrics-text")


class Compression:
    """gzip for whoever accepts it. Files asked for with their version (`?m=`) may be kept by browsers for ever."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._kept: dict[str, tuple[Message, bytes]] = {}
        self._kept_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET" or "gzip" not in _accepted(scope):
            await self.app(scope, receive, send)
            return
        path = f"{scope['path']}?{scope['query_string'].decode('latin-1')}"
        is_file = any(part in scope["path"] for part in FILES)
        if path in self._kept and "if-none-match" not in Headers(scope=scope):
            start, body = self._kept[path]
            await _answer(send, start, body)
            return
        start, body = await self._ask(scope, receive)
        headers = MutableHeaders(scope=start)
        if is_file and start["status"] == 200 and b"m=" in scope["query_string"]:
            headers["cache-control"] = FOR_EVER
        kind = headers.get("content-type", "")
        if len(body) >= WORTH_BYTES and kind.startswith(TEXTUAL) and "content-encoding" not in headers:
            body = await asyncio.to_thread(gzip.compress, body, 6, mtime=0) if is_file else await _packed(body)
            headers["content-encoding"] = "gzip"
            headers["content-length"] = str(len(body))
            headers.add_vary_header("accept-encoding")
            if is_file and start["status"] == 200 and self._kept_bytes + len(body) <= KEPT_BYTES:
                self._kept_bytes += len(body)
                self._kept[path] = start, body
        await _answer(send, start, body)

    async def _ask(self, scope: Scope, receive: Receive) -> tuple[Message, bytes]:
        """The whole answer of the app behind."""
        start: Message = {}
        chunks: list[bytes] = []

        async def gather(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
            elif message["type"] == "http.response.body":
                chunks.append(message.get("body", b""))

        await self.app(scope, receive, gather)
        return start, b"".join(chunks)


async def _packed(body: bytes) -> bytes:
    """An answer for this moment; a large one is compressed in a thread, lest it hold up everybody's socket."""
    return await asyncio.to_thread(gzip.compress, body, 4) if len(body) > LARGE_BYTES else gzip.compress(body, 4)


async def _answer(send: Send, start: Message, body: bytes) -> None:
    await send({**start, "headers": list(start["headers"])})
    await send({"type": "http.response.body", "body": body})


def _accepted(scope: Scope) -> str:
    return Headers(scope=scope).get("accept-encoding", "")
