"""What the documents show works: Python blocks, commands and examples run against processes started as they say.

A comment above a block says how it runs: `script` as a program of its own; `after` behind the script before it;
`pytest` as a test file; other marks have a test of their own here. A Python block without a mark fails. JavaScript and
Go need packages of their own and do not run.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
import redis

from headrace.codec import decode
from headrace.embedded import EmbeddedServer
from headrace.embedded.probe import free_port
from headrace.testing import wait_until_sync

pytestmark = [pytest.mark.server, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
HEADRACE = [sys.executable, "-m", "headrace"]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.md")])
BLOCK = re.compile(r"^(?:<!-- run: (\w+) -->\n)?^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROCESSES = {"server", "scorer", "aggregator", "dashboard", "gateway", "traffic", "up"}
"""Commands that run until they are told to end."""


@dataclass(frozen=True)
class Block:
    """A block of code in a document."""

    document: str
    line: int
    mark: str
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def blocks() -> Iterator[Block]:
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        for found in BLOCK.finditer(text):
            line = text.count("\n", 0, found.start(2)) + 1
            yield Block(path.relative_to(ROOT).as_posix(), line, found[1] or "", found[2], found[3])


BLOCKS = list(blocks())
PYTHON = [block for block in BLOCKS if block.language == "python"]
CONSOLE = [block for block in BLOCKS if block.language == "console"]


def commands(program: str) -> list[list[str]]:
    """What console blocks show of one program, each command as words."""
    shown = [shlex.split(line.removeprefix("$ ")) for block in CONSOLE for line in block.text.splitlines()]
    return [words for words in shown if words[0] == program]


@dataclass(frozen=True)
class Pipeline:
    """A running pipeline: what its processes and those of the reader have in their environment."""

    environ: dict[str, str]
    client: Any
    gateway: str

    def run(self, *words: str | Path, cwd: Path = ROOT, timeout_s: float = 60.0) -> str:
        """Standard output of a program that must succeed."""
        done = subprocess.run(
            words, cwd=cwd, env=self.environ, capture_output=True, text=True, check=False, timeout=timeout_s
        )
        assert done.returncode == 0, f"{shlex.join(map(str, words))}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def log(self, channel: str) -> list[Any]:
        return [decode(fields[b"e"]) for _, fields in self.client.xrange(f"headrace:{{0}}:{channel}:log")]


@contextmanager
def background(words: list[str], environ: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A process of the repository that is told to end afterwards, and has to do so in good order."""
    process = subprocess.Popen(
        words,
        cwd=ROOT,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            said, _ = process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            said, _ = process.communicate()
    assert process.returncode == 0, f"{shlex.join(words)}\n{said}"


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A server with the default prefix, the shipped models, a scorer, an aggregator and a gateway."""
    folder = tmp_path_factory.mktemp("pipeline")
    with EmbeddedServer() as server, ExitStack() as running:
        environ = plain_environ() | {
            "REDIS_URL": server.url,
            "HEADRACE_MODELS": str(folder / "models"),
            "HEADRACE_SPILL": str(folder / "spill"),
        }
        client = running.enter_context(redis.Redis.from_url(server.url))
        port = free_port()
        found = Pipeline(environ, client, f"http://127.0.0.1:{port}")
        found.run(*HEADRACE, "models", "train", "digits", "diabetes")
        started = [["scorer"], ["aggregator"], ["gateway", "--port", str(port)]]
        processes = [running.enter_context(background([*HEADRACE, *words], environ)) for words in started]

        def ready() -> bool:
            assert all(process.poll() is None for process in processes), "a process ended"
            scoring = client.pubsub_numsub("headrace:{0}:models:live")[0][1]
            return bool(scoring and client.pubsub_numpat() and answers(f"{found.gateway}/readyz"))

        wait_until_sync(ready, 60.0, "a scorer, an aggregator and a gateway")
        yield found


def plain_environ() -> dict[str, str]:
    """The environment without settings of headrace."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("HEADRACE_", "REDIS_"))}


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def test_every_python_block_says_how_it_runs() -> None:
    unmarked = [str(block) for block in PYTHON if block.mark not in ("script", "after", "pytest", "listen", "publish")]
    assert not unmarked
    assert {block.language for block in BLOCKS} <= {"python", "console", "text", "json", "js", "go"}


def test_the_demo_ends_with_balanced_books() -> None:
    shown = subprocess.run(
        ["make", "-n", "-o", ".venv/.stamp", "demo"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30
    )
    assert "headrace demo" in shown.stdout
    words = ["demo", "--duration", "15", "--no-browser", "--port", "0", "--gateway-port", "0", "--fresh"]
    done = subprocess.run(
        [*HEADRACE, *words], cwd=ROOT, env=plain_environ(), capture_output=True, text=True, check=False, timeout=110
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"http://127\.0\.0\.1:\d+/", done.stdout)
    assert "the books balance" in done.stdout
    assert int(re.search(r"scored +([\d,]+)", done.stdout)[1].replace(",", "")) > 0  # type: ignore[index]


@pytest.mark.parametrize("block", [b for b in PYTHON if b.mark == "script"], ids=str)
def test_scripts_run(block: Block, pipeline: Pipeline, tmp_path: Path) -> None:
    following = [b.text for b in PYTHON if b.mark == "after" and b.document == block.document and b.line > block.line]
    script = tmp_path / "script.py"
    script.write_text("\n".join([block.text, *following]), encoding="utf-8")
    pipeline.run(sys.executable, "-W", "error", script)


@pytest.mark.parametrize("block", [b for b in PYTHON if b.mark == "pytest"], ids=str)
def test_tests_pass(block: Block, pipeline: Pipeline, tmp_path: Path) -> None:
    (tmp_path / "test_block.py").write_text(block.text, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n", encoding="utf-8")
    said = pipeline.run(sys.executable, "-m", "pytest", "-q", "-p", "no:dash", "-p", "no:cacheprovider", cwd=tmp_path)
    assert "1 passed" in said


def test_the_run_of_the_readme_is_in_the_log(pipeline: Pipeline, tmp_path: Path) -> None:
    [block] = [b for b in PYTHON if b.document == "README.md" and "Run(" in b.text and b.mark == "script"]
    (tmp_path / "script.py").write_text(block.text, encoding="utf-8")
    before = len(pipeline.log("runs"))
    pipeline.run(sys.executable, tmp_path / "script.py")
    kinds = [type(event).__name__ for event in pipeline.log("runs")[before:]]
    assert kinds == ["RunStarted", *["RunMetrics"] * 100, "RunFinished"]


def test_publishing_once_and_listening_without_headrace(pipeline: Pipeline, tmp_path: Path) -> None:
    texts = {block.mark: block.text for block in PYTHON if block.document == "docs/wire.md"}
    for mark in ("listen", "publish"):
        assert "import headrace" not in texts[mark]
        (tmp_path / f"{mark}.py").write_text(texts[mark], encoding="utf-8")
    before = pipeline.client.xlen("headrace:{0}:runs:log")
    listener = subprocess.Popen(
        [sys.executable, "-u", tmp_path / "listen.py"], env=pipeline.environ, stdout=subprocess.PIPE, text=True
    )
    try:
        heard = pipeline.client.pubsub_numsub
        wait_until_sync(lambda: heard("headrace:{0}:runs:live")[0][1] > 0, 10.0, "the listener")
        assert pipeline.run(sys.executable, tmp_path / "publish.py").splitlines() == ["ok 3 3", "ok 3 0"]
        assert listener.stdout
        lines = [listener.stdout.readline().split() for _ in range(3)]
    finally:
        listener.terminate()
        listener.communicate(timeout=10)
    assert pipeline.client.xlen("headrace:{0}:runs:log") == before + 3
    assert [line[1:] for line in lines] == [["run.metrics", "night-7"]] * 3
    numbers = [int(line[0].rpartition("-")[2]) for line in lines]
    assert numbers == list(range(numbers[0], numbers[0] + 3))


def test_plain_publish_is_taken_in_and_answered(pipeline: Pipeline) -> None:
    published = commands("redis-cli")
    [[_, _, reply]] = [words for words in published if words[1] == "SUBSCRIBE"]
    with pipeline.client.pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.subscribe(reply)
        pubsub.get_message(timeout=2)
        before = len(pipeline.log("runs"))
        sent = [words[1:] for words in published if words[1] == "PUBLISH"]
        for words in sent:
            assert pipeline.client.execute_command(*words) > 0
        pushed = wait_until_sync(lambda: pubsub.get_message(timeout=0.1), 20.0, "the reply to a plain request")
    runs = [json.loads(text)["id"] for _, channel, text in sent if channel == "headrace:in:runs"]
    wait_until_sync(lambda: len(pipeline.log("runs")) >= before + len(runs), 10.0, "plain events in the log")
    assert [event.id for event in pipeline.log("runs")[before:]] == runs
    assert pushed["data"].startswith(b'{"type":"prediction.scored"')


def test_the_gateway_answers_as_shown(pipeline: Pipeline) -> None:
    shown = commands("curl")
    assert shown
    for words in shown:
        assert words[0] == "curl"
        assert words[2] == "-d"
        url = words[1].replace("http://127.0.0.1:8080", pipeline.gateway)
        with urllib.request.urlopen(urllib.request.Request(url, words[3].encode()), timeout=20) as response:
            assert response.status in (200, 202)
            answer = json.load(response)
        assert answer.get("accepted") == 1 or len(answer["values"]) == 1


@pytest.mark.parametrize("block", CONSOLE, ids=str)
def test_commands_run(block: Block, request: pytest.FixtureRequest) -> None:
    for line in block.text.splitlines():
        assert line.startswith("$ "), f"{line!r} is no command"
        program, *words = shlex.split(line.removeprefix("$ "))
        match program:
            case "headrace" if words[0] in PROCESSES:
                parsed(words)
            case "headrace":
                request.getfixturevalue("pipeline").run(*HEADRACE, *words)
            case "make":
                targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
                assert words[0] in targets
            case "docker":
                assert words[0] == "compose"
            case _:
                assert program in ("redis-cli", "curl"), f"nothing runs {line!r}"


def parsed(words: list[str]) -> None:
    """The command exists and takes these options."""
    from headrace.cli import main

    context = click.Context(main, info_name="headrace")
    command = main.get_command(context, words[0])
    assert command is not None
    command.parse_args(click.Context(command, info_name=words[0], parent=context), words[1:])


EXAMPLES = {
    "training.py": ([], "ended with {'loss': "),
    "predict.py": ([], "of 10 right"),
    "listen.py": (["workers", "1"], "WorkerAlive("),
    "worker.py": ([], ""),
    "plain_publish.py": ([], "sent 12 events"),
}


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "examples").glob("*.py")))
def test_examples_run(name: str, pipeline: Pipeline) -> None:
    words, expected = EXAMPLES[name]
    assert expected in pipeline.run(sys.executable, "-W", "error", ROOT / "examples" / name, *words)


def test_the_example_worker_decides_everything_once(pipeline: Pipeline) -> None:
    pipeline.client.publish(
        "headrace:in:runs",
        json.dumps({"type": "run.finished", "id": "f1", "run": "bad", "status": "failed", "error": "no"}),
    )
    wait_until_sync(lambda: any(event.id == "f1" for event in pipeline.log("runs")), 10.0, "the failed run")
    for _ in range(2):
        pipeline.run(sys.executable, ROOT / "examples" / "worker.py")
    raised = [event.subject for event in pipeline.log("alerts") if event.name == "run failed"]
    assert raised == ["bad"]
