"""The smallest HTTP client that can press a server: kept connections, one POST at a time on each.

Standard library only: it runs in the peers' environments too, so that every server is asked by the same program.
"""

from __future__ import annotations

import asyncio

Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Web:
    """One path of one server, over as many connections as there are requests under way. A context manager."""

    def __init__(self, port: int, path: str) -> None:
        self._port = port
        self._head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: "
        self._idle: list[Pair] = []

    async def __aenter__(self) -> Web:
        return self

    async def __aexit__(self, *error: object) -> None:
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()

    async def post(self, body: bytes) -> bytes:
        """The body of the answer. Raises OSError unless it is one of success."""
        pair = self._kept() or await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = pair
        try:
            writer.write(f"{self._head}{len(body)}\r\n\r\n".encode() + body)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            answer = await _body(reader, head)
        except BaseException:
            writer.close()
            raise
        self._idle.append(pair)
        if not head.startswith(b"http/1.1 2"):
            raise OSError(f"{head.split(maxsplit=2)[1].decode()}: {answer[:200]!r}")
        return answer

    def _kept(self) -> Pair | None:
        """A connection that stands; servers end those that nobody used for some seconds."""
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()
        return None


async def _body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
    if length:
        return await reader.readexactly(int(length))
    parts = []
    while size := int(await reader.readline(), 16):
        parts.append(await reader.readexactly(size))
        await reader.readline()
    await reader.readline()
    return b"".join(parts)
