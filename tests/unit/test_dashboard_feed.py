"""The feed on a real bus: what was published is shown, a restart shows the same, an outage is said."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import fakeredis

from headrace.bus import Bus, Commit
from headrace.channels import FRAMES, JOINED, TAIL
from headrace.curves import Curve, part_field, run_state
from headrace.dashboard.feed import Feed
from headrace.dashboard.sections.overview import overview
from headrace.events import PredictionJoined, PredictionSampled, RunView, stamped
from headrace.testing import wait_until
from tests.unit.frames import Story, frame


@asynccontextmanager
async def following(bus: Bus) -> AsyncIterator[Feed]:
    feed = Feed(bus)
    tasks = [asyncio.create_task(feed.run()), asyncio.create_task(feed.look())]
    try:
        await wait_until(lambda: feed.connected)
        yield feed
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def publish_frames(bus: Bus, first: int, count: int) -> None:
    for n in range(first, first + count):
        await bus.publish(FRAMES, [Story().frame(time.time(), n)])


async def test_a_frame_that_was_published_is_shown(bus: Bus) -> None:
    async with following(bus) as feed:
        wake = asyncio.Event()
        with feed.watch(wake):
            await publish_frames(bus, 1, 1)
            await asyncio.wait_for(wake.wait(), 5)
            await wait_until(lambda: feed.state.number == 1)
        assert feed.status().bus == "up"
        assert feed.frames == 1


async def test_a_restarted_dashboard_shows_the_same(bus: Bus) -> None:
    async with following(bus) as feed:
        await publish_frames(bus, 1, 12)
        await wait_until(lambda: feed.state.number == 12)
        shown, history = overview(feed.state), feed.state.history.columns()
    async with following(bus) as again:
        assert overview(again.state) == shown
        assert again.state.history.columns() == history
        assert again.state.epoch == feed.state.epoch
        assert again.state.since(feed.state.epoch, 10) is not None


async def test_the_tail_and_its_truths_are_there_after_a_restart(bus: Bus) -> None:
    async with following(bus) as feed:
        await publish_frames(bus, 1, 1)
        for number in range(3):
            sample = stamped(Story().sample(time.time(), number))
            await bus.publish(TAIL, [sample])
            await bus.publish(JOINED, [stamped(Story().joined([sample]))])
            await wait_until(lambda: bool(feed.state.tail))
        await publish_frames(bus, 2, 2)
        await wait_until(lambda: feed.state.number == 3)
        shown = list(feed.state.tail)
        assert shown
    async with following(bus) as again:
        assert list(again.state.tail) == shown
        assert again.state.truths.keys() == {shown[0].event.prediction}


async def test_saved_curves_are_there_after_a_restart(bus: Bus) -> None:
    curve = Curve()
    for step in range(1, 40):
        curve.add(step, 1 / step)
    parts, _ = curve.take_saves()
    work = Commit(0)
    work.save(run_state("r"), {part_field("loss", n): part for n, part in parts.items()})
    await bus.commit(work)
    run = RunView(run="r", name="r", state="running")
    await bus.publish(FRAMES, [stamped(frame(runs=[run], points={"r": {"loss": [(40, 0.01)]}}, time=0.0))])
    async with following(bus) as feed:
        points = feed.state.curves["r"]["loss"].points()
    assert [step for step, _ in points] == list(range(1, 41))


async def test_a_label_is_looked_up_while_somebody_watches(bus: Bus) -> None:
    async with following(bus) as feed:
        with feed.watch(asyncio.Event(), lambda: ("status",)):
            await bus.publish(
                TAIL,
                [PredictionSampled(model="m", version=1, prediction="0-5-1", request="q", inputs=[1.0], label=2)],
            )
            await wait_until(lambda: feed.state.tail)
            joined = PredictionJoined(model="m", version=1, predictions=["0-5-1"], predicted=[2], actual=[3])

            async def found() -> bool:
                await bus.publish(JOINED, [joined])
                await asyncio.sleep(0.1)
                return bool(feed.state.truths)

            await wait_until(found, timeout_s=10)
        assert feed.state.truths == {"0-5-1": 3}


async def test_what_cannot_be_read_is_counted_and_skipped(bus: Bus) -> None:
    async with following(bus) as feed:
        await bus.publish(FRAMES, [b'{"type": "frame.of.tomorrow"}'])
        await publish_frames(bus, 2, 1)
        await wait_until(lambda: feed.state.number == 2)
        assert feed.unknown == 1


async def test_an_outage_is_said_and_healed(bus: Bus, headrace_fake: fakeredis.FakeServer) -> None:
    async with following(bus) as feed:
        await publish_frames(bus, 1, 1)
        await wait_until(lambda: feed.state.number == 1)
        headrace_fake.connected = False
        await wait_until(lambda: feed.status().bus == "down", timeout_s=10)
        assert feed.status().reason
        headrace_fake.connected = True
        await publish_frames(bus, 2, 3)
        await wait_until(lambda: feed.state.number == 4, timeout_s=15)
        await wait_until(lambda: feed.status().bus == "up", timeout_s=10)
