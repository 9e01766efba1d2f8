"""Every process as the command that starts it: ready, told to end, killed, restarted, orphaned."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import psutil
import pytest

from headrace.audit import audit
from headrace.bus import Bus, GroupState
from headrace.channels import REQUESTS, SCORERS
from headrace.embedded import EmbeddedServer, EmbeddedSettings
from headrace.embedded.probe import free_port
from headrace.events import PredictionRequested, stamped
from headrace.models.registry import Registry
from headrace.models.training import train
from headrace.settings import Settings
from headrace.testing import wait_until_sync

pytestmark = [pytest.mark.server, pytest.mark.slow]

T = TypeVar("T")
START_S = 30.0
REQUESTS_SENT = 20_000
SHIPPED = ("digits", "breast_cancer", "diabetes")


@dataclass
class Command:
    """A running `headrace ...`; its lines are read while it runs."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    def read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def said(self, pattern: str, times: int = 1, timeout_s: float = START_S) -> re.Match[str]:
        """Wait until `times` lines match: the last of them."""

        def matching() -> list[re.Match[str]]:
            found = [match for line in list(self.lines) if (match := re.search(pattern, line))]
            return found if len(found) >= times else []

        return wait_until_sync(matching, timeout_s, lambda: f"{pattern!r} in {self.lines}")[-1]

    def end(self, number: signal.Signals = signal.SIGTERM, timeout_s: float = 25.0) -> int:
        """Send a signal and wait: the exit status."""
        self.process.send_signal(number)
        return self.process.wait(timeout_s)


@contextmanager
def headrace(*words: str, environ: dict[str, str]) -> Iterator[Command]:
    """Start `headrace WORDS` with exactly these settings in its environment."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HEADRACE_", "REDIS_"))}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "headrace", *words],
        env={**kept, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    command = Command(process)
    reader = threading.Thread(target=command.read, daemon=True)
    reader.start()
    try:
        yield command
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)
        reader.join(10)
        if process.stdout:
            process.stdout.close()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with the shipped models in service."""
    registry = Registry(tmp_path_factory.mktemp("models"))
    for name in SHIPPED:
        trained = train(name)
        registry.promote(name, registry.save(trained.estimator, trained.card).version)
    return registry.folder


@pytest.fixture
def settings(server_settings: Settings, models: Path) -> Settings:
    return server_settings.with_(models=models)


@pytest.fixture
def environ(settings: Settings, tmp_path: Path) -> dict[str, str]:
    return environment(settings, tmp_path)


def environment(settings: Settings, home: Path) -> dict[str, str]:
    return {
        "REDIS_URL": settings.redis_url,
        "HEADRACE_PREFIX": settings.prefix,
        "HEADRACE_MODELS": str(settings.models),
        "HEADRACE_SPILL": str(home / "spill"),
        "HOME": str(home),
    }


def on_bus(settings: Settings, question: Callable[[Bus], Awaitable[T]]) -> T:
    async def asked() -> T:
        async with Bus(settings) as bus:
            return await question(bus)

    return asyncio.run(asked())


def send_requests(settings: Settings, count: int) -> None:
    events = [stamped(PredictionRequested(model="digits", inputs=[[float(n % 16)] * 64]), "test") for n in range(count)]

    async def publish(bus: Bus) -> None:
        for start in range(0, count, 1000):
            await bus.publish(REQUESTS, events[start : start + 1000])

    on_bus(settings, publish)


def scorers(settings: Settings) -> GroupState:
    async def state(bus: Bus) -> GroupState:
        [found] = [group for group in await bus.groups(REQUESTS) if group.name == SCORERS]
        return found

    return on_bus(settings, state)


def test_a_scorer_told_to_end_in_the_middle_commits_what_it_holds_and_exits_0(
    settings: Settings, environ: dict[str, str]
) -> None:
    with headrace("scorer", environ=environ) as scorer:
        scorer.said(r"scorer ready: breast_cancer@1, diabetes@1, digits@1 \(")
        send_requests(settings, REQUESTS_SENT)
        wait_until_sync(lambda: scorers(settings).lag < REQUESTS_SENT - 500, START_S)
        assert scorer.end() == 0
        scorer.said("scorer stopped")

    left = scorers(settings)
    assert left.in_flight == 0, "what it held was neither committed nor handed back"
    books = on_bus(settings, audit)
    assert books.balanced, books.text()
    assert books.scored + books.waiting == REQUESTS_SENT


def test_burst_scores_what_is_waiting_and_ends(settings: Settings, environ: dict[str, str]) -> None:
    send_requests(settings, 1_000)
    with headrace("scorer", "--burst", environ=environ) as scorer:
        assert scorer.process.wait(START_S) == 0
    books = on_bus(settings, audit)
    assert (books.scored, books.waiting) == (1_000, 0)


