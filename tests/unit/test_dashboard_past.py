"""Earlier moments over the socket and HTTP: what a viewer is sent, what the time bar shows, and what is refused."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from headrace.channels import ALERTS, FRAMES
from headrace.codec import encode
from headrace.curves import Curve
from headrace.dashboard.feed import Feed
from headrace.dashboard.looks.earlier import until
from headrace.dashboard.past import KEPT, Archive
from headrace.dashboard.series import values
from headrace.dashboard.socket import Viewer, ViewerError
from headrace.dashboard.span import Spans, arrived, holes
from headrace.events import Alert
from headrace.positions import Entry, Position
from headrace.settings import Settings
from tests.unit.frames import Story, StoryBus, StoryPage


@pytest.fixture
def bus() -> StoryBus:
    return StoryBus(Settings(), Story(), past_s=200)


@pytest.fixture
async def feed(bus: StoryBus) -> Feed:
    """Knows what the log holds."""
    feed = Feed(bus)
    await feed._load()
    return feed


def times_of(bus: StoryBus) -> list[int]:
    return [entry.position.ms for entry in bus.logs[FRAMES]]


def hears(viewer: Viewer, **words: Any) -> dict[str, Any]:
    if words:
        viewer.hear(json.dumps(words))
    message = viewer.next()
    return json.loads(message) if message else {}


async def test_a_viewer_of_the_past_gets_that_moment_and_nothing_live(bus: StoryBus, feed: Feed) -> None:
    archive, viewer, at = Archive(feed), Viewer(feed), times_of(bus)[-200]
    first = hears(viewer, show=["overview", "status"])
    assert first["number"] == feed.state.number
    hears(viewer, at=at, seen=1)
    viewer.give(at, await archive.at(at))
    message = hears(viewer)
    assert message["at"] == at
    assert message["number"] == bus.logs[FRAMES][-200].position.number
    assert message["past"]["tiers"][0]["times"][-1] == pytest.approx(at / 1000, abs=0.01)
    assert message["sections"]["overview"]["number"] == message["number"]
    feed.state.fold(Story().frame(time.time(), 1), bus.next_frame().position)
    assert hears(viewer, seen=2) == {}
    assert hears(viewer, ping=1.5)["pong"] == 1.5
    detail = hears(viewer, show=["overview", "status", "model:digits@3"])
    assert list(detail["sections"]) == ["model:digits@3"]
    assert viewer.watched == ("status",)
    back = hears(viewer, at=None)
    assert "at" not in back
    assert back["number"] == feed.state.number
    assert len(back["past"]["tiers"][0]["times"]) > 1
    assert back["sections"].keys() == {"overview", "status", "model:digits@3"}


async def test_what_no_frame_holds_is_looked_up_once_for_a_moment_and_comes_after_it(bus: StoryBus, feed: Feed) -> None:
    archive, viewer, at = Archive(feed), Viewer(feed), times_of(bus)[-100]
    hears(viewer, show=["overview", "cleared", "no such:thing", "clock"], at=at)
    assert viewer.missing is None
    viewer.give(at, await archive.at(at))
    assert hears(viewer)["sections"].keys() == {"overview"}
    assert viewer.missing is not None
    earlier, names = viewer.missing
    assert names == ["cleared", "no such:thing"]
    await earlier.look(names)
    viewer.looked(names)
    assert viewer.missing is None
    cleared = hears(viewer, seen=1)["sections"]["cleared"]
    assert [over["name"] for over in cleared["alerts"]] == ["worker gone", "group growing"]
    assert hears(viewer, seen=2) == {}
    hears(viewer, show=["overview", "runs"])
    assert viewer.missing == (earlier, ["runs"])


async def test_a_moment_that_was_left_again_is_not_sent(bus: StoryBus, feed: Feed) -> None:
    archive, viewer = Archive(feed), Viewer(feed)
    early, late = times_of(bus)[-300], times_of(bus)[-100]
    hears(viewer, show=["overview"], at=early)
    viewer.hear(json.dumps({"at": late}))
    viewer.give(early, await archive.at(early))
    assert viewer.waits
    assert hears(viewer) == {}
    viewer.give(late, await archive.at(late))
    assert hears(viewer)["at"] == late


@pytest.mark.parametrize("at", [-1, 10**14, 1.5, "now", [1]])
def test_what_is_no_moment_is_refused(bus: StoryBus, at: Any) -> None:
    with pytest.raises(ViewerError):
        Viewer(Feed(bus)).hear(json.dumps({"at": at}))


async def test_only_so_many_moments_are_kept(bus: StoryBus, feed: Feed) -> None:
    archive = Archive(feed)
    for at in times_of(bus)[-60 : -60 + KEPT + 3]:
        await archive.at(at)
    assert len(archive._kept) == KEPT
    assert archive._building == {}


async def test_building_lets_others_run(bus: StoryBus, feed: Feed) -> None:
    longest, running = 0.0, True

    async def watch() -> None:
        """Processor time of this thread between two turns of the loop: other processes do not count."""
        nonlocal longest
        before = time.thread_time()
        while running:
            await asyncio.sleep(0)
            now = time.thread_time()
            longest, before = max(longest, now - before), now

    gc.disable()  # what it takes grows with all that the tests before left behind
    try:
        watching = asyncio.create_task(watch())
        await Archive(feed).at(times_of(bus)[-20])
        running = False
        await watching
    finally:
        gc.enable()
    assert longest < 0.05


def test_a_curve_ends_at_its_step_then() -> None:
    curve = Curve()
    for step in range(1, 101):
        curve.add(step, float(step))
    assert until(curve, 40, went_on=True).points() == [(step, float(step)) for step in range(1, 41)]
    assert until(curve, 400, went_on=False).points() == curve.points()


def test_a_point_that_covers_later_steps_is_not_shown_before_they_were() -> None:
    curve = Curve(limit=8)
    for step in range(32):
        curve.add(step, float(step))
    assert curve.stride == 4
    assert [first for first, _ in until(curve, 9, went_on=True).points()] == [0, 4]
    assert [first for first, _ in until(curve, 31, went_on=False).points()] == [0, 4, 8, 12, 16, 20, 24, 28]


def test_holes_are_told_between_times_and_at_both_ends() -> None:
    assert holes([10, 11, 30, 31], 0, 32, 5) == [(0, 10), (11, 30)]
    assert holes([], 0, 32, 5) == [(0, 32)]
    assert holes([1, 2, 3], 0, 32, 40) == []


async def test_the_span_tells_what_came_in_where_frames_are_missing_and_when_it_was_alerted(
    bus: StoryBus, feed: Feed
) -> None:
    now = time.time()
    alert = Alert(name="lag", subject="requests", state="raised", severity="critical", text="it grows")
    bus.logs[ALERTS] = [Entry(Position(int((now - 50) * 1000), 1), encode(alert))]
    span = await Spans(feed).span(900, now + 60)
    assert span.oldest == times_of(bus)[0] / 1000 == span.begin
    assert [mark.text for mark in span.alerts] == ["it grows"]
    assert span.alerts[0].at == pytest.approx(now - 50, abs=0.01)
    assert len(span.gaps) == 1
    assert span.gaps[0] == pytest.approx((times_of(bus)[-1] / 1000, now + 60), abs=1)
    newest = feed.state.frame
    assert newest is not None
    assert span.rates[-1] == values(newest)["in"]


async def test_a_long_span_tells_the_mean_between_probes_and_asks_once(bus: StoryBus, feed: Feed) -> None:
    bus.keep_long(hours=1)
    now, spans = time.time(), Spans(feed)
    span = await spans.span(7_200, now)
    assert span.begin == pytest.approx(now - 3_800, abs=15)
    assert span.exact == times_of(bus)[0] / 1000
    assert len(span.times) > 50
    first = bus.logs["frames-long"][0]
    bus.logs["frames-long"] = [first]
    assert (await spans.span(7_200, now)).times == span.times
    assert feed.state.frame is not None
    assert arrived(feed.state.frame) > 0


@pytest.fixture
async def story_page(bus: StoryBus) -> AsyncIterator[StoryPage]:
    async with StoryPage(bus) as page:
        yield page


async def test_the_frame_of_a_moment_is_there_as_json(story_page: StoryPage) -> None:
    entry = story_page.bus.logs[FRAMES][-100]
    async with httpx.AsyncClient(base_url=story_page.url) as client:
        found = (await client.get("api/frame", params={"at": entry.position.ms + 120})).json()
        assert found["number"] == entry.position.number
        assert found["type"] == "frame"
        early = await client.get("api/frame", params={"at": times_of(story_page.bus)[0] - 1})
        assert early.status_code == 404
        assert "HEADRACE_FRAMES_S" in early.json()["error"]
        assert early.json()["oldest"] == times_of(story_page.bus)[0]
        for at in ("yesterday", "-5", "9" * 30):
            wrong = await client.get("api/frame", params={"at": at})
            assert wrong.status_code == 400
            assert "Unix milliseconds" in wrong.json()["error"]
        span = (await client.get("api/span", params={"seconds": 900})).json()
        assert span["times"]
        assert (await client.get("api/span", params={"seconds": 5})).status_code == 400


async def test_the_socket_goes_to_the_past_and_back(story_page: StoryPage) -> None:
    at = times_of(story_page.bus)[-200]
    async with connect(story_page.socket) as socket:
        await socket.send(json.dumps({"show": ["overview"], "at": at}))
        message = json.loads(await asyncio.wait_for(socket.recv(), 20))
        while "at" not in message:
            message = json.loads(await asyncio.wait_for(socket.recv(), 20))
        assert (message["at"], "past" in message) == (at, True)
        await socket.send(json.dumps({"at": at - 10_000_000, "seen": message["serial"]}))
        gone = json.loads(await asyncio.wait_for(socket.recv(), 20))
        assert "oldest moment" in gone["gone"]
        assert gone["oldest"] == times_of(story_page.bus)[0]
        await socket.send(json.dumps({"at": None, "seen": gone["serial"]}))
        live = json.loads(await asyncio.wait_for(socket.recv(), 20))
        assert live["number"] > message["number"]
