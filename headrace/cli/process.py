"""What every process of headrace has in common: a name, a log on standard error, waiting for the server, a clean end.

    12:00:01 scorer ready: digits@3 (0.8 s)

The first SIGTERM or SIGINT sets `stop`: what is in hand is finished, what is held is handed back, and the exit status
is 0. The second ends the process at once, as does `DRAIN_S` without an end.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headrace.errors import UnavailableError
from headrace.retry import Backoff

if TYPE_CHECKING:
    from headrace.bus import Bus
    from headrace.settings import Settings

DRAIN_S = 15.0
"""Shorter than the grace that supervisors and container engines give."""
ASK_AGAIN = Backoff(200, 5_000)
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
HOST_CHARS = 24


@dataclass(slots=True)
class Process:
    """One running process: its name, its connection and the event that ends it."""

    kind: str
    worker: str
    settings: Settings
    bus: Bus
    began_s: float
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    def ready(self, text: str) -> None:
        """Say that the process works now, and how long that took.

        What is loaded by then is no garbage: the collector, which would stop the process for tens of milliseconds now
        and then, leaves it alone from here on.
        """
        gc.collect()
        gc.freeze()
        self.say(f"ready: {text} ({time.monotonic() - self.began_s:.1f} s)")

    def say(self, text: str) -> None:
        """Write one line to the log."""
        _log.info("%s %s", self.kind, text)


Body = Callable[[Process], Awaitable[None]]

_log = logging.getLogger("headrace.cli")


def run(kind: str, settings: Settings, body: Body, *, wait: bool = True, name: str = "") -> None:
    """Run `body` as a process of this kind until it returns or is told to stop.

    `wait` waits for the server for ever; without it UnavailableError is raised at once.
    """
    one_thread()
    log_to_stderr()
    asyncio.run(_run(kind, settings, body, wait, name))


async def _run(kind: str, settings: Settings, body: Body, wait: bool, name: str) -> None:
    from headrace.bus import Bus

    async with Bus(settings) as bus:
        process = Process(kind, worker_name(name or kind), settings, bus, time.monotonic())
        with ending(process.stop, process.say):
            if await answering(bus, process.stop, process.say, wait=wait):
                await body(process)
    process.say("stopped")


async def answering(bus: Bus, stop: asyncio.Event, say: Callable[[str], None], *, wait: bool = True) -> bool:
    """Return True once the server answers, False if `stop` is set before. Says once that it waits.

    Raises UnavailableError if it must not `wait`, BusError if the server answers and refuses.
    """
    failures = 0
    while not stop.is_set():
        try:
            await bus.check()
        except UnavailableError as error:
            if not wait:
                raise
            failures += 1
            if failures == 1:
                say(f"waiting for {error.url}: {error.reason}")
            await within(stop, ASK_AGAIN.delay_ms(failures) / 1000)
            continue
        if failures:
            say(f"{bus.settings.shown_url} answers")
        return True
    return False


async def within(stop: asyncio.Event, seconds: float) -> bool:
    """Whether `stop` is set within so many seconds; returns as soon as it is."""
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return False
    return True


@contextmanager
def ending(stop: asyncio.Event, say: Callable[[str], None], drain_s: float | None = DRAIN_S) -> Iterator[None]:
    """Within it, the first SIGTERM, SIGINT or SIGHUP sets `stop`; the second, or `drain_s`, ends this process."""
    loop = asyncio.get_running_loop()
    told = False

    def end(number: int, frame: object) -> None:
        nonlocal told
        if told:
            os._exit(128 + number)
        told = True
        loop.call_soon_threadsafe(begin_to_end)

    def begin_to_end() -> None:
        stop.set()
        if drain_s is not None:
            loop.call_later(drain_s, give_up)

    def give_up() -> None:
        say(f"did not end within {drain_s:g} s; what it holds comes to another worker by claim")
        logging.shutdown()
        os._exit(1)

    # Plain handlers, not the loop's: HTTP servers replace these while they serve, end by themselves, and then pass on
    # what they got; the loop's would hear each signal twice.
    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup sets it
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def serving(process: Process, server: Awaitable[None]) -> None:
    """Run an HTTP server until it ends or the process is told to stop."""
    task = asyncio.ensure_future(server)
    stopping = asyncio.ensure_future(process.stop.wait())
    try:
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        else:
            task.result()
    finally:
        stopping.cancel()


def worker_name(kind: str) -> str:
    """A name that no other process has: kind, host, process id and four characters of chance."""
    host = socket.gethostname().partition(".")[0][:HOST_CHARS]
    return f"{kind}-{host}-{os.getpid()}-{secrets.token_hex(2)}"


def one_thread() -> None:
    """One BLAS or OpenMP thread a process, before numpy is imported: headrace scales by processes."""
    for variable in THREADS:
        os.environ.setdefault(variable, "1")


def log_to_stderr() -> None:
    """Log lines of headrace, and warnings of others, to standard error with the time of day."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", force=True
    )
    logging.getLogger("headrace").setLevel(logging.INFO)
    logging.raiseExceptions = False  # whoever read this log may be gone
