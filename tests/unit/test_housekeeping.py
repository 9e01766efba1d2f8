"""Logs are kept as long as they are wanted, and what nobody works for any more is noticed and removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from headrace.bus import Bus, GroupState
from headrace.channels import AGGREGATORS, DEAD, FRAMES, FRAMES_LONG, REQUESTS, RUNS, SCORERS
from headrace.errors import UnknownModelError
from headrace.events import RunAlive, ServerView
from headrace.settings import Settings
from headrace.subscriber.aggregation.cards import ASK_AGAIN_S, CardShelf
from headrace.subscriber.aggregation.frame import Place
from headrace.subscriber.aggregation.housekeeping import REMOVE_FACTOR, Silence, outdated, retention, room, tidy
from headrace.subscriber.aggregation.quality import ModelCard
from headrace.subscriber.aggregation.servertime import ServerTime

KEY = (REQUESTS, SCORERS)


def group(consumers: int, idle_ms: int = 0, name: str = SCORERS) -> GroupState:
    return GroupState(name, 5, 0, None, consumers, idle_ms)


@pytest.mark.parametrize(
    ("channel", "age_s"),
    [(REQUESTS, 600), (FRAMES, 900), (FRAMES_LONG, 86_400), (RUNS, 2_592_000), (DEAD, 2_592_000), ("mine", 600)],
)
def test_each_channel_has_the_age_that_the_settings_give_it(channel: str, age_s: int) -> None:
    assert retention(channel, Settings()).age_s == age_s


@pytest.mark.parametrize(
    ("used", "limit", "share"),
    [(900, 0, 1.0), (0, 1000, 1.0), (750, 1000, 1.0), (875, 1000, 0.5), (1000, 1000, 0.0), (1100, 1000, 0.0)],
)
def test_on_a_server_that_gets_full_the_past_makes_room(used: int, limit: int, share: float) -> None:
    assert room(ServerView(memory_bytes=used, memory_limit_bytes=limit)) == pytest.approx(share)
    wanted = Settings().retention_bytes
    assert retention(REQUESTS, Settings(), share).keep_bytes == wanted * share
    assert retention(FRAMES, Settings(), share).keep_bytes == wanted * share // 4
    assert retention(RUNS, Settings(), share).keep_bytes == retention(DEAD, Settings(), share).keep_bytes == wanted


def test_silence_is_the_time_since_the_last_read_of_any_member_in_any_partition() -> None:
    silence = Silence()
    groups = [(Place(REQUESTS, 0), [group(1, 40_000)]), (Place(REQUESTS, 1), [group(2, 7_000)])]
    assert silence.step(groups, 1000.0) == {KEY: 7.0}


def test_a_group_without_members_is_silent_since_its_last_one_was_seen() -> None:
    silence = Silence()
    silence.step([(Place(REQUESTS, 0), [group(1, 5_000)])], 1000.0)
    assert silence.step([(Place(REQUESTS, 0), [group(0)])], 1010.0) == {KEY: 15.0}
    assert silence.step([(Place(REQUESTS, 0), [group(1)])], 1020.0) == {KEY: 0.0}
    assert Silence().step([(Place(REQUESTS, 0), [group(0)])], 1000.0) == {KEY: 0.0}


def test_only_groups_silent_for_very_long_are_removed_and_never_our_own() -> None:
    settings = Settings()
    long_s = float(REMOVE_FACTOR * settings.abandoned_s)
    assert outdated({KEY: long_s - 1}, settings) == []
    assert outdated({KEY: long_s, (RUNS, AGGREGATORS): long_s}, settings) == [KEY]


async def test_old_entries_go_and_what_a_group_needs_stays(headrace_bus: Bus) -> None:
    bus = headrace_bus
    for channel in (RUNS, REQUESTS):
        receipt = await bus.publish(channel, [RunAlive(run=str(number)) for number in range(500)])
        while (await bus.last(channel))[1].ms == receipt.positions[-1].ms:
            await bus.publish(channel, [RunAlive(run="later")])
    async with bus.consume(REQUESTS, SCORERS, worker="w"):
        _, newest = await bus.last(REQUESTS)
        ten_minutes = newest.ms / 1000 + 700
        a_month = newest.ms / 1000 + 2_600_000
        places = [Place(RUNS, 0), Place(REQUESTS, 0)]
        assert await tidy(bus, places, {}, ten_minutes) == 0
        assert await tidy(bus, places, {}, a_month) >= 400
    assert await bus.length(REQUESTS) > 500
    assert await bus.length(RUNS) >= 1


async def test_names_that_dead_workers_left_behind_are_removed(headrace_bus: Bus) -> None:
    bus = headrace_bus
    async with bus.consume(REQUESTS, SCORERS, worker="w"):
        log = bus.names.log(REQUESTS)
        for name in ("dead-1", "dead-2"):
            await bus._client.xgroup_createconsumer(log, SCORERS, name)
        await bus.publish(REQUESTS, [RunAlive(run="r")])
        assert await bus.forget(REQUESTS, 0, SCORERS, idle_ms=0) == 2


def test_the_servers_time_is_never_ahead_of_the_server() -> None:
    ours = [100.0]
    now = ServerTime(lambda: ours[0])
    assert now() == 100.0
    for server_s, way_back_s in ((203.0, 0.4), (204.0, 0.01), (205.0, 0.2)):
        ours[0] = server_s - 100.0 + way_back_s
        now.observe(int(server_s * 1000))
        assert now() <= server_s + way_back_s
    assert now() == pytest.approx(205.2 - 0.01)


class Card:
    kind = "classification"
    labels: Sequence[str] = ("a",)
    image_shape = None
    metrics: Mapping[str, float] = {}


def test_a_card_is_asked_for_once_and_a_missing_one_again_later() -> None:
    asked: list[str] = []
    clock = [0.0]

    def cards(model: str, version: int) -> ModelCard | None:
        asked.append(model)
        if model == "unknown":
            raise UnknownModelError(model)
        return Card()

    shelf = CardShelf(cards, lambda: clock[0])
    for _ in range(3):
        assert shelf("digits", 1) is not None
        assert shelf("unknown", 1) is None
    clock[0] = ASK_AGAIN_S
    shelf("digits", 1)
    shelf("unknown", 1)
    assert asked == ["digits", "unknown", "unknown"]
