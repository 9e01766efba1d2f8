"""The server's password is nowhere to be seen: not in output, logs, errors, events, keys, or lists of processes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from headrace.cli.crew import Crew
from headrace.embedded import EmbeddedServer
from headrace.testing import wait_until, wait_until_sync

PASSWORD = "correct-horse-battery-staple"
KINDS = ("scorer", "aggregator", "gateway", "dashboard")


@pytest.fixture
def url(own_server: EmbeddedServer) -> str:
    """A server whose only user has a password."""
    with redis.Redis.from_url(own_server.url) as client:
        client.execute_command("ACL", "SETUSER", "guarded", "reset", "on", f">{PASSWORD}", "~*", "&*", "+@all")
        client.execute_command("ACL", "SETUSER", "default", "off")
    return f"redis://guarded:{PASSWORD}@127.0.0.1:{own_server.port}/0"


@pytest.fixture
def environ(url: str, tmp_path: Path) -> dict[str, str]:
    return os.environ | {"REDIS_URL": url, "HEADRACE_MODELS": str(tmp_path / "models"), "HEADRACE_DEBUG": "1"}


@pytest.fixture
def running(environ: dict[str, str], tmp_path: Path) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """One process of each kind, its output in a file of its own."""
    more = {"gateway": ["--port", "0"], "dashboard": ["--port", "0"]}
    started: dict[str, subprocess.Popen[bytes]] = {}
    for kind in KINDS:
        with (tmp_path / f"{kind}.log").open("wb") as log:
            command = [sys.executable, "-m", "headrace", kind, *more.get(kind, [])]
            started[kind] = subprocess.Popen(command, env=environ, stdout=log, stderr=subprocess.STDOUT)
    yield started
    for process in started.values():
        process.kill()
        process.wait()


def said(environ: dict[str, str], *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "headrace", *words], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout + done.stderr


def everything(client: Any) -> Iterator[bytes]:
    """Every key of the server and what it holds."""
    for key in client.scan_iter("*"):
        yield key
        yield client.dump(key) or b""
        if client.type(key) == b"stream":
            yield from (value for _, fields in client.xrange(key) for value in fields.values())


def test_the_password_is_nowhere_to_be_seen(
    own_server: EmbeddedServer,
    url: str,
    environ: dict[str, str],
    running: dict[str, subprocess.Popen[bytes]],
    tmp_path: Path,
) -> None:
    with redis.Redis.from_url(url) as client:
        wait_until_sync(lambda: client.xlen("headrace:{0}:frames:log") > 2, 60, "frames")
        wait_until_sync(lambda: client.xlen("headrace:{0}:workers:log") >= 3, 60, "signs of life")
        texts = {f"headrace {word}": said(environ, word) for word in ("status", "doctor", "audit")}
        for process in running.values():
            command = Path(f"/proc/{process.pid}/cmdline")
            if command.exists():
                texts[f"the command line of {process.args!r}"] = command.read_bytes().decode()
        page = wait_until_sync(partial(address, tmp_path), 60, "the dashboard to say where it is")
        texts |= {
            path or "the page": httpx.get(f"{page}{path}").text for path in ("", "/api/frame", "/healthz", "/metrics")
        }
        kept = b"\0".join(everything(client))

    own_server.kill()
    wrong = environ | {"REDIS_URL": url.replace(PASSWORD, f"{PASSWORD}-wrong")}
    texts["headrace status without a server"] = said(environ, "status")
    until = time.monotonic() + 60
    while not all(b"UnavailableError" in log(tmp_path, kind) or b"answers" in log(tmp_path, kind) for kind in KINDS):
        if time.monotonic() > until or all(process.poll() is not None for process in running.values()):
            break
        time.sleep(0.05)
    own_server.restart()
    with redis.Redis.from_url(own_server.url) as client:
        client.execute_command("ACL", "SETUSER", "guarded", "reset", "on", f">{PASSWORD}", "~*", "&*", "+@all")
    for word in ("status", "doctor"):
        texts[f"headrace {word} with a wrong password"] = said(wrong, word)
    texts |= {f"the log of the {kind}": log(tmp_path, kind).decode() for kind in KINDS}

    assert "refuses this user" in texts["headrace status with a wrong password"]
    for what, text in texts.items():
        assert PASSWORD not in text, f"{what} shows the password"
        assert text, f"{what} is empty, which proves nothing"
    assert PASSWORD.encode() not in kept


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
async def test_a_member_of_a_crew_holds_the_secrets_of_its_own_work_only(tmp_path: Path) -> None:
    secrets = {
        "HEADRACE_OPERATOR_PASSWORD": "dashboard",
        "HEADRACE_VIEWER_PASSWORD_FILE": "dashboard",
        "HEADRACE_GATEWAY_TOKEN": "gateway",
        "HEADRACE_ALERT_WEBHOOK": "aggregator",
    }
    environ = os.environ | dict.fromkeys(secrets, "http://127.0.0.1/one-of-chance")
    environ |= {"HEADRACE_VIEWER_PASSWORD_FILE": str(tmp_path / "viewer"), "REDIS_URL": "redis://127.0.0.1:1"}
    async with Crew(environ, lambda line: None) as crew:
        for command in ("dashboard", "gateway", "aggregator", "scorer", "traffic"):
            member = crew.start(command, command)  # waits for its server
            child = await wait_until(partial(getattr, member, "child"), description="the child to be there")
            held = environment_of(child.pid)
            assert "REDIS_URL" in held
            assert {name for name in secrets if f"{name}=" in held} == {
                name for name, owner in secrets.items() if owner == command
            }


def environment_of(pid: int) -> str:
    return Path(f"/proc/{pid}/environ").read_bytes().decode()


def address(folder: Path) -> str:
    """Where the dashboard is; empty before it says so."""
    found = re.search(rb"http://127[.]0[.]0[.]1:[0-9]+", log(folder, "dashboard"))
    return found[0].decode() if found else ""


def log(folder: Path, kind: str) -> bytes:
    return (folder / f"{kind}.log").read_bytes()
