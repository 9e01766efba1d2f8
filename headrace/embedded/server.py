"""The embedded server as its owner sees it: directories, port, readiness, restart. Who ends whom: see `guard.py`."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from headrace.embedded.find import Binary, find_binary
from headrace.embedded.lock import locked, sign
from headrace.embedded.probe import ask, free_port
from headrace.embedded.process import END_TIMEOUT_S, Guarded
from headrace.embedded.settings import EmbeddedSettings
from headrace.errors import EmbeddedError

LOG_NAME = "server.log"
PORT_ATTEMPTS = 5
READY_POLL_S = 0.005
# A server whose owner has just died needs about a tenth of a second to end; whoever starts the next one waits for it.
LOCK_PATIENCE_S = 2.0
# The address of a unix socket holds 104 bytes on macOS and 108 on Linux.
SOCKET_PATH_BYTES = 100
# What every version writes to its log when it cannot have the port.
PORT_REFUSED = "Failed listening on port"
SHOWN_LOG_LINES = 8


class EmbeddedServer:
    """A server of our own on loopback that ends when this process does, even by `kill -9`.

    A context manager; `start` and `stop` do the same by hand. It answers once `start` or `restart` has returned;
    `poll` tells from any thread whether it still runs. A process forked from this one may use the server, but only
    this one can stop it. Everything except `start` and `stop` needs a started server. All errors are `EmbeddedError`.
    """

    def __init__(self, settings: EmbeddedSettings | None = None, binary: Binary | None = None) -> None:
        self.settings = settings or EmbeddedSettings()
        self._given = binary
        self._owner = os.getpid()
        self._launched: _Launched | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The server's address for any client: `redis://127.0.0.1:PORT/0`."""
        return self._running.url

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1, the same after every restart."""
        return self._running.port

    @property
    def socket_path(self) -> Path:
        """The server's unix socket, which only this user can open."""
        return self._running.socket_path

    @property
    def data_dir(self) -> Path:
        """Where the server keeps its log of writes."""
        return self._running.data_dir

    @property
    def log_path(self) -> Path:
        """What the server and its guard had to say."""
        return self._running.log_path

    @property
    def pid(self) -> int:
        """The process id of the server itself."""
        return self._running.process.pid

    @property
    def guard_pid(self) -> int:
        """The process id of the guard that owns the server."""
        return self._running.process.guard_pid

    def start(self) -> Self:
        """Start the server and return once it answers and has read the log of an earlier run.

        Raises `EmbeddedError`: no program, port or directory in use, directory not writable, or the server's own
        last words. Nothing is left behind then.
        """
        if self._launched is not None:
            raise EmbeddedError("this embedded server is started already; call restart(), or make another one")
        binary = self._given or find_binary()
        self._owner = os.getpid()
        run_dir = _private_dir()
        try:
            self._launched = _Launched(self.settings, binary, run_dir)
        except BaseException:
            shutil.rmtree(run_dir, ignore_errors=True)
            raise
        return self

    def stop(self) -> None:
        """End the server; a temporary data directory is removed. Harmless when repeated, or in a forked process."""
        if self._launched is not None and os.getpid() == self._owner:
            self._launched.end()
            shutil.rmtree(self._launched.run_dir, ignore_errors=True)
            self._launched = None

    def restart(self) -> None:
        """Start again with the same data and port, whether the server still runs, was killed or died.

        Raises `EmbeddedError` as `start` does; `restart` may then be tried again.
        """
        self._running.end()
        self._running.launch(self.settings.timeout_s)

    def kill(self) -> None:
        """End the server by SIGKILL, as a crash would, and return once it is gone; `restart` brings it back."""
        self._running.process.kill()

    def poll(self) -> int | None:
        """None while the server runs; else its exit status, 128 + n if signal n ended it or its guard."""
        return self._running.process.poll()

    def describe(self) -> str:
        """What runs where, in one line to print at start: product, version, source, address, data, durability."""
        running, settings = self._running, self.settings
        return (
            f"{running.binary.describe()} at {running.url}, process {self.pid}, data in {running.data_dir} "
            f"({'kept' if settings.data_dir else 'temporary'}), appendfsync {settings.appendfsync}"
        )

    @property
    def _running(self) -> _Launched:
        if self._launched is None:
            raise EmbeddedError("this embedded server is not started; call start(), or enter it with `with`")
        return self._launched


