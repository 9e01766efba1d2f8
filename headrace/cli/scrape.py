"""The newest frame for whoever scrapes it: Prometheus text over the smallest HTTP there is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from headrace.channels import FRAMES
from headrace.codec import decode
from headrace.errors import CodecError, SettingsError
from headrace.events import Frame

if TYPE_CHECKING:
    from headrace.bus import Bus

REQUEST_S = 5.0
HEADER_LINES = 100
TEXT = "text/plain; version=0.0.4; charset=utf-8"


class Newest:
    """Follows the frames of a bus between enter and exit, and tells the newest as Prometheus text."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._frame: Frame | None = None
        self._following: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Newest:
        self._following = asyncio.create_task(self._follow(), name="follow frames")
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._following:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)

    def text(self) -> str:
        """The newest frame in the text format; a comment before the first one."""
        from headrace.metrics import frame_metrics

        return frame_metrics(self._frame) if self._frame else "# no frame yet\n"

    async def _follow(self) -> None:
        async with self._bus.subscribe(FRAMES) as subscription:
            async for delivery in subscription:
                for entry in delivery.entries[-1:]:
                    with suppress(CodecError):
                        event = decode(entry.payload)
                        if isinstance(event, Frame):
                            self._frame = event


@asynccontextmanager
async def scraped(newest: Newest, host: str, port: int) -> AsyncIterator[str]:
    """Serve /metrics on an address while entered; gives the URL. Raises SettingsError if the address cannot be had."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, TimeoutError, ValueError):
            async with asyncio.timeout(REQUEST_S):
                path = await _path(reader)
                found = path in ("/metrics", "/healthz")
                body = newest.text() if path == "/metrics" else "up\n" if found else "see /metrics\n"
                writer.write(_response("200 OK" if found else "404 Not Found", body.encode()))
                await writer.drain()
        writer.close()

    try:
        server = await asyncio.start_server(answer, host, port)
    except (OSError, OverflowError) as error:
        raise SettingsError(
            f"cannot serve metrics on {host}:{port}: {error}; choose another with --metrics-port"
        ) from None
    async with server:
        yield f"http://{host}:{server.sockets[0].getsockname()[1]}/metrics"


async def _path(reader: asyncio.StreamReader) -> str:
    """The path of a GET request, empty for any other; the headers are read and left."""
    words = (await reader.readline()).split()
    for _ in range(HEADER_LINES):
        if not (await reader.readline()).strip():
            break
    return words[1].decode("ascii", "replace") if len(words) == 3 and words[0] == b"GET" else ""


def _response(status: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {TEXT}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body
