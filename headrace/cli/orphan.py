"""How a child of `headrace demo` and `headrace up` notices that its parent is gone, even by `kill -9`.

The parent holds the writing end of a pipe that no child inherits; every child reads the other end. When the parent
ends, however it does, the pipe ends. Nothing here depends on the operating system or on which thread started the child.
"""

from __future__ import annotations

import os
import signal
import threading
import time

PARENT_FD = "HEADRACE_PARENT_FD"
GRACE_S = 3.0
"""How long an orphan may take to end in good order; its server has probably gone, too."""


def end_with_parent() -> None:
    """Send this process SIGTERM when its parent has gone, and end it soon after. Does nothing without a parent."""
    named = os.environ.pop(PARENT_FD, "")
    if not named.isdigit():
        return
    descriptor = int(named)
    try:
        os.set_inheritable(descriptor, False)
    except OSError:
        return
    threading.Thread(target=_watch, args=(descriptor,), name="watch parent", daemon=True).start()


def _watch(descriptor: int) -> None:
    while os.read(descriptor, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os._exit(128 + signal.SIGTERM)
