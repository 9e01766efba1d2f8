"""Every benchmark runs, at sizes that mean nothing, and says what it measured. How fast is never asserted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

ROOT = Path(__file__).parents[2]
EXPECTED = {
    "score": {"bare loop", "headrace", "bare loop, raw structs", "model alone"},
    "bulk": {"bare loop", "headrace", "model alone"},
    "publish": {"script of 500, bare", "headrace", "redis-py pipeline of 500", "redis-py one by one"},
    "log": {
        "append to a deque, 1,000 a second",
        "run.log, 1,000 a second",
        "run.log, 1,000 a second, no server",
        "append to a deque, without a pause",
        "run.log, without a pause",
        "run.log, without a pause, no server",
    },
    "steps": {
        "append to a deque",
        "run.log",
        "hook of a framework",
        "iteration of track",
        "log record, its text read",
    },
    "search": {"GridSearchCV", "GridSearchCV, watched"},
    "latency": {"ping-pong over two streams, bare", "headrace, threads", "headrace, asyncio"},
    "start": {
        "python, doing nothing",
        "import headrace",
        "from headrace.publisher import Run",
        "headrace --help",
    },
    "glass": {"20 requests/s", "200 requests/s", "3 viewers"},
}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    done = run("--tiny", "--json")
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = msgspec.json.decode(done.stdout)
    return answer


@pytest.mark.server
@pytest.mark.slow
def test_a_run_says_what_it_ran_on(found: dict[str, Any]) -> None:
    assert "cores" in found["machine"]
    assert "redis" in found["versions"]
    assert found["size"] == "tiny"
    assert [result["name"] for result in found["results"]] == list(EXPECTED)


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.parametrize("name", EXPECTED)
def test_a_benchmark_gives_medians_ranges_and_ratios(found: dict[str, Any], name: str) -> None:
    [result] = [result for result in found["results"] if result["name"] == name]
    ways = {way["name"]: way for way in result["ways"]}
    assert ways.keys() == EXPECTED[name]
    assert ways[result["reference"]]["ratio"] == {"median": 1.0, "low": 1.0, "high": 1.0}
    for way in ways.values():
        assert way["measures"].keys() == ways[result["reference"]]["measures"].keys()
        for spread in (way["ratio"], *way["measures"].values()):
            assert spread["low"] <= spread["median"] <= spread["high"]


def test_an_unknown_benchmark_is_refused_with_the_names_that_there_are() -> None:
    done = run("throughput")
    assert done.returncode == 2
    assert "'score'" in done.stderr
