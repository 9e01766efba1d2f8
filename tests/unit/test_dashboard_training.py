"""The training page shows every run that is kept: those of the frames at once, the others as they are looked up."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import msgspec
import pytest

from headrace.curves import CLOCK, Curve, SavedCandidate, SavedRank, SavedRun, candidate_field, part_field
from headrace.dashboard.looks.runs import MOST, READ_S, Runs
from headrace.dashboard.sections import Sections, Status
from headrace.dashboard.sections.rows import moment_row
from headrace.dashboard.sections.training import (
    CANDIDATES_SHOWN,
    PastRuns,
    RunDetail,
    SearchDetail,
    search_detail,
    training,
)
from headrace.dashboard.state import State
from headrace.events import RunView
from headrace.positions import Position
from headrace.settings import Settings
from tests.unit import trainings
from tests.unit.frames import Story, StoryBus, frame

STATUS = Status(bus="up", reason="", viewers=1, prefix="p", server="redis://h", live=0, healed=0, lost=0, unknown=0)


class SavedBus(StoryBus):
    """Hands out saved state, and counts how often it is asked for."""

    def __init__(self, saved: dict[str, dict[str, bytes]]) -> None:
        super().__init__(Settings(), Story(), past_s=0)
        self.saved = saved
        self.asked: Counter[str] = Counter()

    async def state(self, name: str, partition: int = 0) -> dict[str, bytes]:
        self.asked[name] += 1
        return self.saved.get(name, {})


def run(name: str, state: str = "running", **fields: Any) -> RunView:
    return RunView(run=name, name=name, state=state, **fields)


def saved(view: RunView, seen: float, status: str = "") -> bytes:
    return SavedRun(view=view, ranks={0: SavedRank(status=status)}, seen=seen).encode()


def parts(**curves: list[tuple[int, float]]) -> dict[str, bytes]:
    found = {}
    for metric, points in curves.items():
        curve = Curve()
        for step, value in points:
            curve.add(step, value)
        found[part_field(CLOCK if metric == "clock" else metric, 0)] = msgspec.msgpack.encode(curve.save())
    return found


def state_of(time: float, *views: RunView, total: int = 0, number: int = 1) -> State:
    state = State(epoch="e")
    state.fold(frame(time=time, runs=list(views), runs_total=total or len(views)), Position(number, number))
    return state


def test_the_runs_of_a_frame_are_shown_with_how_many_there_are() -> None:
    shown = training(state_of(1000.0, run("a", metrics={"loss": 0.123456789}), total=300))
    assert shown is not None
    assert (shown.total, shown.time) == (300, 1000.0)
    assert [(line.run, line.metrics) for line in shown.runs] == [("a", {"loss": 0.123457})]


def test_forty_runs_with_many_parameters_stay_small() -> None:
    params = {f"a parameter with a long name {n}": "x" * 400 for n in range(60)}
    views = [run(f"r{n}", params=params, metrics={"loss": 0.5}, error="e" * 2000) for n in range(40)]
    made = Sections(lambda: state_of(1000.0, *views), lambda: STATUS).section("training")
    assert made is not None
    assert len(made) < 40_000


async def test_runs_that_no_frame_holds_are_looked_up_and_only_every_few_seconds() -> None:
    bus = SavedBus({"runs": {name: saved(run(name, "finished"), 900.0, "finished") for name in ("a", "b", "c")}})
    look = Runs()
    found = await look.look(bus, state_of(1000.0, run("c"), total=3), ["runs"])
    [past] = [section for section in found.values() if isinstance(section, PastRuns)]
    assert [line.run for line in past.runs] == ["a", "b"]
    await look.look(bus, state_of(1000.0 + READ_S - 1, run("c"), total=3), ["runs"])
    assert bus.asked == {"runs": 1}
    await look.look(bus, state_of(1000.0 + READ_S, run("c"), total=3), ["runs"])
    assert bus.asked == {"runs": 2}


async def test_nothing_is_read_while_the_frames_hold_every_run() -> None:
    bus = SavedBus({})
    found = await Runs().look(bus, state_of(1000.0, run("a"), run("b")), ["runs", "run:a"])
    assert bus.asked == {}
    detail = found["run:a"]
    assert isinstance(detail, RunDetail)
    assert detail.curves is None


async def test_a_run_that_fell_silent_before_it_left_the_frames_is_not_shown_as_running() -> None:
    bus = SavedBus({"runs": {"a": saved(run("a", "running"), 900.0), "b": saved(run("b", "running"), 980.0)}})
    found = await Runs().look(bus, state_of(1000.0, run("c"), total=3), ["runs"])
    [past] = [section for section in found.values() if isinstance(section, PastRuns)]
    assert {line.run: line.state for line in past.runs} == {"a": "crashed", "b": "stalled"}


async def test_a_run_that_left_the_frames_is_there_before_it_is_read_again() -> None:
    bus, look = SavedBus({"runs": {"a": saved(run("a", "finished"), 900.0, "finished")}}), Runs()
    await look.look(bus, state_of(1000.0, run("b"), total=2), ["runs"])
    found = await look.look(bus, state_of(1001.0, run("c"), total=3), ["runs"])
    [past] = [section for section in found.values() if isinstance(section, PastRuns)]
    assert {line.run for line in past.runs} == {"a", "b"}


async def test_curves_of_a_run_that_no_frame_holds_come_with_its_clock_and_are_read_once() -> None:
    bus = SavedBus(
        {
            "runs": {"a": saved(run("a", "finished", updated=900.0), 900.0, "finished")},
            "run-a": parts(loss=[(1, 2.0), (1, 4.0), (2, 1.0)], clock=[(1, 890.5), (2, 895.25)]),
        }
    )
    look = Runs()
    for second in range(3):
        found = await look.look(bus, state_of(1000.0 + second, run("b"), total=2), ["run:a"])
    detail = found["run:a"]
    assert isinstance(detail, RunDetail)
    assert detail.curves == {
        CLOCK: (1, [(1, 890.5), (2, 895.25)]),
        "loss": (1, [(1, 3.0, 2.0, 4.0), (2, 1.0)]),
    }
    assert bus.asked["run-a"] == 1


async def test_one_look_reads_a_bounded_number_of_curves() -> None:
    names = [f"r{n:02}" for n in range(MOST + 4)]
    bus, look = SavedBus({"runs": {name: saved(run(name, "finished"), 900.0, "finished") for name in names}}), Runs()
    watched = [f"run:{name}" for name in names]
    first = await look.look(bus, state_of(1000.0, run("x"), total=99), watched)
    assert len(first) == MOST
    second = await look.look(bus, state_of(1001.0, run("x"), total=99), watched)
    assert len(second) == len(names)


async def test_candidates_are_read_again_when_the_search_said_something() -> None:
    def candidate(name: str, number: int, **fields: Any) -> tuple[str, bytes]:
        made = SavedCandidate(candidate=name, number=number, time=990.0 + number, metrics={"score": 0.5}, **fields)
        return candidate_field(name, made.rung), made.encode()

    bus, look = SavedBus({"search-s": dict([candidate("a", 1)])}), Runs()
    search = run("s", candidates=1, updated=999.0)
    await look.look(bus, state_of(1000.0, search), ["search:s"])
    found = await look.look(bus, state_of(1001.0, search), ["search:s"])
    assert bus.asked["search-s"] == 1
    bus.saved["search-s"] |= dict([candidate("b", 2), candidate("b", 2, rung=1)])
    found = await look.look(bus, state_of(1002.0, run("s", candidates=2, updated=1002.0)), ["search:s"])
    shown = found["search:s"]
    assert isinstance(shown, SearchDetail)
    assert [(line.candidate, line.number, line.rung) for line in shown.candidates] == [
        ("a", 1, 0),
        ("b", 2, 0),
        ("b", 2, 1),
    ]


def test_nested_runs_are_candidates_and_what_is_judged_twice_counts_once() -> None:
    children = [
        run("child", "finished", parent="s", ended=50.0, started=10.0, best={"loss": 0.1}, params={"C": 1}),
        run("judged", "finished", parent="s", ended=60.0),
        run("going", parent="s", started=55.0),
    ]
    shown = search_detail(run("s"), [SavedCandidate(candidate="judged", number=1, time=40.0)], children)
    assert [(line.candidate, line.number, line.status, line.run) for line in shown.candidates] == [
        ("judged", 1, "finished", ""),
        ("child", 2, "finished", "child"),
        ("going", 3, "running", "going"),
    ]


def test_very_many_candidates_are_cut_and_say_so() -> None:
    shown = search_detail(
        run("s"), [SavedCandidate(candidate=f"c{n}", number=n) for n in range(CANDIDATES_SHOWN + 7)], []
    )
    assert (len(shown.candidates), shown.cut) == (CANDIDATES_SHOWN, 7)


async def test_a_broken_state_costs_one_section_only() -> None:
    bus = SavedBus(
        {
            "runs": {"a": saved(run("a", "finished"), 900.0, "finished"), "broken": b"\x00"},
            "run-a": {"0:loss": b"\xff"},
        }
    )
    found = await Runs().look(bus, state_of(1000.0, run("b"), total=3), ["runs", "run:a", "run:broken", "run:none"])
    assert list(found) == ["runs"]


def test_a_moment_brings_spans_and_the_clock_in_milliseconds() -> None:
    state = State(epoch="e")
    points = {"r": {CLOCK: [(1, 1_763_800_000.12345)], "loss": [(1, 0.5), (2, 0.4)]}}
    state.fold(frame(runs=[run("r")], points=points, spans={"r": {"loss": [(1, 0.2, 0.9)]}}), Position(1, 1))
    row = moment_row(state.moments[-1], state)
    assert row.points == {"r": {CLOCK: [(1, 1_763_800_000.123)], "loss": [(1, 0.5, 0.2, 0.9), (2, 0.4)]}}
    past = json.loads(Sections(lambda: state, lambda: STATUS).history())
    assert past["curves"]["r"]["loss"] == [1, [[1, 0.5, 0.2, 0.9], [2, 0.4]]]


def test_what_a_look_found_is_made_into_bytes_once() -> None:
    state = state_of(1000.0, run("a"))
    found: dict[str, msgspec.Struct] = {"runs": PastRuns(runs=[])}
    sections = Sections(lambda: state, lambda: STATUS, found)
    first = sections.section("runs")
    assert first == b'{"runs":[]}'
    assert sections.section("runs") is first
    found["runs"] = search_detail(run("s"), [], [])
    assert sections.section("runs") != first


@pytest.mark.parametrize("t", [1_763_800_000.0, 1_763_800_077.3])
def test_the_story_has_something_of_everything(t: float) -> None:
    views = trainings.views(t)
    assert {view.state for view in views} >= {"running", "stalled", "failed", "crashed"}
    assert max(view.ranks for view in views) == 4
    assert len(trainings.saved("runs", t)) == trainings.PAST
    search = next(view for view in views if view.run.startswith("search"))
    assert len(trainings.saved(f"search-{search.run}", t)) > 1