def test_a_process_waits_for_its_server_and_works_when_it_comes(models: Path, tmp_path: Path) -> None:
    port = free_port()
    settings = Settings(redis_url=f"redis://127.0.0.1:{port}/0", models=models)
    with headrace("scorer", environ=environment(settings, tmp_path)) as scorer:
        scorer.said(rf"scorer waiting for redis://127\.0\.0\.1:{port}/0: ")
        with EmbeddedServer(EmbeddedSettings(port=port)):
            scorer.said("scorer ready")
            assert sum("waiting for" in line for line in scorer.lines) == 1
            send_requests(settings, 1)
            wait_until_sync(lambda: on_bus(settings, audit).scored == 1, START_S)
            assert scorer.end() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_that_waits_for_its_server_can_be_ended(tmp_path: Path, number: signal.Signals) -> None:
    settings = Settings(redis_url=f"redis://127.0.0.1:{free_port()}/0")
    with headrace("aggregator", environ=environment(settings, tmp_path)) as aggregator:
        aggregator.said("waiting for")
        assert aggregator.end(number) == 0


def test_without_waiting_a_missing_server_is_one_clear_line(tmp_path: Path) -> None:
    settings = Settings(redis_url=f"redis://127.0.0.1:{free_port()}/0")
    with headrace("scorer", "--no-wait", environ=environment(settings, tmp_path)) as scorer:
        assert scorer.process.wait(START_S) == 1
    [line] = scorer.lines
    assert line.startswith("headrace: no Redis or Valkey server answers at redis://127.0.0.1:")
    assert "headrace demo" in line


@pytest.mark.parametrize("kind", ["dashboard", "gateway"])
def test_an_http_process_serves_and_ends_with_status_0(kind: str, environ: dict[str, str]) -> None:
    with headrace(kind, "--port", "0", environ=environ) as process:
        url = process.said(rf"{kind} ready: (http://127\.0\.0\.1:\d+)")[1]
        with urllib.request.urlopen(f"{url}/healthz", timeout=5) as answer:
            assert answer.status == 200
        assert process.end() == 0
        process.said(f"{kind} stopped")


def test_the_newest_frame_can_be_scraped_from_aggregator_and_dashboard(environ: dict[str, str]) -> None:
    with (
        headrace("aggregator", "--metrics-port", "0", environ=environ) as aggregator,
        headrace("dashboard", "--port", "0", environ=environ) as dashboard,
    ):
        urls = [
            aggregator.said(r"aggregator metrics: (http://\S+)")[1],
            dashboard.said(r"dashboard ready: (http://127\.0\.0\.1:\d+)")[1] + "/metrics",
        ]
        for url in urls:
            wait_until_sync(partial(shows_a_frame, url), START_S, f"a frame at {url}")
        assert aggregator.end() == 0
        assert dashboard.end() == 0


