"""The end of a process, and its forks, as publishers see them.

A child of a fork begins anew: it shares no thread, lock, buffer or connection with its parent. When a process ends,
its publishers are closed: also in the children of multiprocessing, which end without atexit.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

FORK_S = 3.0
"""How long a fork waits for the client to be loaded."""


class Watched(Protocol):
    """What must know of forks and of the end of its process."""

    closed: bool

    def begin(self) -> None:
        """This is another process: forget everything."""

    def crash(self) -> None:
        """The process ends."""


class _Process:
    """What is known of the process this runs in."""

    def __init__(self) -> None:
        self.loading = threading.RLock()
        self.fork_waited = False
        self.registered = False


_watched: weakref.WeakSet[Watched] = weakref.WeakSet()
_process = _Process()


def watch(publisher: Watched) -> None:
    """Tell this one of forks and of the end of the process, for as long as it lives."""
    _watched.add(publisher)


@contextmanager
def loading() -> Iterator[None]:
    """Held while modules may be loaded in the background: a fork waits for it.

    A child would inherit a module half loaded, and locked by a thread that it does not have.
    """
    with _process.loading:
        yield


def at_exit() -> None:
    """See to it that the publishers of this process are closed at its end; harmless when repeated."""
    if _process.registered:
        return
    _process.registered = True
    pid = os.getpid()
    atexit.register(_end, pid)
    multiprocessing = sys.modules.get("multiprocessing.process")
    if multiprocessing is not None and multiprocessing.parent_process() is not None:
        from multiprocessing.util import Finalize

        Finalize(None, _end, args=(pid,), exitpriority=100)


def _end(pid: int) -> None:
    if os.getpid() == pid:
        for publisher in list(_watched):
            publisher.crash()


def _before_fork() -> None:
    _process.fork_waited = _process.loading.acquire(timeout=FORK_S)


def _after_fork_in_parent() -> None:
    if _process.fork_waited:
        _process.loading.release()


def _after_fork_in_child() -> None:
    global _process  # noqa: PLW0603 - another process
    _process = _Process()
    for publisher in list(_watched):
        if not publisher.closed:
            publisher.begin()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
