"""The command line: quick to start, clear when something is wrong, and honest in its exit status."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from headrace.bus import Bus
from headrace.channels import MODELS, REQUESTS, RUNS, WORKERS
from headrace.cli import SECTIONS, main
from headrace.cli.crew import ended
from headrace.cli.orphan import PARENT_FD
from headrace.cli.ports import choose
from headrace.cli.process import worker_name
from headrace.cli.root import errors_in_one_line
from headrace.cli.status import span
from headrace.cli.table import table
from headrace.cli.tail import plain
from headrace.codec import decode, encode
from headrace.errors import SettingsError
from headrace.events import Event, Frame, ModelPromoted, PredictionRequested, RunMetrics, RunStarted, WorkerAlive
from headrace.events import Matrix as WireMatrix
from headrace.settings import Settings

COMMANDS = [name for section in SECTIONS.values() for name in section]
NOWHERE = "redis://127.0.0.1:1/0"

Run = Callable[..., Result]


@pytest.fixture
def run(headrace_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command against the fake server; its folders are this test's own."""
    monkeypatch.setenv("REDIS_URL", headrace_settings.redis_url)
    monkeypatch.setenv("HEADRACE_PREFIX", headrace_settings.prefix)
    monkeypatch.setenv("HEADRACE_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("HEADRACE_SPILL", str(tmp_path / "spill"))
    monkeypatch.delenv("HEADRACE_DEBUG", raising=False)

    def invoke(*words: str, stdin: str | bytes | None = None) -> Result:
        return CliRunner().invoke(main, list(words), input=stdin, prog_name="headrace")

    return invoke


def log(settings: Settings, channel: str) -> list[Event]:
    """The events in a log."""

    async def read() -> list[Event]:
        async with Bus(settings) as bus:
            return [decode(entry.payload) for entry in await bus.read(channel)]

    return asyncio.run(read())


def publish(settings: Settings, channel: str, events: Sequence[Event | bytes]) -> None:
    async def send() -> None:
        async with Bus(settings) as bus:
            await bus.publish(channel, events)

    asyncio.run(send())


# Help and wrong words


def test_help_lists_every_command_with_its_line(run: Run) -> None:
    shown = run("--help").output
    for section, commands in SECTIONS.items():
        assert f"{section}:" in shown
        for name, text in commands.items():
            assert f"  {name} " in shown
            assert text[:20] in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(run: Run, name: str) -> None:
    shown = run(name, "--help")
    assert shown.exit_code == 0
    assert shown.output.startswith(f"Usage: headrace {name} ")
    assert len(shown.output.splitlines()) > 5


def test_every_module_of_a_command_is_listed() -> None:
    import headrace.cli

    folder = Path(headrace.cli.__file__).parent
    named = {path.stem for path in folder.glob("*.py") if "@click." in path.read_text(encoding="utf-8")}
    assert named - {"options"} == set(COMMANDS)


def test_help_loads_no_command() -> None:
    """By that it is quick; how quick, the benchmark `start` measures."""
    code = "import sys\nfrom headrace.cli import main\ntry: main(['--help'])\nfinally: print('LOADED', *sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=30).stdout
    loaded = shown.partition("LOADED")[2].split()
    assert not {"asyncio", "redis", "numpy", "msgspec", "headrace.cli.scorer", "headrace.cli.demo"} & set(loaded)


def test_version(run: Run) -> None:
    import headrace

    assert run("--version").output == f"headrace {headrace.__version__}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["scorr"], "there is no command 'scorr'. Did you mean scorer or server?"),
        (["models", "trian"], "there is no command 'trian'. Did you mean train?"),
        (["xyzzy"], "there is no command 'xyzzy'."),
        (["scorer", "--brust"], "Did you mean '--burst'?"),
        (["tail"], "Missing argument 'CHANNEL...'"),
        (["tail", "runs", "--since", "yesterday"], "'yesterday' is not one of 'start', 'now'"),
        (["dashboard", "--port", "99999"], "99999 is not in the range 0<=x<=65535"),
        (["demo", "--rate", "0"], "0.0 is not in the range x>0"),
        (["up", "--scorers", "0"], "0 is not in the range x>=1"),
        (["publish", "requests", "nowhere.jsonl"], "No such file or directory"),
        (["publish", "requests", "-", "--csv"], "--csv needs --model NAME"),
        (["publish", "runs", "-", "--csv", "--model", "digits"], "--csv publishes to the channel 'requests'"),
        (["publish", "requests", "-", "--model", "digits"], "--model and --label-column are for tables: add --csv"),
        (["models", "promote", "digits", "first"], "'first' is not a valid integer"),
    ],
)
def test_wrong_words_are_explained_with_status_2(run: Run, words: list[str], said: str) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stdout == ""