def shows_a_frame(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            text: str = answer.read().decode()
    except urllib.error.HTTPError as error:
        if error.code != 503:
            raise
        return False  # the dashboard: no frame has come yet
    return "messaging_" in text and "headrace_frame_age_seconds" in text


@pytest.mark.parametrize("kind", ["dashboard", "gateway"])
def test_a_port_in_use_is_one_clear_line(kind: str, environ: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with headrace(kind, "--port", str(port), environ=environ) as process:
            assert process.process.wait(START_S) == 1
    error = [line for line in process.lines if line.startswith("headrace: ")]
    assert len(error) == 1
    assert str(port) in error[0]
    assert "in use" in error[0]
    assert not any("Traceback" in line for line in process.lines)


def test_the_server_command_keeps_its_data_through_kill_9_of_the_server(tmp_path: Path) -> None:
    words = ("server", "--port", "0", "--data-dir", str(tmp_path / "data"))
    with headrace(*words, environ={"HOME": str(tmp_path)}) as command:
        url = command.said(r"^export REDIS_URL=(\S+)")[1]
        settings = Settings(redis_url=url)
        send_requests(settings, 10)
        pid = int(command.said(r"process (\d+),")[1])
        os.kill(pid, signal.SIGKILL)
        command.said("the server answers again")
        assert on_bus(settings, lambda bus: bus.length(REQUESTS)) == 10
        assert command.end(signal.SIGINT) == 0


def test_a_second_server_on_one_data_directory_is_refused(tmp_path: Path) -> None:
    words = ("server", "--port", "0", "--data-dir", str(tmp_path / "data"))
    with headrace(*words, environ={"HOME": str(tmp_path)}) as first:
        first.said("export REDIS_URL")
        with headrace(*words, environ={"HOME": str(tmp_path)}) as second:
            assert second.process.wait(START_S) == 1
        assert any("in use by the server at" in line for line in second.lines)


# The crew


def demo(tmp_path: Path, *more: str) -> Sequence[str]:
    ports = ("--port", "0", "--gateway-port", "0", "--no-browser")
    return ("demo", *ports, "--data-dir", str(tmp_path / "demo"), *more)


def everything_ready(command: Command) -> str:
    """Wait for every process of the demo: the page's URL."""
    for kind in ("scorer-1", "scorer-2", "gateway", "dashboard", "aggregator", "traffic"):
        command.said(rf"^{kind} +\| .* ready: ")
    return command.said(r"^headrace demo: (http://\S+)/")[1]


def processes(command: Command) -> list[psutil.Process]:
    """The crew's children and theirs: every process that the demo has started."""
    return psutil.Process(command.process.pid).children(recursive=True)


def with_words(running: Sequence[psutil.Process], *words: str) -> psutil.Process:
    [found] = [process for process in running if set(words) <= set(process.cmdline())]
    return found


def test_the_demo_brings_dead_processes_back_and_leaves_none_behind_when_killed(models: Path, tmp_path: Path) -> None:
    environ = {"HEADRACE_MODELS": str(models), "HOME": str(tmp_path)}
    with headrace(*demo(tmp_path), environ=environ) as command:
        everything_ready(command)
        scorer = with_words(processes(command), "scorer", "scorer-1")
        scorer.kill()
        command.said(r"^scorer-1 was ended by SIGKILL; starting it again in 1 s")
        command.said(r"^scorer-1 +\| .* ready: ", times=2)
        assert with_words(processes(command), "scorer", "scorer-1").pid != scorer.pid

        [server] = [process for process in processes(command) if process.name() in ("valkey-server", "redis-server")]
        server.kill()
        command.said("the server answers again at redis://127.0.0.1:")

        everyone: list[psutil.Process] = []

        def all_are_back() -> bool:
            everyone[:] = processes(command)
            return len(everyone) >= 8

        wait_until_sync(all_are_back, START_S, lambda: f"8 processes of {[one.name() for one in everyone]}")
        command.process.kill()
        _, alive = psutil.wait_procs(everyone, timeout=15)
        for process in alive:
            process.kill()
        assert not alive, f"left behind: {[process.cmdline() for process in alive]}"


def test_the_demo_is_live_within_5_s_and_ends_in_good_order_on_ctrl_c(models: Path, tmp_path: Path) -> None:
    environ = {"HEADRACE_MODELS": str(models), "HOME": str(tmp_path)}
    began_s = time.monotonic()
    with headrace(*demo(tmp_path), environ=environ) as command:
        url = command.said(r"^headrace demo: (http://\S+)/")[1]
        live_s = time.monotonic() - began_s
        with urllib.request.urlopen(f"{url}/api/frame", timeout=5) as answer:
            assert json.load(answer)["type"] == "frame"
        everything_ready(command)
        everyone = processes(command)
        assert command.end(signal.SIGINT) == 0
        assert not [process for process in everyone if process.is_running()]
        ends = [line.split(" |")[0].strip() for line in command.lines if line.endswith(" stopped")]
        assert ends[:2] == ["traffic", "gateway"]
        assert set(ends[2:4]) == {"scorer-1", "scorer-2"}
        assert ends[4:] == ["aggregator", "dashboard"]
    assert live_s < 5.0 or os.getloadavg()[0] > 3, f"the page was live after {live_s:.1f} s"


def test_a_demo_of_some_seconds_audits_its_books(models: Path, tmp_path: Path) -> None:
    environ = {"HEADRACE_MODELS": str(models), "HOME": str(tmp_path)}
    with headrace(*demo(tmp_path, "--duration", "6", "--fresh", "--rate", "200"), environ=environ) as command:
        assert command.process.wait(90) == 0
    published = command.said(r"^ +published +([\d,]+) ")[1]
    assert int(published.replace(",", "")) > 100
    assert any("the books balance" in line for line in command.lines)
    assert not any("ended" in line and "starting it again" in line for line in command.lines), command.lines


def test_up_runs_the_processes_against_a_server_that_is_there(settings: Settings, environ: dict[str, str]) -> None:
    with headrace("up", "--port", "0", "--gateway-port", "0", "--scorers", "1", environ=environ) as command:
        command.said(r"^headrace is up on redis://")
        command.said(r"^scorer-1 +\| .* ready: ")
        gateway = command.said(r"HTTP +(http://\S+)/docs")[1]
        command.said(r"^gateway +\| .* ready: ")
        body = json.dumps({"rows": [[0.0] * 64]}).encode()
        with urllib.request.urlopen(f"{gateway}/v1/models/digits/predict", data=body, timeout=20) as answer:
            assert json.load(answer)["model"] == "digits"
        assert command.end() == 0


def test_up_refuses_a_port_in_use_before_it_starts_anything(environ: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with headrace("up", "--port", port, environ=environ) as command:
            assert command.process.wait(START_S) == 1
    assert command.lines == [f"headrace: port {port} is in use; choose another with --port, or 0 for a free one"]
