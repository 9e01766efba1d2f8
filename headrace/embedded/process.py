"""One guarded server process, from its birth to its end: the owner's side of `guard.py`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from headrace.embedded.guard import GRACE_S
from headrace.errors import EmbeddedError

GUARD = Path(__file__).with_name("guard.py")
END_TIMEOUT_S = GRACE_S + 5.0


class Guarded:
    """A server that ends when this process does, or when `end` is called.

    `held` is the descriptor of the locked file that guard and server inherit; `log` gets what both write; `run_dir` is
    removed by the guard if this process ends first. Raises `EmbeddedError` if the guard cannot be started.
    """

    def __init__(self, command: Sequence[str], run_dir: Path, held: int, log: Path) -> None:
        arguments = [str(os.getpid()), str(run_dir), str(held), *command]
        try:
            with log.open("ab") as said:
                self._guard = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(GUARD), *arguments],
                    bufsize=0,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=said,
                    pass_fds=(held,),
                    start_new_session=True,
                    cwd="/",
                )
        except OSError as error:
            raise EmbeddedError(
                f"cannot start the embedded server: {error}. Correct that, or set REDIS_URL to a server that is running"
            ) from error
        assert self._guard.stdout is not None
        with self._guard.stdout as reported:
            self.pid = int(reported.readline() or 0)
        self.guard_pid = self._guard.pid

    def poll(self) -> int | None:
        """None while it runs; else the exit status, 128 + n if signal n ended the server or the guard."""
        status = self._guard.poll()
        return 128 - status if status is not None and status < 0 else status

    def kill(self) -> None:
        """End the server by SIGKILL and return once it is gone."""
        if self._guard.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            self._guard.wait(END_TIMEOUT_S)

    def end(self) -> bool:
        """End the server in good order; False if the guard was killed, so that the server's end is not certain."""
        pipe = self._guard.stdin
        if pipe is not None and not pipe.closed:
            with suppress(OSError), pipe:
                pipe.write(b".")
        try:
            self._guard.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._guard.kill()
            self._guard.wait()
        return self._guard.returncode >= 0
