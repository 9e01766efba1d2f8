"""Guarantee 5: the dashboard is a fold; given an earlier position it shows the past, as it was shown then."""

from __future__ import annotations

import asyncio
import json
import time

import msgspec
import pytest
from msgspec.structs import replace

from headrace.bus import Bus, Commit
from headrace.channels import FRAMES, FRAMES_LONG, JOINED, TAIL
from headrace.codec import encode
from headrace.curves import Curve, SavedCurve, part_field, run_state
from headrace.dashboard.feed import Feed
from headrace.dashboard.past import Archive, PastError
from headrace.events import AnyEvent
from headrace.positions import Position
from tests.unit.frames import STEP_S, Story
from tests.unit.trainings import Rounds

STORY_S = 1000
"""Longer than any series is kept."""
DENSE_S = 150
"""The last part, in which nothing is left out: before it there is a frame a second."""
BACK = (1, 57, 240)
"""Frames before the newest: the moments that are looked at."""
BEGUN_S = 0.1
"""How long before the second of them trainings began, which had logged nothing by then."""
NAMES = ("overview", "model:digits@3", "model:diabetes@1")


async def append(bus: Bus, channel: str, events: list[tuple[float, AnyEvent]], first: int = 1) -> None:
    """Append events as they would have come at their Unix times: a log is what its positions say."""
    log, names = bus.names.log(channel), bus.names
    pipe = bus._client.pipeline(transaction=False)
    for number, (at, event) in enumerate(events, start=first):
        pipe.xadd(log, {b"e": encode(event)}, id=str(Position(int(at * 1000), number)))
    last = Position(int(events[-1][0] * 1000), first + len(events) - 1)
    pipe.set(names.head(channel), f"epoch-1 {last}")
    await pipe.execute()


async def save(bus: Bus, curves: dict[str, dict[str, Curve]]) -> None:
    """Save the curves of runs as the aggregator does."""
    work = Commit(0)
    for run, metrics in curves.items():
        work.save(run_state(run), {part_field(name, 0): saved(curve) for name, curve in metrics.items()})
    await bus.commit(work)


def saved(curve: Curve) -> bytes:
    """A curve as the aggregator has it, which knows of two values at each step what the frames tell of them."""
    points = curve.points()
    spans = {step: (low, high) for step, low, high in curve.spans(points)}
    buckets = [(step, 2 * value, 2) for step, value in points]
    return msgspec.msgpack.encode(
        SavedCurve(curve.stride, buckets, [spans.get(step, (value, value)) for step, value in points])
    )


@pytest.fixture
def story() -> tuple[Story, float]:
    """A tale, and the Unix time at which it begins: a while ago, and not at a round second."""
    begin = float(int(time.time())) - STORY_S + 0.13
    second = begin + STORY_S - STEP_S * (1 + BACK[1])
    return Story(rounds=Rounds(second - BEGUN_S - 1440)), begin


def events_of(story: Story, begin: float) -> dict[str, list[tuple[float, AnyEvent]]]:
    every = [begin + n * STEP_S for n in range(int(STORY_S / STEP_S))]
    times = [t for n, t in enumerate(every) if n % 4 == 0 or t > every[-1] - DENSE_S]
    found: dict[str, list[tuple[float, AnyEvent]]] = {FRAMES: [], TAIL: [], JOINED: []}
    for number, t in enumerate(times, start=1):
        found[FRAMES].append((t, story.frame(t, number)))
        if t > times[-1] - DENSE_S:
            samples = [story.sample(t - 0.1 - 0.01 * n, number * 2 + n) for n in (1, 0)]
            found[TAIL] += [(t - 0.1 - 0.01 * (1 - n), sample) for n, sample in enumerate(samples)]
            found[JOINED].append((t - 0.05, story.joined(samples)))
    return found