class _Launched:
    """A started server: what stays the same over restarts, and its present process."""

    def __init__(self, settings: EmbeddedSettings, binary: Binary, run_dir: Path) -> None:
        self.settings = settings
        self.binary = binary
        self.run_dir = run_dir
        self.data_dir = settings.data_dir.expanduser().resolve() if settings.data_dir else run_dir / "data"
        self.log_path = self.data_dir / LOG_NAME
        self.socket_path = run_dir / "socket"
        self.port = settings.port
        self.process: Guarded
        _make_dir(self.data_dir)
        self.launch(LOCK_PATIENCE_S)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def launch(self, patience_s: float) -> None:
        """Start a process and wait until it answers; another free port is tried if somebody takes the first."""
        with locked(self.data_dir, patience_s) as held:
            _clear(self.data_dir)
            attempts = 1 if self.port else PORT_ATTEMPTS
            while True:
                attempts -= 1
                port = self.port or free_port()
                said_before_bytes = self.log_path.stat().st_size if self.log_path.exists() else 0
                failure = self._try(port, held)
                if failure is None:
                    self.port = port
                    processes = f"process {self.process.pid}, started by process {os.getpid()}"
                    sign(held, f"the server at {self.url} ({processes})")
                    return
                said = _last_lines(self.log_path, said_before_bytes)
                refused = any(PORT_REFUSED in line for line in said)
                if refused and attempts:
                    continue
                raise EmbeddedError(_port_text(port, said) if refused else self._failure_text(failure, said))

    def end(self) -> None:
        """End the process and return once nothing writes to the data directory any more."""
        if self.process.end():
            return
        # The guard was killed. On Linux the server is ending already; elsewhere nobody has told it.
        ask(self.socket_path, b"SHUTDOWN")
        with suppress(EmbeddedError), locked(self.data_dir, END_TIMEOUT_S):
            pass

    def _try(self, port: int, held: int) -> str | None:
        """Start a process; None once it answers, else why it does not, after it has ended."""
        self.process = Guarded(self._command(port), self.run_dir, held, self.log_path)
        try:
            failure = self._await_answer()
        except BaseException:
            self.process.end()
            raise
        if failure is not None:
            self.process.end()
        return failure

    def _await_answer(self) -> str | None:
        timeout_s = self.settings.timeout_s
        deadline = time.monotonic() + timeout_s
        while (status := self.process.poll()) is None:
            reply = ask(self.socket_path, b"PING")
            if reply.startswith(b"+PONG"):
                return None
            if reply.startswith(b"-LOADING"):
                deadline = time.monotonic() + timeout_s
            elif time.monotonic() >= deadline:
                return f"did not answer within {timeout_s:g} s"
            time.sleep(READY_POLL_S)
        return f"ended with status {status} instead of answering"

    def _command(self, port: int) -> Sequence[str]:
        options = {
            "bind": "127.0.0.1",
            "port": str(port),
            "unixsocket": str(self.socket_path),
            "unixsocketperm": "700",
            "dir": str(self.data_dir),
            "logfile": str(self.log_path),
            "save": "",
            "appendonly": "yes",
            "appendfsync": self.settings.appendfsync,
            "maxmemory": str(self.settings.maxmemory_bytes),
            "maxmemory-policy": "noeviction",
        }
        return [str(self.binary.path), *(part for name, value in options.items() for part in (f"--{name}", value))]

    def _failure_text(self, failure: str, said: Sequence[str]) -> str:
        return "\n".join(
            [
                f"the embedded server, {self.binary.describe()}, {failure}",
                *(f"  it said: {line}" for line in said or ["nothing"]),
                f"  fix: correct that, choose another data directory than {self.data_dir}, "
                "or set REDIS_URL to a server that is running",
            ]
        )


def _private_dir() -> Path:
    """A new directory of this user alone, with a path short enough for a unix socket in it."""
    path = Path(tempfile.mkdtemp(prefix="headrace-"))
    if len(os.fsencode(path / "socket")) > SOCKET_PATH_BYTES:
        path.rmdir()
        path = Path(tempfile.mkdtemp(prefix="headrace-", dir="/tmp"))
    return path


def _make_dir(data_dir: Path) -> None:
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EmbeddedError(
            f"cannot make the data directory {data_dir}: {error.strerror}. Choose another, or correct its permissions"
        ) from error


def _clear(data_dir: Path) -> None:
    """Remove what servers killed in the middle of rewriting their log have left; nobody else ever would."""
    for half_written in data_dir.glob("temp-rewriteaof-*.aof"):
        half_written.unlink(missing_ok=True)


def _last_lines(log: Path, start: int) -> list[str]:
    """The last lines that were written to the log after its first `start` bytes."""
    with log.open("rb") as file:
        file.seek(start)
        return file.read().decode(errors="replace").splitlines()[-SHOWN_LOG_LINES:]


def _port_text(port: int, said: Sequence[str]) -> str:
    if ask(port, b"PING").startswith((b"+PONG", b"-NOAUTH", b"-LOADING", b"-DENIED")):
        return (
            f"port {port} is in use by another Redis or Valkey server: set REDIS_URL=redis://127.0.0.1:{port}/0 to use "
            "that one, or choose another port (0 for a free one)"
        )
    reasons = [line.rpartition("bind: ")[2] for line in said if "bind: " in line]
    reason = reasons[-1] if reasons else "the server cannot listen on it"
    return f"port {port} cannot be used: {reason}. Choose another port (0 for a free one), or end what uses it"
