"""What C code prints, read as metrics while it prints: scikit-learn's liblinear, sag and saga with `verbose`.

    with tap(run, "liblinear"):
        LogisticRegression(solver="liblinear", verbose=1).fit(X, y)

The descriptor goes to a file for that time, not to a pipe: nothing ever waits for a reader, even if C code that prints
holds the interpreter. A thread reads the file, passes on what is new, unchanged, and reads its lines.
"""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from headrace.publisher.adapters.hook import Reporter, hook
from headrace.publisher.lines import LINE_CHARS, Pattern, reader
from headrace.publisher.run import Run

EVERY_S = 0.05
CHUNK_BYTES = 65_536


@contextmanager
def tap(run: Run, pattern: Pattern | str = "auto", *, descriptor: int = 1) -> Iterator[None]:
    """Within it, numbers that this process writes to `descriptor` are metrics of the run; one tap at a time.

    A value is called what it is: `objective` and `gradient` of liblinear, `change` of sag and saga.
    """
    lines = _Lines(run, reader(pattern))
    _flush()
    kept = os.dup(descriptor)
    with tempfile.TemporaryFile(buffering=0) as file:
        stop = threading.Event()
        thread = threading.Thread(target=_follow, args=(file.fileno(), kept, lines, stop), name="tap", daemon=True)
        os.dup2(file.fileno(), descriptor)
        thread.start()
        try:
            yield
        finally:
            _flush()
            os.dup2(kept, descriptor)
            stop.set()
            thread.join()
            os.close(kept)


class _Lines(Reporter):
    def __init__(self, run: Run, pattern: Pattern) -> None:
        super().__init__(run)
        self._pattern = pattern
        self._rest = b""

    @hook
    def take(self, chunk: bytes) -> None:
        *lines, self._rest = (self._rest + chunk).replace(b"\r", b"\n").split(b"\n")
        self._rest = self._rest[-LINE_CHARS:]
        for line in lines:
            if (found := self._pattern(line[:LINE_CHARS].decode(errors="replace"))) is not None:
                self.tell(found.metrics, found.step)


def _follow(file: int, kept: int, lines: _Lines, stop: threading.Event) -> None:
    at = 0
    while True:
        ending = stop.wait(EVERY_S)
        if not ending:
            _flush_c()  # what C code prints to a file lies in its buffer
        while chunk := os.pread(file, CHUNK_BYTES, at):
            at += len(chunk)
            rest = chunk
            with suppress(OSError):  # whoever read this may be gone
                while rest:
                    rest = rest[os.write(kept, rest) :]
            lines.take(chunk)
        if ending:
            lines.end()
            return


def _flush() -> None:
    with suppress(Exception):
        sys.stdout.flush()
    _flush_c()


def _flush_c() -> None:
    ctypes.CDLL(None).fflush(None)