def test_a_table_is_not_taken_for_json_lines(run: Run, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    result = run("publish", "requests", str(tmp_path / "rows.csv"))
    assert result.exit_code == 2
    assert "looks like a table: add --csv --model NAME" in result.stderr


# Errors


@pytest.mark.parametrize(
    "words",
    [["audit"], ["status"], ["tail", "runs"], ["publish", "runs"], ["scorer", "--no-wait"], ["gateway", "--no-wait"]],
)
def test_a_missing_server_is_one_line_that_says_what_to_do(run: Run, words: list[str]) -> None:
    result = run(*words, "--redis-url", NOWHERE)
    assert result.exit_code == 1
    last = result.stderr.splitlines()[-1]
    assert last.startswith(f"headrace: no Redis or Valkey server answers at {NOWHERE}: ")
    assert "headrace demo" in last
    assert "Traceback" not in result.stderr


def test_a_password_is_never_shown(run: Run) -> None:
    result = run("audit", "--redis-url", "redis://user:secret@127.0.0.1:1/0")
    assert result.exit_code == 1
    assert "secret" not in result.output


def test_a_wrong_setting_is_named(run: Run) -> None:
    result = run("status", "--prefix", "a b")
    assert result.exit_code == 1
    assert result.stderr.startswith("headrace: HEADRACE_PREFIX='a b' must not")


@pytest.mark.parametrize(
    ("words", "module", "said"),
    [
        (["dashboard"], "dash", "headrace: the dashboard needs `pip install 'headrace[dashboard]'` (there is no dash)"),
        (["gateway"], "fastapi", "headrace: the gateway needs `pip install 'headrace[gateway]'` (there is no fastapi)"),
    ],
)
def test_a_missing_extra_is_named_before_anything_else(words: list[str], module: str, said: str) -> None:
    code = f"import sys; sys.modules[{module!r}] = None\nfrom headrace.cli import main; main({words!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.splitlines()) == (1, [said])


def test_the_demo_asks_for_everything_it_needs_before_it_starts(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.cli.root.find_spec", lambda name: None if name == "sklearn" else object())
    result = run("demo")
    assert result.exit_code == 1
    assert result.stderr == "headrace: the demo needs `pip install 'headrace[all]'` (there is no sklearn)\n"


def failing(error: BaseException) -> Result:
    @click.command()
    def command() -> None:
        with errors_in_one_line():
            raise error

    return CliRunner().invoke(command, [])


def test_an_unexpected_error_is_one_line_and_says_how_to_see_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEADRACE_DEBUG", raising=False)
    result = failing(ValueError("seven"))
    assert result.exit_code == 1
    assert result.stderr == "headrace: unexpected ValueError: seven. HEADRACE_DEBUG=1 shows where it happened\n"
    monkeypatch.setenv("HEADRACE_DEBUG", "1")
    assert isinstance(failing(ValueError("seven")).exception, ValueError)


def test_ctrl_c_is_quiet_with_status_130() -> None:
    result = failing(KeyboardInterrupt())
    assert (result.exit_code, result.output) == (130, "")


def test_a_reader_that_went_away_is_no_news(headrace_settings: Settings) -> None:
    code = "from headrace.cli import main; main(['--help'])"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, timeout=30, check=False)
    os.close(writer)
    assert done.stderr == b""


# publish, tail, status, models


def test_publish_takes_good_lines_and_names_the_others(run: Run, headrace_settings: Settings) -> None:
    lines = [
        '{"type": "run.started", "run": "r1", "name": "mine"}',
        "",
        "nonsense",
        '{"type": "run.metrics", "run": "r1", "step": 1, "metrics": {"loss": 0.5}}',
        '{"type": "nobody.knows"}',
        '{"type": "run.metrics", "run": "r1", "step": "one", "metrics": {}}',
    ]
    result = run("publish", RUNS, stdin="\n".join(lines))
    assert result.exit_code == 1
    said = result.stderr.splitlines()
    assert [line.split(":")[1].strip() for line in said[:-1]] == ["line 3", "line 5", "line 6"]
    assert said[-1] == "published 2 to runs, refused 3"
    assert [type(event) for event in log(headrace_settings, RUNS)] == [RunStarted, RunMetrics]


def test_publish_of_good_lines_only_ends_with_status_0(run: Run, headrace_settings: Settings) -> None:
    result = run("publish", "my-channel", stdin='{"type": "run.alive", "run": "r1"}\n' * 3)
    assert (result.exit_code, result.stderr) == (0, "published 3 to my-channel\n")
    assert len({event.id for event in log(headrace_settings, "my-channel")}) == 3


def test_publish_makes_requests_of_a_table(run: Run, headrace_settings: Settings) -> None:
    result = run("publish", REQUESTS, "-", "--csv", "--model", "m", stdin="a,b\n1,2\n3,x\n5,\n")
    assert result.exit_code == 1
    assert "line 3: column 'b': 'x' is not a number" in result.stderr
    events = log(headrace_settings, REQUESTS)
    assert [event.model for event in events if isinstance(event, PredictionRequested)] == ["m", "m"]


def test_publish_refuses_a_name_that_is_no_channel(run: Run) -> None:
    result = run("publish", "a b", stdin="")
    assert result.exit_code == 1
    assert "'a b' cannot be a channel" in result.stderr


def test_tail_gives_back_what_publish_took(run: Run, headrace_settings: Settings) -> None:
    events = [RunMetrics(run="r1", step=n, metrics={"loss": 1.0 / n}) for n in (1, 2, 3)]
    publish(headrace_settings, RUNS, events)
    result = run("tail", RUNS, "--since", "start", "--count", "2")
    assert result.exit_code == 0
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    assert all(line["at"].startswith("runs:0-") for line in lines)
    assert run("publish", "again", stdin=result.stdout).exit_code == 0
    again = [(event.run, event.step) for event in log(headrace_settings, "again") if isinstance(event, RunMetrics)]
    assert again == [("r1", 1), ("r1", 2)]


def test_tail_as_text_is_one_line_an_event(run: Run, headrace_settings: Settings) -> None:
    publish(headrace_settings, RUNS, [RunStarted(run="r1", name="x" * 500, host="y" * 500)])
    result = run("tail", RUNS, "--since", "start", "--count", "1", "--text")
    [line] = result.stdout.splitlines()
    assert "runs run.started run=r1" in line
    assert len(line) < 200


def test_tail_shows_arrays_as_lists_and_strangers_as_they_are() -> None:
    import struct

    matrix = WireMatrix("<f4", (1, 2), struct.pack("<2f", 1.5, -2.0))
    assert plain(encode(PredictionRequested(model="m", inputs=matrix)))["inputs"] == [[1.5, -2.0]]
    broken = WireMatrix("<f4", (9, 9), b"1234")
    assert "4 bytes that are no array" in plain(encode(PredictionRequested(model="m", inputs=broken)))["inputs"]
    assert plain(b'{"type": "nobody.knows", "a": [1]}') == {"type": "nobody.knows", "a": [1]}
    assert "not an event" in plain(b"\x01")["undecodable"]


def test_status_without_an_aggregator_says_so_and_shows_depths(run: Run, headrace_settings: Settings) -> None:
    publish(headrace_settings, RUNS, [RunStarted(run="r1")])
    result = run("status")
    assert result.exit_code == 0
    assert "no frame yet: start an aggregator with `headrace aggregator`" in result.stdout
    assert any(line.split()[:2] == ["runs", "1"] for line in result.stdout.splitlines())


def test_status_shows_workers_of_the_newest_frame_and_its_age(run: Run, headrace_settings: Settings) -> None:
    publish(headrace_settings, WORKERS, [WorkerAlive(worker="scorer-1", kind="scorer", pid=7)])
    assert run("aggregator", "--burst").exit_code == 0
    shown = run("status").stdout
    assert any(line.split()[:3] == ["scorer-1", "scorer", "7"] for line in shown.splitlines())
    assert " old" in shown

    publish(headrace_settings, "frames", [Frame(number=8, time=time.time() - 100, aggregator="agg-1")])
    assert "frame 8 of agg-1, 1 min 40 s old: no aggregator is at work" in run("status").stdout


def test_an_audit_that_does_not_balance_ends_with_status_1(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from headrace.audit import Audit

    assert run("audit").exit_code == 0

    async def unbalanced(bus: Bus) -> Audit:
        return Audit(published=2, scored=1, lost=1)

    monkeypatch.setattr("headrace.audit.audit", unbalanced)
    result = run("audit")
    assert result.exit_code == 1
    assert "THE BOOKS DO NOT BALANCE" in result.stdout


def test_models_are_trained_promoted_listed_and_rolled_back(run: Run, headrace_settings: Settings) -> None:
    assert "no models in" in run("models", "ls").stderr
    assert run("models", "train", "diabetes").exit_code == 0
    assert run("models", "train", "diabetes", "--missing").stdout.startswith("nothing to train")
    second = run("models", "train", "diabetes", "--no-promote")
    assert "in service" not in second.stdout
    promoted = run("models", "promote", "diabetes", "2")
    assert promoted.stdout == "diabetes version 2 is in service, in place of version 1\n"
    rows = [line.split() for line in run("models", "ls").stdout.splitlines()[1:]]
    assert [(row[0], row[1], row[2]) for row in rows] == [("diabetes", "1", "-"), ("diabetes", "2", "in")]
    assert run("models", "rollback", "diabetes").stdout == "diabetes version 1 is in service, in place of version 2\n"
    told = [
        (event.version, event.previous) for event in log(headrace_settings, MODELS) if isinstance(event, ModelPromoted)
    ]
    assert told == [(1, 0), (2, 1), (1, 2)]


def test_models_tells_what_it_does_not_know(run: Run) -> None:
    unknown = run("models", "train", "iris")
    assert unknown.exit_code == 1
    assert "'iris' is not one of the shipped models: digits, breast_cancer, diabetes" in unknown.stderr
    assert "unknown model 'digits'" in run("models", "promote", "digits", "1").stderr


def test_a_promotion_without_a_server_counts_and_says_that_nobody_heard(run: Run) -> None:
    result = run("models", "train", "diabetes", "--redis-url", NOWHERE)
    assert result.exit_code == 0
    assert "diabetes version 1 is in service" in result.stdout
    assert "running scorers were not told" in result.stderr


# Small parts


def test_a_table_is_aligned_with_numbers_to_the_right() -> None:
    assert table(("NAME", "N", "RATE"), [("a", 1234, 1.25), ("long name", 5, None)]).splitlines() == [
        "NAME           N  RATE",
        "a          1,234   1.2",
        "long name      5     -",
    ]
    assert table(("A", "B"), []) == "A  B"


def test_ports_are_the_one_wanted_a_free_one_or_the_next() -> None:
    notes: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"port {port} is in use; choose another with --port"):
            choose("--port", port, 8050, (), notes.append)
        other = choose("--port", None, port, (), notes.append)
        assert other > port
        assert notes == [f"port {port} is in use, so it is {other} (--port chooses another)"]
    free = choose("--port", 0, 8050, (), notes.append)
    assert free > 0
    with pytest.raises(SettingsError):
        choose("--port", free, 8050, (free,), notes.append)
    assert len(notes) == 1


def test_worker_names_differ() -> None:
    names = {worker_name("scorer") for _ in range(20)}
    assert len(names) > 15
    assert all(name.startswith("scorer-") and f"-{os.getpid()}-" in name for name in names)


def test_ends_in_words() -> None:
    assert ended(1) == "ended with status 1"
    assert ended(-signal.SIGKILL) == "was ended by SIGKILL"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.25, "0.2 s"), (59, "59 s"), (61, "1 min 1 s"), (7_380, "2 h 3 min"), (93_600, "1 d 2 h"), (-1, "0.0 s")],
)
def test_spans_in_their_two_largest_units(seconds: float, shown: str) -> None:
    assert span(seconds) == shown


def test_a_child_ends_when_the_pipe_of_its_parent_does() -> None:
    reader, writer = os.pipe()
    code = (
        "import signal, threading\nfrom headrace.cli.orphan import end_with_parent\n"
        "told = threading.Event()\nsignal.signal(signal.SIGTERM, lambda *_: told.set())\n"
        "end_with_parent()\nprint('watching', flush=True)\ntold.wait()\nprint('told', flush=True)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, PARENT_FD: str(reader)},
        pass_fds=(reader,),
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        os.close(reader)
        assert child.stdout is not None
        assert child.stdout.readline() == "watching\n"
        os.close(writer)
        assert child.stdout.readline() == "told\n"
        assert child.wait(10) == 0


def test_a_stray_parent_variable_does_no_harm(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PARENT_FD, "987654")
    assert run("models", "ls").exit_code == 0
    monkeypatch.setenv(PARENT_FD, secrets.token_hex(2) + "x")
    assert run("models", "ls").exit_code == 0
