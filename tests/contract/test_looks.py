"""What a look answered at a moment it answers later of that moment: the past has what was looked up, too."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace.bus import Bus, Commit
from headrace.channels import ACTIONS, ALERTS, DEAD, FRAMES, REQUESTS, RUNS
from headrace.dashboard.feed import Feed
from headrace.dashboard.looks import Look, looks, looks_at
from headrace.dashboard.past import Archive
from headrace.dashboard.state import State
from headrace.events import (
    ActionTaken,
    Alert,
    EntryDead,
    Event,
    Frame,
    ModelView,
    PredictionRequested,
    QualityView,
    RunCandidate,
    RunFinished,
    RunMetrics,
    RunStarted,
    stamped,
)
from headrace.letters import actions, letters
from headrace.models.registry import Registry
from headrace.positions import Handle, Position
from headrace.subscriber.aggregation import saved
from headrace.subscriber.aggregation.runs import Runs
from headrace.testing import wait_until
from tests.unit.frames import frame
from tests.unit.served import shelf

NAMES = (
    "cleared",
    "dead",
    "runs",
    "run:old",
    "search:s",
    f"tail:{REQUESTS}",
    "tail:runs",
    "versions:digits",
    "worst:digits@3",
)


class World:
    """A small pipeline on a real bus; the aggregator's fold of runs is its own."""

    def __init__(self, bus: Bus, registry: Registry) -> None:
        self.bus, self.registry = bus, registry
        self.runs = Runs()

    async def publish(self, channel: str, *events: Event) -> list[Position]:
        return (await self.bus.publish(channel, [stamped(event, "test") for event in events])).positions

    async def train(self, *events: Event) -> None:
        """Runs say something, and the aggregator saves it."""
        for event in events:
            whole = stamped(event, "test")
            (position,) = (await self.bus.publish(RUNS, [whole])).positions
            self.runs.fold(whole, position.ms / 1000)
        work = Commit(0)
        saved.save_runs(work, self.runs, await self.bus.time())
        await self.bus.commit(work)

    async def frame(self, *shown: str, models: list[ModelView]) -> tuple[Frame, Position]:
        """A frame with these runs only."""
        now = await self.bus.time()
        views = [view for view in self.runs.view(now) if view.run in shown]
        made = frame(time=now, runs=views, runs_total=len(self.runs), models=models)
        (position,) = await self.publish(FRAMES, made)
        return made, position


@pytest.fixture
def world(any_bus: Bus, tmp_path: Path) -> World:
    any_bus.settings = any_bus.settings.with_(models=tmp_path)
    return World(any_bus, shelf(tmp_path, datetime.now(UTC)))


