"""The guard: runs one server and ends it when its owner is gone, however either of them dies.

    python -I -S guard.py OWNER RUN_DIR LOCK COMMAND...

A process of its own, because nothing inside a process survives `kill -9` of it; in its own session, so that Ctrl-C
reaches only the owner; with the standard library alone, so that it starts fast and imports nothing of the owner's.

- OWNER is the owner's process id. Standard input is a pipe that the owner holds: a byte asks to stop; its end, or
  another parent process than OWNER, means that the owner is gone. Both are watched, since children forked by the owner
  hold the pipe open, too.
- RUN_DIR is removed once the server has ended, if the owner is gone; otherwise it is the owner's.
- LOCK is an open file that the server inherits: what is locked stays so until the server itself has ended.
- Standard output gets one line, the server's process id. Standard error is the server's log.
- SIGTERM, SIGINT and SIGHUP end the server in good order.
- The exit status is the server's, or 128 + n if signal n ended it.

On Linux the server gets SIGTERM if the guard itself is killed. It is set from here and not from the owner because the
kernel ties it to the thread that started the process: the guard has only one. On macOS the owner sees to that case.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable

GRACE_S = 10.0
OWNER_CHECK_S = 1.0
STOPPING = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
STDIN, STDOUT, STDERR = 0, 1, 2
PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """Run the server until it, its owner or the owner's patience ends; return the exit status."""
    owner, run_dir, lock, command = int(arguments[0]), arguments[1], int(arguments[2]), arguments[3:]
    wake = wake_on(STOPPING | {signal.SIGCHLD})
    server = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=STDERR,
        pass_fds=(lock,),
        preexec_fn=end_with(os.getpid()),  # noqa: PLW1509  safe here: the guard has one thread
    )
    report(server.pid)
    abandoned = watch(server, owner, wake)
    end(server)
    if abandoned:
        shutil.rmtree(run_dir, ignore_errors=True)
    return server.returncode if server.returncode >= 0 else 128 - server.returncode


def wake_on(signals: set[signal.Signals]) -> int:
    """A file that becomes readable when one of the signals arrives; what is read are the signals' numbers."""
    # The owner's thread may have blocked or ignored some of them, and both are inherited.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in signals:
        signal.signal(number, lambda *_: None)
    return reader


def end_with(guard: int) -> Callable[[], None] | None:
    """What a child runs in order to end when the process `guard` ends; None where there is no such thing."""
    try:
        import ctypes

        prctl = ctypes.CDLL(None).prctl
    except (ImportError, OSError, AttributeError):
        return None

    def bind() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != guard:
            os._exit(1)

    return bind


def report(pid: int) -> None:
    """Tell the owner the server's process id, if there still is an owner."""
    with contextlib.suppress(BrokenPipeError):
        os.write(STDOUT, b"%d\n" % pid)
    os.close(STDOUT)


def watch(server: subprocess.Popen[bytes], owner: int, wake: int) -> bool:
    """Wait for a reason to end; True if it is that the owner is gone."""
    while server.poll() is None:
        if os.getppid() != owner:
            return True
        readable, _, _ = select.select([STDIN, wake], [], [], OWNER_CHECK_S)
        if STDIN in readable:
            return not os.read(STDIN, 1)
        if wake in readable and STOPPING & set(os.read(wake, 64)):
            return False
    return False


def end(server: subprocess.Popen[bytes]) -> None:
    """End the server in good order, or after a grace period by force."""
    if server.poll() is None:
        server.terminate()
    try:
        server.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
