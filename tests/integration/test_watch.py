"""`headrace watch` changes nothing for the program, and says of it what it printed and how it ended."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from headrace.bus.sync import Link
from headrace.channels import RUNS
from headrace.codec import decode
from headrace.events import RunMetrics, RunStarted
from headrace.settings import Settings
from headrace.testing import wait_until_sync

pytestmark = pytest.mark.slow

WATCH = [sys.executable, "-m", "headrace", "watch"]


@pytest.fixture
def environ(server_settings: Settings, tmp_path: Path) -> dict[str, str]:
    return {
        **os.environ,
        "REDIS_URL": server_settings.redis_url,
        "HEADRACE_PREFIX": server_settings.prefix,
        "HEADRACE_SPILL": str(tmp_path),
    }


def watched(environ: dict[str, str], *words: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*WATCH, *words], env=environ, capture_output=True, timeout=100, check=False, **options)


def python(code: str) -> Sequence[str]:
    return ["--", sys.executable, "-c", code]


def events(settings: Settings) -> list[Any]:
    return [decode(entry.payload) for entry in Link(settings).read(RUNS, 0, count=100_000)]


def test_output_and_status_are_those_of_the_program(environ: dict[str, str], server_settings: Settings) -> None:
    code = (
        "import os, sys; sys.stdout.buffer.write(bytes(range(256)) + sys.stdin.buffer.read());"
        "print('step=1 loss=0.5', file=sys.stderr); print('no such file', file=sys.stderr); sys.exit(3)"
    )
    done = watched(environ, "--name", "mine", "--param", "lr=0.1", *python(code), input=b"what it is given")
    assert done.returncode == 3
    assert done.stdout == bytes(range(256)) + b"what it is given"
    assert done.stderr == b"step=1 loss=0.5\nno such file\n"
    found = events(server_settings)
    assert isinstance(found[0], RunStarted)
    assert (found[0].name, found[0].params["lr"]) == ("mine", "0.1")
    assert "sys.exit(3)" in str(found[0].params["command"])
    assert {"loss": 0.5} in [event.metrics for event in found if isinstance(event, RunMetrics)]
    assert (found[-1].status, found[-1].error) == ("failed", "exit status 3: no such file")


def test_lines_are_metrics_while_the_program_runs(environ: dict[str, str], server_settings: Settings) -> None:
    code = "print('it 7 cost 1.5'); input()"
    process = subprocess.Popen(
        [*WATCH, "--pattern", r"it (?P<step>\d+) cost (?P<cost>\S+)", *python(code)],
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    steps = wait_until_sync(
        lambda: [one for one in events(server_settings) if isinstance(one, RunMetrics) and "cost" in one.metrics], 60.0
    )
    assert (steps[0].step, steps[0].metrics) == (7, {"cost": 1.5})
    wait_until_sync(
        lambda: any("host cpu %" in one.metrics for one in events(server_settings) if isinstance(one, RunMetrics)), 60.0
    )
    process.communicate(b"\n", timeout=60)
    assert process.returncode == 0
    assert events(server_settings)[-1].status == "finished"
    load = [
        one.metrics for one in events(server_settings) if isinstance(one, RunMetrics) and "program MB" in one.metrics
    ]
    assert all((one["program MB"] or 0) > 1 and 0 <= (one["host memory %"] or 0) <= 100 for one in load)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_signals_reach_the_program(environ: dict[str, str], server_settings: Settings, number: signal.Signals) -> None:
    code = (
        "import signal, sys\n"
        f"signal.signal({int(number)}, lambda *_: sys.exit(7))\n"
        "print('ready', flush=True)\n"
        "signal.pause()"
    )
    with subprocess.Popen(
        [*WATCH, *python(code)], env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        assert process.wait(60) == 7
    assert events(server_settings)[-1].error.startswith("exit status 7")


def test_a_program_that_is_killed_has_crashed(environ: dict[str, str], server_settings: Settings) -> None:
    done = watched(environ, *python("import os; os.kill(os.getpid(), 9)"))
    assert done.returncode == 128 + 9
    assert (events(server_settings)[-1].status, events(server_settings)[-1].error) == ("crashed", "ended by SIGKILL")


@pytest.mark.parametrize(("word", "status"), [("no-such-program", 127), (str(Path(__file__).parent), 126)])
def test_a_program_that_cannot_be_started_fails_as_in_a_shell(
    environ: dict[str, str], server_settings: Settings, word: str, status: int
) -> None:
    done = watched(environ, "--", word)
    assert done.returncode == status
    assert word.encode() in done.stderr
    assert events(server_settings)[-1].status == "failed"


def test_without_a_server_the_program_runs_all_the_same(environ: dict[str, str]) -> None:
    done = watched({**environ, "REDIS_URL": "redis://127.0.0.1:1/0"}, *python("print('loss=1')"))
    assert (done.returncode, done.stdout) == (0, b"loss=1\n")


def test_a_pattern_that_is_none_is_refused_before_anything_runs(environ: dict[str, str]) -> None:
    done = watched(environ, "--pattern", "(", *python("print(1)"))
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"key-value" in done.stderr


def test_output_that_a_grandchild_holds_open_does_not_keep_it(environ: dict[str, str]) -> None:
    code = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'input()'], stdin=sys.stdin); print('done')"
    reader, writer = os.pipe()
    try:
        done = subprocess.run(
            [*WATCH, *python(code)], env=environ, stdin=reader, stdout=subprocess.PIPE, timeout=100, check=False
        )
        assert (done.returncode, done.stdout) == (0, b"done\n")
    finally:
        os.close(reader)
        os.close(writer)


def test_a_reader_that_goes_away_is_told_to_the_program(environ: dict[str, str], server_settings: Settings) -> None:
    code = "import signal; signal.signal(signal.SIGPIPE, signal.SIG_DFL)\nwhile True: print('x' * 1000)"
    with subprocess.Popen(
        [*WATCH, *python(code)], env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        process.stdout.read(10)
        process.stdout.close()
        assert process.wait(60) == 128 + signal.SIGPIPE
    assert "SIGPIPE" in events(server_settings)[-1].error


def test_a_terminal_stays_a_terminal(environ: dict[str, str]) -> None:
    code = "import os, sys; print(os.isatty(1), os.isatty(2), os.get_terminal_size().columns)"
    ours, theirs = pty.openpty()
    import fcntl
    import struct
    import termios

    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 77, 0, 0))
    process = subprocess.Popen([*WATCH, *python(code)], env=environ, stdin=subprocess.DEVNULL, stdout=theirs)
    os.close(theirs)
    assert process.wait(60) == 0
    said = os.read(ours, 1000)
    os.close(ours)
    assert said.splitlines()[-1].split()[::2] == [b"True", b"77"]