async def test_an_earlier_moment_is_shown_as_it_was_shown_then(any_bus: Bus, story: tuple[Story, float]) -> None:
    tale, begin = story
    events = events_of(tale, begin)
    for channel, dated in events.items():
        await append(any_bus, channel, dated)
    every = sorted(
        ((Position(int(at * 1000), n), event) for dated in events.values() for n, (at, event) in enumerate(dated, 1)),
        key=lambda one: one[0],
    )
    feed = Feed(any_bus)
    feed.state.epoch = "epoch-1"
    shown: dict[int, tuple[list[bytes | None], bytes]] = {}
    wanted = {len(events[FRAMES]) - back for back in BACK}
    curves: dict[str, dict[str, Curve]] = {}
    for position, event in every:
        feed.state.fold(event, position)
        curves.update(feed.state.curves)
        if feed.state.position == position and position.number in wanted:
            sections = [feed.sections.section(name) for name in NAMES]
            shown[position.ms] = sections, feed.sections.history()
    assert len(shown) == len(wanted)
    await save(any_bus, curves)
    archive = Archive(feed)
    for at_ms, (sections, history) in shown.items():
        earlier = await archive.at(at_ms)
        assert earlier.state.position.ms == at_ms
        assert [earlier.sections.section(name) for name in NAMES] == sections
        then, past = json.loads(history), json.loads(earlier.sections.history())
        for part in then:
            assert past[part] == then[part], part


async def test_a_moment_between_two_frames_is_that_of_the_frame_before(any_bus: Bus) -> None:
    now = float(int(time.time()))
    await append(any_bus, FRAMES, [(now - 30 + n, Story().frame(now - 30 + n, n)) for n in range(20)])
    archive = Archive(Feed(any_bus))
    found = await archive.at(int((now - 20) * 1000) + 999)
    assert found.state.position.ms == int((now - 20) * 1000)
    assert await archive.at(int((now - 20) * 1000)) is found


async def test_before_the_frames_it_is_read_from_one_of_every_ten_seconds(any_bus: Bus) -> None:
    now = float(int(time.time()))
    sparse = [(now - 3600 + 10 * n, Story().frame(now - 3600 + 10 * n, n)) for n in range(360)]
    await append(any_bus, FRAMES_LONG, [(at, replace(frame, points={})) for at, frame in sparse])
    await append(any_bus, FRAMES, [(now - 60 + n, Story().frame(now - 60 + n, n)) for n in range(60)])
    archive = Archive(Feed(any_bus))
    found = await archive.at(int((now - 1805) * 1000))
    assert found.state.frame == replace(Story().frame(now - 1810, 179), points={})
    times = found.state.history.columns()[2].times
    assert len(times) >= 80
    assert times[-1] - times[0] > 800
    straddling = await archive.at(int((now - 30) * 1000))
    raw = straddling.state.history.columns()[0].times
    assert raw[0] < now - 60 < raw[-1] <= now - 30


async def test_what_is_older_than_anything_kept_is_refused_with_the_oldest_moment(any_bus: Bus) -> None:
    archive = Archive(Feed(any_bus))
    with pytest.raises(PastError, match="headrace aggregator"):
        await archive.at(1_000)
    now = float(int(time.time()))
    await append(any_bus, FRAMES, [(now, Story().frame(now, 1))])
    with pytest.raises(PastError, match="oldest moment is 20") as refused:
        await archive.at(int(now * 1000) - 1)
    assert refused.value.oldest_ms == int(now * 1000)


async def test_many_who_want_the_same_moment_have_it_built_once(any_bus: Bus) -> None:
    now = float(int(time.time()))
    await append(any_bus, FRAMES, [(now - 30 + n, Story().frame(now - 30 + n, n)) for n in range(20)])
    archive = Archive(Feed(any_bus))
    found = await asyncio.gather(*(archive.at(int((now - 20) * 1000) + n) for n in range(6)))
    assert all(one is found[0] for one in found)


async def test_a_log_that_was_replaced_is_not_mistaken_for_the_old_one(any_bus: Bus) -> None:
    now = float(int(time.time()))
    await append(any_bus, FRAMES, [(now - 9, Story().frame(now - 9, 1))])
    archive = Archive(Feed(any_bus))
    before = await archive.at(int(now * 1000))
    await any_bus._client.delete(any_bus.names.log(FRAMES))
    await append(any_bus, FRAMES, [(now - 9, Story(load=9).frame(now - 9, 1))])
    await any_bus._client.set(any_bus.names.head(FRAMES), f"epoch-2 {before.state.position}")
    after = await archive.at(int(now * 1000))
    assert after.state.frame != before.state.frame
