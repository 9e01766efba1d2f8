"""A TCP proxy in this process, between clients and the server, that does what networks do."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from types import TracebackType
from typing import Self

CHUNK = 64 * 1024


class Proxy:
    """Forwards connections to `port`; its faults hit all that are open, and new ones where they last."""

    def __init__(self, port: int, draw: random.Random) -> None:
        self._target, self._draw = port, draw
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.delay_s = 0.0
        self.reply_delay_s = 0.0
        """Commands arrive at once, their answers late."""
        self.drip = False
        """One byte at a time."""
        self._hearing = asyncio.Event()
        self._hearing.set()
        self._cut_after: int | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        self.cut()

    @property
    def port(self) -> int:
        assert self._server is not None
        found: int = self._server.sockets[0].getsockname()[1]
        return found

    @property
    def deaf(self) -> bool:
        """Half-open: nothing gets through, and nobody is told."""
        return not self._hearing.is_set()

    @deaf.setter
    def deaf(self, deaf: bool) -> None:
        if deaf:
            self._hearing.clear()
        else:
            self._hearing.set()

    def cut(self) -> None:
        """End every connection now, between commands or in one."""
        for writer in list(self._writers):
            if writer.transport is not None:
                writer.transport.abort()

    def cut_within(self, most: int = 4_000) -> None:
        """End every connection after so many bytes more: in the middle of a command, or of its answer."""
        self._cut_after = self._draw.randrange(1, most)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream, downstream = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        self._writers |= {writer, downstream}
        tasks = [
            asyncio.create_task(self._pump(reader, downstream)),
            asyncio.create_task(self._pump(upstream, writer, replies=True)),
        ]
        self._open.update(tasks)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._open.difference_update(tasks)
            for end in (writer, downstream):
                self._writers.discard(end)
                end.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, replies: bool = False) -> None:
        with suppress(OSError):
            while received := await source.read(CHUNK):
                await self._hearing.wait()
                if delay_s := self.delay_s + (self.reply_delay_s if replies else 0.0):
                    await asyncio.sleep(delay_s)
                if self._cut_after is not None:
                    if len(received) >= self._cut_after:
                        sink.write(received[: self._cut_after])
                        self._cut_after = None
                        self.cut()
                        return
                    self._cut_after -= len(received)
                if self.drip and len(received) < 2_000:
                    for at in range(len(received)):
                        sink.write(received[at : at + 1])
                        await sink.drain()
                else:
                    sink.write(received)
                    await sink.drain()
