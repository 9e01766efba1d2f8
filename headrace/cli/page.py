"""The page as the command line sees it: does it answer, and can a browser be opened for it."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from contextlib import suppress

from headrace.cli.ports import HOST

POLL_S = 0.1
ANSWER_S = 2.0


async def until_ready(port: int, stop: asyncio.Event, timeout_s: float, host: str = HOST) -> bool:
    """Whether `/readyz` says 200 within the time; False, too, once `stop` is set."""
    from headrace.cli.process import within

    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while loop.time() < deadline:
        if await _ready(host, port):
            return True
        if await within(stop, POLL_S):
            return False
    return False


async def _ready(host: str, port: int) -> bool:
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(ANSWER_S):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(f"GET /readyz HTTP/1.1\r\nHost: {HOST}:{port}\r\nConnection: close\r\n\r\n".encode())
                status = await reader.readline()
                return b" 200 " in status
            finally:
                writer.close()
    return False


def open_browser(url: str) -> None:
    """Open the page where there is a display; never fails and never waits."""
    if sys.platform != "darwin" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return

    def show() -> None:
        import webbrowser

        with suppress(Exception):
            webbrowser.open(url)

    threading.Thread(target=show, name="browser", daemon=True).start()
