"""What the page of queues says is what frames and the log of alerts say, and it stays small."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.codec import encode
from headrace.dashboard.looks.alerts import READ, SHOWN, ClearedAlerts, over
from headrace.dashboard.sections import Sections, Status
from headrace.dashboard.sections.queues import (
    BATCHES_SHOWN,
    CHANNELS_SHOWN,
    GROUPS_SHOWN,
    RARE,
    WORKERS_SHOWN,
    batches,
    queues,
)
from headrace.dashboard.series import CLOSELY, DRAWN, values
from headrace.dashboard.state import State
from headrace.events import (
    Alert,
    BatchSample,
    ChannelView,
    GroupView,
    Rate,
    ServerView,
    WorkerView,
)
from headrace.positions import Entry, Position
from headrace.settings import Settings
from tests.unit.frames import Story, StoryBus, frame, rate

STATUS = Status(
    bus="up", reason="", viewers=1, prefix="headrace", server="redis://x", live=1, healed=0, lost=0, unknown=0
)
NOW = 1_763_800_000.0


def state_of(**fields: Any) -> State:
    state = State(epoch="e")
    state.fold(frame(**fields), Position(1, 1))
    return state


def requests(arriving_s: float) -> ChannelView:
    return ChannelView(name="requests", rate=Rate(s5=arriving_s, s30=arriving_s))


def scorers(depth: int, wait_ms: float | None) -> GroupView:
    return GroupView(channel="requests", group="scorers", lag=depth, wait_ms=wait_ms)


def test_there_is_nothing_before_the_first_frame() -> None:
    assert queues(State()) is None
    assert batches(State()) is None


def test_a_group_comes_with_what_its_channel_gets() -> None:
    group = GroupView(
        channel="requests",
        group="scorers",
        lag=7,
        in_flight=2,
        oldest_ms=1500,
        committed=rate(90),
        retried=rate(3),
        dead=rate(0.5),
        dead_total=11,
        drain_s=4.5,
    )
    shown = queues(state_of(groups=[group], channels=[requests(100)]))
    assert shown is not None
    [line] = shown.groups
    assert (line.key, line.lag, line.in_flight, line.oldest_ms) == ("requests/scorers", 7, 2, 1500)
    assert (line.arriving_s, line.committed_s, line.retried_s, line.dead_s) == (100, 90, 3, 0.5)
    assert (line.dead_total, line.drain_s, line.little) == (11, 4.5, None)


@pytest.mark.parametrize(
    ("depth", "arriving_s", "wait_ms", "ratio", "verdict"),
    [
        (50, 100, 500, 1.0, "balanced"),
        (70, 100, 500, 1.4, "balanced"),
        (100, 100, 500, 2.0, "more"),
        (20, 100, 500, 0.4, "less"),
        (40, 0, 500, None, "more"),
        (0, 100, 5, 0.0, "few"),
    ],
)
def test_littles_law_says_what_a_deviation_means(
    depth: int, arriving_s: float, wait_ms: float, ratio: float | None, verdict: str
) -> None:
    shown = queues(state_of(groups=[scorers(depth, wait_ms)], channels=[requests(arriving_s)]))
    assert shown is not None
    law = shown.groups[0].little
    assert law is not None
    assert (law.depth, law.expected) == (depth, arriving_s * wait_ms / 1000)
    assert (law.ratio, law.verdict) == (ratio, verdict)


def test_the_depth_of_the_law_is_the_mean_of_the_last_half_minute() -> None:
    state = State(epoch="e")
    for n in range(200):
        depth = 1000 if n < 80 else 40 if n % 2 else 60
        told = frame(time=NOW + n / 4, groups=[scorers(depth, 500)], channels=[requests(100)])
        state.fold(told, Position(n + 1, n + 1))
    shown = queues(state)
    assert shown is not None
    law = shown.groups[0].little
    assert law is not None
    assert law.depth == pytest.approx(50, abs=0.5)


def test_lines_keep_their_places_and_the_deepest_are_never_cut() -> None:
    groups = [GroupView(channel=f"c{n}", group="g", lag=n) for n in range(40)]
    shown = queues(
        state_of(
            groups=[GroupView(channel="workers", group="g", lag=99), *groups],
            channels=[ChannelView(name="frames"), *[ChannelView(name=f"c{n}") for n in range(60)]],
            workers=[WorkerView(worker=f"w{n}", kind="scorer") for n in range(100)],
        )
    )
    assert shown is not None
    assert [line.channel for line in shown.groups] == [f"c{n}" for n in range(40 - GROUPS_SHOWN, 40)]
    assert (shown.cut.groups, shown.cut.channels, shown.cut.workers) == (
        41 - GROUPS_SHOWN,
        61 - CHANNELS_SHOWN,
        100 - WORKERS_SHOWN,
    )


def test_the_section_stays_small_with_very_many_of_everything() -> None:
    state = state_of(
        groups=[GroupView(channel=f"channel-{n}", group="readers", lag=n, wait_ms=5) for n in range(90)],
        channels=[ChannelView(name=f"channel-{n}", rate=rate(n / 3), byte_rate=rate(n / 7)) for n in range(90)],
        workers=[WorkerView(worker=f"scorer-host-{n}-abcd", kind="scorer", host="host") for n in range(300)],
        batches={f"scorer-{n}": [BatchSample(NOW, 5, 1.2345, 0.5, "all that waited")] * 40 for n in range(300)},
    )
    sections = Sections(lambda: state, lambda: STATUS)
    assert len(sections.section("queues") or b"") < 30_000
    assert len(sections.section("batches") or b"") < 40_000


def test_capacity_and_time_to_full_are_passed_on() -> None:
    channel = ChannelView(name="requests", limit=1000, needed=300, full_s=42.0, memory_bytes=5, length=7)
    server = ServerView(memory_bytes=10, memory_limit_bytes=100, full_s=3.5)
    shown = queues(state_of(channels=[channel], server=server))
    assert shown is not None
    [line] = shown.channels
    assert (line.needed, line.limit, line.full_s, line.memory_bytes, line.length) == (300, 1000, 42.0, 5, 7)
    assert (shown.server.memory_bytes, shown.server.limit_bytes, shown.server.full_s) == (10, 100, 3.5)


def test_a_worker_says_when_it_was_last_heard_of() -> None:
    shown = queues(state_of(workers=[WorkerView(worker="w", kind="scorer", age_s=2.5, busy=0.25)]))
    assert shown is not None
    assert (shown.workers[0].seen, shown.workers[0].busy) == (NOW - 2.5, 0.25)


def sample(at: float, size: int = 1, reason: str = "all that waited") -> BatchSample:
    return BatchSample(NOW + at, size, 2.0 * size, 0.5, reason)


def test_batches_of_the_last_minute_are_counted_by_reason() -> None:
    state = state_of(batches={"a": [sample(-70, 9), sample(-50, 3, "retry")], "b": [sample(-1, 4), sample(0, 8)]})
    shown = batches(state)
    assert shown is not None
    assert shown.until == NOW
    assert [(one.reason, one.count, one.size, one.wait_ms) for one in shown.reasons] == [
        ("all that waited", 2, 6.0, 12.0),
        ("retry", 1, 3.0, 6.0),
    ]
    assert shown.workers == ["a", "b"]
    assert shown.points == [(50.0, 3, 6.0, 0.5, 1, 0), (1.0, 4, 8.0, 0.5, 0, 1), (0.0, 8, 16.0, 0.5, 0, 1)]
    assert shown.left_out == 0


def test_of_very_many_batches_an_even_part_is_drawn_and_every_rare_one() -> None:
    many = [sample(-n * 0.007) for n in range(5000)]
    rare = [sample(-n, 3, "claimed") for n in range(RARE)]
    shown = batches(state_of(batches={"a": many, "b": rare}))
    assert shown is not None
    common = [point for point in shown.points if shown.reasons[point[4]].reason == "all that waited"]
    assert len(shown.points) - len(common) == RARE
    assert BATCHES_SHOWN * 0.7 < len(common) < BATCHES_SHOWN * 1.3
    assert max(point[0] for point in common) > 30
    assert shown.left_out == 5000 - len(common)


def test_a_picture_of_batches_is_the_same_object_until_a_sample_comes() -> None:
    state = state_of(batches={"a": [sample(0)]})
    sections = Sections(lambda: state, lambda: STATUS)
    first = sections.section("batches")
    state.fold(frame(time=NOW + 0.25, number=2), Position(2, 2))
    assert sections.section("batches") is first
    state.fold(frame(time=NOW + 0.5, number=3, batches={"a": [sample(0.4)]}), Position(3, 3))
    assert sections.section("batches") is not first


def test_what_changes_once_a_second_is_in_one_frame_of_four_and_bounded() -> None:
    fields: dict[str, Any] = {
        "groups": [GroupView(channel=f"c{n}", group="g", oldest_ms=5, retried=rate(2)) for n in range(40)],
        "channels": [ChannelView(name=f"c{n}", memory_bytes=7, rate=rate(1)) for n in range(40)],
        "workers": [WorkerView(worker=f"w{n}", kind="scorer" if n > 30 else "gateway", busy=0.5) for n in range(40)],
        "server": ServerView(memory_bytes=9),
    }
    often, seldom = values(frame(number=3, **fields)), values(frame(number=4, **fields))
    assert (often["oldest:c0/g"], often["retry:c0/g"], often["dead:c0/g"], often["flight:c0/g"]) == (5, 2, 0, 0)
    assert sum(name.startswith("oldest:") for name in often) == CLOSELY
    assert not any(name.startswith(("busy:", "rate:", "memory", "pub:")) for name in often)
    assert (seldom["busy:w39"], seldom["memory:c0"], seldom["pub:c0"], seldom["memory"]) == (0.5, 7, 1, 9)
    assert sum(name.startswith("busy:") for name in seldom) == DRAWN
    assert sum(name.startswith("memory:") for name in seldom) == CLOSELY


def told(name: str, state: Any, at: float, **fields: Any) -> tuple[Alert, float]:
    return Alert(name=name, subject="x", state=state, **fields), at


def test_alerts_that_are_over_know_when_they_were_raised_and_cleared() -> None:
    newest_first = [
        told("b", "raised", 90.0),
        told("a", "cleared", 80.0, since=30.0, text="again"),
        told("a", "raised", 30.0),
        told("foreign", "cleared", 25.0),
        told("foreign", "raised", 21.0, text="said once", severity="critical"),
        told("a", "cleared", 20.0, since=10.0),
        told("a", "raised", 10.0),
        told("old", "cleared", 5.0),
    ]
    found = [(one.name, one.since, one.cleared, one.text) for one in over(newest_first)]
    assert found == [
        ("a", 30.0, 80.0, "again"),
        ("foreign", 21.0, 25.0, "said once"),
        ("a", 10.0, 20.0, ""),
        ("old", 0.0, 5.0, ""),
    ]


async def test_the_log_of_alerts_is_read_when_it_has_grown_and_no_further_back_than_bounded() -> None:
    bus, look = StoryBus(Settings(), Story(), past_s=0), ClearedAlerts()

    def logged(n: int) -> Entry:
        event = Alert(name=f"n{n}", state="cleared", since=1.0)
        return Entry(Position(1000 * n, n), encode(event))

    bus.logs["alerts"] = [logged(n) for n in range(1, 301)]
    first: Any = (await look.look(bus, State(), ["cleared"]))["cleared"]
    assert [one.name for one in first.alerts] == [f"n{n}" for n in range(300, 300 - SHOWN, -1)]
    assert first.more
    assert READ < 300
    assert (await look.look(bus, State(), ["cleared"]))["cleared"] is first
    bus.logs["alerts"].append(Entry(Position(301_000, 301), b"\x00 no event"))
    bus.logs["alerts"].append(logged(302))
    newer: Any = (await look.look(bus, State(), ["cleared"]))["cleared"]
    assert newer.alerts[0].name == "n302"
    bus.logs["alerts"] = []
    emptied: Any = (await look.look(bus, State(), ["cleared"]))["cleared"]
    assert emptied.alerts == []
