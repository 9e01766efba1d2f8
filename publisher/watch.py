"""Any program as a run: started here, its output passed on as it is and read for metrics, its end judged.

    program ──> pipe, or pseudo-terminal where ours is a terminal ──┬──> our own output, byte for byte
                                                                    └──> lines ──> pattern ──> run

Rules: the program has our input, its signals reach it, and our exit status is its own. What becomes of the run, or of
the server, changes nothing for it.
"""

from __future__ import annotations

import fcntl
import os
import pty
import selectors
import signal
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from headrace.publisher.adapters.hook import Reporter, hook
from headrace.publisher.lines import LINE_CHARS, Pattern
from headrace.publisher.run import Run

CHUNK_BYTES = 65_536
LINES = 500
"""Lines of one chunk that are read for metrics; a program that prints more has the others passed on only."""
LAST_WORDS_S = 1.0
"""How long after the end of a program its output is still passed on if children of it hold it open."""
LOOK_S = 0.2
HOST_S = 2.0
"""Time between two readings of the machine's load."""
ERROR_CHARS = 500
PASSED = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
TYPED = (signal.SIGINT, signal.SIGQUIT)
"""What a terminal sends to the whole foreground by itself."""
NOT_FOUND, NOT_STARTED = 127, 126

Load = Callable[[], Mapping[str, float]]
"""Reads the load of the machine and of the program."""


def watch(command: Sequence[str], run: Run, pattern: Pattern, *, load: Callable[[int], Load] | None = None) -> int:
    """Run the command to its end, as this run: its exit status, as shells give it (128 + N for signal N).

    `load` makes a reader of the load for a process id.
    """
    teller = _Teller(run, pattern)
    streams = [_Stream(1), _Stream(2)]
    try:
        child = subprocess.Popen(
            command,
            stdout=streams[0].theirs,
            stderr=streams[1].theirs,
            # A program that writes to a pipe keeps its output for a while; Python ones need not.
            env={"PYTHONUNBUFFERED": "1", **os.environ},
        )
    except OSError as error:
        for stream in streams:
            stream.close()
        run.finish("failed", f"{command[0]} cannot be started: {error.strerror}")
        raise
    for stream in streams:
        os.close(stream.theirs)
    with _passed_on(child, streams):
        _follow(child, streams, teller, load(child.pid) if load else None)
    status = child.wait()
    for stream in streams:
        stream.close()
    teller.end()
    words = streams[1].last.decode(errors="replace").strip()[-ERROR_CHARS:]
    if status < 0:
        run.finish("crashed", f"ended by {_signal_name(-status)}" + (f": {words}" if words else ""))
        return 128 - status
    run.finish("failed" if status else "finished", f"exit status {status}: {words}".strip(": ") if status else "")
    return status


class _Stream:
    """One stream of the program: what it writes to `theirs` comes out of `ours`, and goes on to `descriptor`."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.is_terminal = os.isatty(descriptor)
        self.ours, self.theirs = pty.openpty() if self.is_terminal else os.pipe()
        self.open = True
        self.rest = b""
        self.last = b""
        """The last line that was not empty."""
        if self.is_terminal:
            modes = termios.tcgetattr(descriptor)
            modes[1] &= ~termios.OPOST  # the real terminal does that
            termios.tcsetattr(self.theirs, termios.TCSANOW, modes)
            self.resize()

    def resize(self) -> None:
        """Give the program's terminal the size of ours."""
        with suppress(OSError):
            size = fcntl.ioctl(self.descriptor, termios.TIOCGWINSZ, bytes(8))
            fcntl.ioctl(self.ours, termios.TIOCSWINSZ, size)

    def read(self) -> list[bytes]:
        """Pass on what there is; the lines that were completed. Closes at the end of either side."""
        try:
            chunk = os.read(self.ours, CHUNK_BYTES)
        except OSError:  # so a pseudo-terminal says that nobody holds its other end any more
            chunk = b""
        if not chunk:
            self.close()
            return []
        try:
            left = chunk
            while left:
                left = left[os.write(self.descriptor, left) :]
        except OSError:  # nobody reads our output any more: the program is told as it would be without us
            self.close()
        *lines, self.rest = (self.rest + chunk).replace(b"\r", b"\n").split(b"\n")
        self.rest = self.rest[-LINE_CHARS:]
        self.last = next((line for line in reversed(lines) if line.strip()), self.last)
        return lines

    def close(self) -> None:
        if self.open:
            self.open = False
            os.close(self.ours)


class _Teller(Reporter):
    """What the program prints and how the machine is, told to the run."""

    def __init__(self, run: Run, pattern: Pattern) -> None:
        super().__init__(run)
        self._pattern = pattern
        self._step: int | None = None
        self._readings = 0

    @hook
    def read(self, lines: list[bytes]) -> None:
        self.left_out += max(0, len(lines) - LINES)
        for line in lines[-LINES:]:
            if (found := self._pattern(line[:LINE_CHARS].decode(errors="replace"))) is not None:
                self._step = found.step if found.step is not None else (self._step or 0) + 1
                self.tell(found.metrics, self._step)

    @hook
    def load(self, load: Load) -> None:
        """The machine's load, at the step that the program is at; by number as long as it has named none."""
        self._readings += 1
        self.tell(load(), self._readings if self._step is None else self._step, keep=True)


def _follow(child: subprocess.Popen[bytes], streams: list[_Stream], teller: _Teller, load: Load | None) -> None:
    """Pass on and read until the program ended and its streams did, or for `LAST_WORDS_S` after its end."""
    with selectors.DefaultSelector() as selector:
        for stream in streams:
            selector.register(stream.ours, selectors.EVENT_READ, stream)
        ended_s: float | None = None
        load_s = 0.0
        while selector.get_map():
            for key, _ in selector.select(LOOK_S):
                stream = key.data
                lines = stream.read()
                if not stream.open:
                    selector.unregister(key.fd)
                if lines:
                    teller.read(lines)
            now_s = time.monotonic()
            if load is not None and now_s >= load_s and child.poll() is None:
                load_s = now_s + HOST_S
                teller.load(load)
            if ended_s is None and child.poll() is not None:
                ended_s = now_s
            if ended_s is not None and now_s - ended_s > LAST_WORDS_S:
                return
    while child.poll() is None:  # it closed its output, and goes on
        with suppress(subprocess.TimeoutExpired):
            child.wait(HOST_S)
        if load is not None and child.poll() is None:
            teller.load(load)


@contextmanager
def _passed_on(child: subprocess.Popen[bytes], streams: list[_Stream]) -> Iterator[None]:
    """Within it, signals that this process gets reach the program. Those typed at a terminal reach it by themselves."""
    has_terminal = _in_foreground()

    def pass_on(number: int, frame: Any) -> None:
        if not (has_terminal and number in TYPED):
            with suppress(ProcessLookupError):
                child.send_signal(number)

    def resize(number: int, frame: Any) -> None:
        for stream in streams:
            if stream.is_terminal and stream.open:
                stream.resize()

    handlers: dict[int, Any] = dict.fromkeys(PASSED, pass_on) | {signal.SIGWINCH: resize}
    before = {
        number: signal.signal(number, handler)
        for number, handler in handlers.items()
        if signal.getsignal(number) is not signal.SIG_IGN  # as nohup sets it, for the program too
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _in_foreground() -> bool:
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
