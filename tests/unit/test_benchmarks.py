"""Every benchmark runs, at sizes that mean nothing, and says what it measured. How fast is never asserted.

The quick ones run always, all of them with `HEADRACE_DEEP=1`, which takes some minutes. Peers run where their
environment was made, which only a full run of the benchmarks does.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest

from benchmarks import environment, parts
from benchmarks.__main__ import LOOK, NAMES
from benchmarks.loop import lost
from benchmarks.parts import Part
from benchmarks.plot import Panel, short, svg
from benchmarks.samples import Result, merged, way
from benchmarks.stage import AbsentError

ROOT = Path(__file__).parents[2]
EXPECTED = {
    "server": {
        "PING, one by one",
        "PING, 64 in flight",
        "XADD, one by one",
        "XADD, 64 in flight",
        "one script for 500 XADD",
    },
    "score": {"bare loop", "headrace", "bare loop, raw structs", "model alone"},
    "scorers": {"1 scorer", "2 scorers"},
    "trees": {"forest, alone", "forest, headrace", "boosting, alone", "boosting, headrace"},
    "loop": {"partial_fit alone"}
    | {
        f"run.log after {step}, {server}"
        for step in ("1 ms", "5 ms")
        for server in ("a server", "no server", "a server that dies and comes back")
    },
    "stream": {"partial_fit alone", "headrace"},
    "http": {"headrace, 64 callers", "headrace, 50 a second"},
    "metrics": {"bare loop", "headrace"},
    "memory": {"python, doing nothing", "publisher and run", "scorer, ready", "scorer, after a backlog"},
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
    "glass": {"20 requests/s", "20 requests/s beside 200 of others", "200 requests/s", "3 viewers"},
}


DEEP = "HEADRACE_DEEP" in os.environ
QUICK = ("score", "bulk", "publish", "log", "steps")
deep = pytest.mark.skipif(not DEEP, reason="HEADRACE_DEEP is not set")
SWEEPS = ("features", "batch", "models", "depth", "scorers", "overload")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def found(*names: str) -> list[dict[str, Any]]:
    """The results of benchmarks at the smallest size; skips what cannot run here."""
    done = run("--tiny", "--json", *names)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = msgspec.json.decode(done.stdout)
    assert "cores" in answer["machine"]
    assert "redis" in answer["versions"]
    assert answer["size"] == "tiny"
    if not answer["results"]:
        pytest.skip(done.stderr.strip())
    assert [result["name"] for result in answer["results"]] == [name.partition("/")[0] for name in names]
    return list(answer["results"])


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.parametrize("names", [QUICK, *(pytest.param((n,), marks=deep) for n in EXPECTED if n not in QUICK)])
def test_a_benchmark_gives_medians_ranges_and_ratios(names: tuple[str, ...]) -> None:
    for name, result in zip(names, found(*names), strict=True):
        check(name, result)


def check(name: str, result: dict[str, Any]) -> None:
    ways = {one["name"]: one for one in result["ways"]}
    assert ways.keys() == EXPECTED[name]
    assert ways[result["reference"]]["ratio"] == {"median": 1.0, "low": 1.0, "high": 1.0}
    for one in ways.values():
        assert one["measures"].keys() == ways[result["reference"]]["measures"].keys()
        for spread in (one["ratio"], *one["measures"].values()):
            assert spread["low"] <= spread["median"] <= spread["high"]


@pytest.mark.server
@pytest.mark.slow
@deep
def test_how_cost_grows_is_tabled_drawn_and_explained() -> None:
    [result] = found("scale")
    assert set(result["plots"]) == {f"scale-{sweep}.svg" for sweep in SWEEPS}
    for sweep in SWEEPS[:-1]:
        assert len([one for one in result["ways"] if one["name"].startswith(f"{sweep} ")]) == 2
    assert any("the knee" in note for note in result["notes"])
    assert all("lost or doubled 0" in note for note in result["notes"] if note.startswith("offered"))


@pytest.mark.server
@pytest.mark.slow
@deep
@pytest.mark.parametrize("peer", environment.peers())
def test_a_peer_does_the_same_work(peer: str) -> None:
    [result] = found(f"peers/{peer}")
    assert len(result["ways"]) > 1
    assert result["ways"][0]["name"] == "headrace"
    assert peer in result["notes"][0]


def test_every_benchmark_is_run_here() -> None:
    assert {*EXPECTED, "scale"} == set(NAMES)
    assert set(LOOK) <= set(NAMES)


@pytest.mark.parametrize("peer", environment.peers())
def test_the_packages_of_a_peer_are_locked_with_hashes(peer: str) -> None:
    lock = (environment.PEERS / f"{peer}.lock").read_text(encoding="utf-8")
    assert "scikit-learn==" in lock
    assert "--hash=sha256:" in lock


def test_a_missing_environment_is_not_made_by_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "ENVIRONMENTS", tmp_path)
    with pytest.raises(AbsentError, match="is made by `make bench ARGS=peers/rq`"):
        environment.python_of("rq", make=False)
    with pytest.raises(AbsentError, match="`make lock` has not locked"):
        environment.python_of("nobody", make=True)


def test_an_unknown_benchmark_is_refused_with_the_names_that_there_are() -> None:
    done = run("throughput")
    assert done.returncode == 2
    assert "'score'" in done.stderr


# What a run keeps, and how it is shown


def result_of(rate: float) -> Result:
    return Result("peers", "work", "", [way("headrace", [{"per s": rate}]), way(f"peer {rate:g}", [{"per s": 1.0}])])


def test_a_finished_part_is_kept_for_its_machine_and_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "FOLDER", tmp_path)
    part = Part("peers/rq", "a machine", "versions", "abc", 1.5, result_of(10.0))
    parts.keep("full", part)
    assert parts.kept("full", "peers/rq", "a machine", "versions") == part
    assert parts.kept("full", "peers/rq", "another", "versions") is None
    assert parts.kept("full", "peers/rq", "a machine", "newer") is None
    assert parts.kept("quick", "peers/rq", "a machine", "versions") is None
    assert parts.kept("full", "score", "a machine", "versions") is None


def test_parts_of_one_table_are_merged_into_it() -> None:
    whole = merged([result_of(10.0), result_of(30.0), result_of(20.0)])
    assert [one.name for one in whole.ways] == ["headrace", "peer 10", "peer 30", "peer 20"]
    together = whole.ways[0].measures["per s"]
    assert together is not None
    assert (together.low, together.median, together.high) == (10.0, 20.0, 30.0)


def test_what_does_not_apply_to_a_way_is_left_out() -> None:
    assert way("x", [{"a": 1.0, "b": float("nan")}]).measures["b"] is None


def test_what_steps_lose_is_found_under_a_machine_that_slows_down_tenfold() -> None:
    chance = random.Random(7)
    fits, busy = [], []
    for step in range(60_000):
        slow = 10.0 if step % 1_530 < 100 else 1.0
        busy.append(step % 200 in (0, 1))
        fits.append(slow * 1000 * chance.uniform(0.95, 1.05) + 300 * busy[-1])
    found = lost(fits, [4.0] * len(fits), busy)
    assert found["run.log us"] == 4.0
    assert found["sending us"] == pytest.approx(3.0, rel=0.05)
    assert found["speed %"] == pytest.approx(99.3, abs=0.02)


def test_a_drawing_holds_every_point_within_its_bounds() -> None:
    drawing = svg(Panel("a < b", "x", "y", {"one": [(1, 0.5), (4096, 2_000_000)], "two": [(64, 0)]}))
    root = ElementTree.fromstring(drawing)
    circles = [one for one in root.iter() if one.tag.endswith("circle")]
    assert len(circles) == 3
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    assert all(0 < float(one.attrib["cx"]) < width and 0 < float(one.attrib["cy"]) < height for one in circles)


@pytest.mark.parametrize(("value", "shown"), [(0.1, "0.1"), (10, "10"), (1_000, "1k"), (2e7, "20M"), (3e9, "3G")])
def test_round_numbers_are_short(value: float, shown: str) -> None:
    assert short(value) == shown