async def answers(bus: Bus, state: State, asked: Iterable[Look], names: Iterable[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for look in asked:
        if wanted := [name for name in names if look.wants(name)]:
            found |= await look.look(bus, state, wanted)
    return {name: msgspec.to_builtins(view) for name, view in found.items()}


def taken(lines: list[dict[str, Any]], run: str) -> dict[str, Any]:
    """The line of a run, taken out."""
    return lines.pop(next(n for n, line in enumerate(lines) if line["run"] == run))


def alert(name: str, state: Any) -> Alert:
    return Alert(name=name, subject="x", state=state, text=f"{name} happened")


def dead(number: int) -> EntryDead:
    return EntryDead(
        channel=REQUESTS, partition=0, position=f"1-{number}", group="g", reason="bad", attempts=1, payload=b"{}"
    )


def asks(number: int) -> PredictionRequested:
    return PredictionRequested(id=f"q{number}", model="digits", inputs=[[float(number)] * 64])


async def before(world: World) -> list[ModelView]:
    """What happened until the moment; the models of its frame."""
    await world.publish(ALERTS, alert("a", "raised"), alert("a", "cleared"), alert("b", "raised"))
    await world.publish(DEAD, dead(1), dead(2))
    handles = [str(Handle(0, place)) for place in await world.publish(REQUESTS, asks(1), asks(2), asks(3))]
    await world.train(
        RunStarted(run="old", name="old", params={"C": 1}),
        *(RunMetrics(run="old", step=n, metrics={"loss": 1 / n}) for n in range(1, 9)),
        RunFinished(run="old", status="finished"),
        RunStarted(run="far", name="far", total_steps=40),
        *(RunMetrics(run="far", step=n, metrics={"loss": 1 / n}) for n in range(1, 9)),
        RunStarted(run="s", name="s"),
        RunCandidate(run="s", candidate="one", params={"C": 1}, metrics={"score": 0.5}),
        RunCandidate(run="s", candidate="two", params={"C": 2}, status="running"),
    )
    worst = [(handle, 0, 1.0, 2.0, 0.9) for handle in handles]
    return [ModelView(name="digits", version=3, champion=True, image=(8, 8), quality=QualityView(worst=worst))]


async def after(world: World, at_ms: int) -> None:
    """What happened since."""
    await wait_until(lambda: time.time() * 1000 > at_ms + 20)
    await world.publish(ALERTS, alert("b", "cleared"), alert("c", "raised"))
    await world.publish(DEAD, dead(3))
    await world.publish(ACTIONS, ActionTaken(action="discard", subject="letter"))
    await world.publish(REQUESTS, asks(4))
    world.registry.rollback("digits")
    world.registry.promote("digits", 1)
    await world.train(
        *(RunMetrics(run="far", step=n, metrics={"loss": 1 / n}) for n in range(9, 30)),
        RunFinished(run="far", status="failed", error="it broke"),
        RunCandidate(run="s", candidate="two", params={"C": 2}, metrics={"score": 0.9}),
        RunCandidate(run="s", candidate="two", params={"C": 2}, status="running", rung=1),
        RunCandidate(run="s", candidate="three", params={"C": 3}, status="running"),
        RunStarted(run="new", name="new"),
    )


async def test_a_look_at_the_past_finds_what_it_found_then(world: World) -> None:
    models = await before(world)
    shown, position = await world.frame("s", models=models)
    state = State(epoch="e")
    state.fold(shown, position)
    then = await answers(world.bus, state, looks(), NAMES)
    assert then.keys() == set(NAMES)
    assert [row["pixels"] != "" for row in then["worst:digits@3"]["rows"]] == [True] * 3
    await after(world, position.ms)
    assert await answers(world.bus, state, looks(), NAMES) != then
    again = await answers(world.bus, state, looks_at(position.ms), NAMES)
    far_then, far_again = [taken(found["runs"]["runs"], "far") for found in (then, again)]
    assert again == then
    for name in ("state", "step", "total_steps", "metrics", "best", "started"):  # as far as its curves tell
        assert far_again.get(name) == far_then.get(name), name


async def test_a_run_that_went_on_in_no_frame_has_its_curves_of_then(world: World) -> None:
    shown, position = await world.frame("s", models=await before(world))
    state = State(epoch="e")
    state.fold(shown, position)
    then = (await answers(world.bus, state, looks(), ["run:far"]))["run:far"]
    await after(world, position.ms)
    again = (await answers(world.bus, state, looks_at(position.ms), ["run:far"]))["run:far"]
    assert again["curves"] == then["curves"]
    assert (again["error"], again["line"]["step"], again["line"]["state"]) == ("", 8, "running")


async def test_a_moment_of_the_archive_has_what_was_looked_up_and_not_what_began_later(world: World) -> None:
    shown, position = await world.frame("s", models=await before(world))
    state = State(epoch="e")
    state.fold(shown, position)
    then = await answers(world.bus, state, looks(), ["search:s", "cleared"])
    await after(world, position.ms)
    await world.frame("s", "new", models=[])
    earlier = await Archive(Feed(world.bus)).at(position.ms + 5)
    await earlier.look(["search:s", "cleared", "run:new", "no such:section"])
    for name, view in then.items():
        section = earlier.sections.section(name)
        assert section is not None
        assert msgspec.json.decode(section) == msgspec.json.decode(msgspec.json.encode(view)), name
    assert earlier.sections.section("run:new") is None


async def test_letters_and_what_was_done_about_them_are_those_of_the_moment(world: World) -> None:
    await before(world)
    _, position = await world.frame("s", models=[])
    then = await letters(world.bus)
    await after(world, position.ms)
    again = await letters(world.bus, at=position.ms)
    assert [one.place for one in again.letters] == [one.place for one in then.letters]
    assert (again.waiting, again.complete) == (2, True)
    assert await actions(world.bus, at=position.ms) == []
    assert len(await actions(world.bus)) == 1
