"""subscribe: every event of a partition in order, pushed or healed; or a notice that says exactly what is missing."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from headrace.bus import Bus, Lost, Replaced, WentBack
from headrace.bus import subscribe as subscribing
from headrace.bus.subscribe import HEALED_FIRST
from headrace.codec import decode, encode
from headrace.embedded import EmbeddedServer
from headrace.errors import SettingsError, UnavailableError
from headrace.positions import Position
from headrace.settings import Settings
from headrace.testing import wait_until

if TYPE_CHECKING:
    from tests.contract.conftest import Events, Follow, OpenBus, Unheard


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare with the log after a tenth of a second of silence, not a second."""
    monkeypatch.setattr(subscribing, "CHECK_S", 0.1)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch, impatient: None) -> None:
    """Never compare with the log because of silence."""
    monkeypatch.setattr(subscribing, "CHECK_S", 3600.0)


@pytest.mark.usefixtures("patient")
async def test_events_are_pushed_in_order(live_bus: Bus, follow: Follow, events: Events) -> None:
    await live_bus.publish("runs", events(2))
    follower = await follow(live_bus, "runs")
    await live_bus.publish("runs", events(3, 2))
    await live_bus.publish("runs", events(1, 5))
    await follower.until(3, 4, 5, 6)
    assert [decode(entry.payload) for entry in follower.entries] == events(4, 2)
    assert not any(delivery.healed for delivery in follower.deliveries)
    counts = follower.subscription.counts
    assert (counts.live, counts.healed, counts.lost) == (4, 0, 0)


@pytest.mark.usefixtures("patient")
async def test_the_first_event_of_a_channel_is_pushed_too(live_bus: Bus, follow: Follow, events: Events) -> None:
    follower = await follow(live_bus, "runs")
    await live_bus.publish("runs", events(1))
    await follower.until(1)
    assert follower.subscription.counts.live == 1
    assert follower.notices == []


@pytest.mark.usefixtures("patient")
async def test_history_then_live_without_a_seam(live_bus: Bus, follow: Follow, events: Events) -> None:
    await live_bus.publish("runs", events(3))
    follower = await follow(live_bus, "runs", since="start")
    await live_bus.publish("runs", events(2, 3))
    await follower.until(1, 2, 3, 4, 5)
    assert follower.notices == []


async def test_history_longer_than_one_read(live_bus: Bus, follow: Follow) -> None:
    for _ in range(5):
        await live_bus.publish("runs", [b'{"type":"run.alive","run":"r"}'] * 900)
    follower = await follow(live_bus, "runs", since="start")
    await follower.until(*range(1, 4501))


async def test_from_a_position_on(live_bus: Bus, follow: Follow, events: Events) -> None:
    receipt = await live_bus.publish("runs", events(4))
    await live_bus.publish("models", events(2))
    follower = await follow(live_bus, "runs", "models", since={"runs": receipt.positions[1]})
    await follower.until(3, 4)
    assert follower.notices == []
    await live_bus.publish("models", events(1))
    await follower.until(3, 4, 3)
    assert follower.deliveries[-1].channel == "models"


async def test_history_that_was_trimmed_before_it_was_asked_for_is_not_lost(
    live_bus: Bus, follow: Follow, events: Events
) -> None:
    await live_bus.publish("runs", events(5))
    await live_bus._client.xtrim(live_bus.names.log("runs"), maxlen=2, approximate=False)
    follower = await follow(live_bus, "runs", since="start")
    await follower.until(4, 5)
    assert follower.notices == []
    assert follower.subscription.counts.lost == 0


@pytest.mark.usefixtures("patient")
async def test_a_gap_is_healed_from_the_log(live_bus: Bus, follow: Follow, unheard: Unheard, events: Events) -> None:
    follower = await follow(live_bus, "runs")
    await live_bus.publish("runs", events(1))
    await follower.until(1)
    await unheard(live_bus, "runs", events(3, 1))
    assert follower.numbers == [1]
    await live_bus.publish("runs", events(1, 4))
    await follower.until(1, 2, 3, 4, 5)
    assert [decode(entry.payload) for entry in follower.entries] == events(5)
    counts = follower.subscription.counts
    assert (counts.live, counts.healed, counts.lost) == (1, 4, 0)


async def test_a_last_event_that_got_lost_is_found(
    live_bus: Bus, follow: Follow, unheard: Unheard, events: Events
) -> None:
    follower = await follow(live_bus, "runs")
    await unheard(live_bus, "runs", events(2))
    await follower.until(1, 2)
    assert follower.subscription.counts.healed == 2


async def test_a_long_gap_is_healed_in_several_reads(
    live_bus: Bus, follow: Follow, unheard: Unheard, events: Events
) -> None:
    follower = await follow(live_bus, "runs")
    await unheard(live_bus, "runs", events(250))
    await follower.until(*range(1, 251))
    assert follower.subscription.counts.healed == 250
    assert [len(delivery.entries) for delivery in follower.deliveries] == [HEALED_FIRST, 250 - HEALED_FIRST]


async def test_what_was_trimmed_before_it_was_seen_is_counted_as_lost(
    live_bus: Bus, follow: Follow, events: Events
) -> None:
    follower = await follow(live_bus, "runs")
    await live_bus.publish("runs", events(2))
    await follower.until(1, 2)
    epoch, newest = await live_bus.last("runs")
    log = live_bus.names.log("runs")
    async with live_bus._client.pipeline(transaction=True) as together:
        for number in range(3, 13):
            together.xadd(log, {"e": encode(events(1)[0])}, id=f"{newest.ms}-{number}")
        together.set(live_bus.names.head("runs"), f"{epoch} {newest.ms}-12")
        together.xtrim(log, maxlen=3, approximate=False)
        await together.execute()
    await follower.until(1, 2, 10, 11, 12)
    assert follower.notices == [Lost(7)]
    assert follower.subscription.counts.lost == 7


async def test_a_log_that_went_back_is_said_and_followed_from_there(
    live_bus: Bus, follow: Follow, events: Events
) -> None:
    follower = await follow(live_bus, "runs")
    receipt = await live_bus.publish("runs", events(4))
    await follower.until(1, 2, 3, 4)
    kept = receipt.positions[1]
    async with live_bus._client.pipeline(transaction=True) as together:
        together.xdel(live_bus.names.log("runs"), *(str(position) for position in receipt.positions[2:]))
        together.set(live_bus.names.head("runs"), f"{receipt.epoch} {kept}")
        await together.execute()
    await wait_until(lambda: follower.notices, description="the notice")
    assert follower.notices == [WentBack(kept)]
    await live_bus.publish("runs", events(2, 10))
    await follower.until(1, 2, 3, 4, 3, 4)
    assert [decode(entry.payload) for entry in follower.entries[4:]] == events(2, 10)
    assert follower.subscription.counts.lost == 0


async def test_a_log_that_went_back_while_nobody_looked_is_said_when_it_goes_on(
    live_bus: Bus, follow: Follow, events: Events
) -> None:
    receipt = await live_bus.publish("runs", events(4))
    async with live_bus._client.pipeline(transaction=True) as together:
        together.xdel(live_bus.names.log("runs"), *(str(position) for position in receipt.positions[2:]))
        together.set(live_bus.names.head("runs"), f"{receipt.epoch} {receipt.positions[1]}")
        await together.execute()
    await wait_until(lambda: _later(live_bus, receipt.positions[-1]))
    await live_bus.publish("runs", events(5, 10))
    follower = await follow(live_bus, "runs", since={"runs": receipt.positions[3]})
    await follower.until(3, 4, 5, 6, 7)
    assert follower.notices == [WentBack(receipt.positions[1])]


async def _later(bus: Bus, position: Position) -> bool:
    """Whether the server's clock has passed a position."""
    seconds, microseconds = await bus._client.time()
    return bool(seconds * 1000 + microseconds // 1000 > position.ms)


async def test_a_replaced_log_is_said_and_followed_from_its_beginning(
    live_bus: Bus, follow: Follow, events: Events
) -> None:
    follower = await follow(live_bus, "runs")
    await live_bus.publish("runs", events(3))
    await follower.until(1, 2, 3)
    await live_bus._client.delete(live_bus.names.log("runs"))
    receipt = await live_bus.publish("runs", events(2))
    await follower.until(1, 2, 3, 1, 2)
    assert follower.notices == [Replaced(receipt.epoch)]


async def test_a_removed_log_is_said(live_bus: Bus, follow: Follow, events: Events) -> None:
    follower = await follow(live_bus, "runs")
    await live_bus.publish("runs", events(1))
    await follower.until(1)
    await live_bus._client.delete(live_bus.names.log("runs"), live_bus.names.head("runs"))
    await wait_until(lambda: follower.notices, description="the notice")
    assert follower.notices == [Replaced("")]
    await wait_until(lambda: _later(live_bus, follower.entries[0].position))
    await live_bus.publish("runs", events(1))
    await follower.until(1, 1)


@pytest.mark.parametrize("noise", [b"", b"hello", b"[1,2]", b'["epoch",["1-1"]]', b"\x92\xa1x\x91\xa3", b"\xc1" * 9])
async def test_what_strangers_push_changes_nothing(live_bus: Bus, follow: Follow, events: Events, noise: bytes) -> None:
    follower = await follow(live_bus, "runs")
    await live_bus.publish("runs", events(1))
    await live_bus._client.publish(live_bus.names.live("runs"), noise)
    await live_bus.publish("runs", events(1, 1))
    await follower.until(1, 2)
    assert follower.notices == []


async def test_an_event_that_breaks_its_envelope_is_fetched_from_the_log(
    live_bus: Bus, follow: Follow, events: Events
) -> None:
    follower = await follow(live_bus, "runs")
    await live_bus.publish("runs", [encode(events(1)[0]), b"\xc1 not msgpack", encode(events(1)[0])])
    await follower.until(1, 2, 3)
    assert follower.entries[1].payload == b"\xc1 not msgpack"
    assert follower.subscription.counts.healed == 3


async def test_both_codecs_in_one_batch(live_bus: Bus, follow: Follow, events: Events) -> None:
    follower = await follow(live_bus, "runs")
    one, two = events(2)
    await live_bus.publish("runs", [encode(one), encode(two, "json"), encode(one)])
    await follower.until(1, 2, 3)
    assert [decode(entry.payload) for entry in follower.entries] == [one, two, one]


async def test_partitions_are_followed_side_by_side(
    live_settings: Settings, open_bus: OpenBus, follow: Follow, events: Events
) -> None:
    bus = await open_bus(live_settings, partitions=3)
    follower = await follow(bus, "requests", "runs", since="start")
    for partition in range(3):
        await bus.publish("requests", events(2), partition=partition)
    await bus.publish("runs", events(1))
    await wait_until(lambda: len(follower.entries) == 7, description="all events")
    places = {(delivery.channel, delivery.partition) for delivery in follower.deliveries}
    assert places == {("requests", 0), ("requests", 1), ("requests", 2), ("runs", 0)}


@pytest.mark.parametrize("driver", ["redis", "asyncio-redis"])
async def test_a_connection_that_is_cut_is_made_again_and_the_gap_healed(
    server_settings: Settings, open_bus: OpenBus, follow: Follow, events: Events, driver: str
) -> None:
    bus = await open_bus(server_settings, live_driver=driver)
    follower = await follow(bus, "runs")
    for round_ in range(3):
        await bus.publish("runs", events(1))
        await bus._client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await bus.publish("runs", events(1))
        await follower.until(*range(1, 2 * round_ + 3))
    assert follower.notices == []


@pytest.mark.parametrize("driver", ["redis", "asyncio-redis"])
async def test_a_server_that_was_killed_costs_no_event(
    own_server: EmbeddedServer, open_bus: OpenBus, follow: Follow, events: Events, driver: str
) -> None:
    settings = Settings(redis_url=own_server.url, prefix="test")
    bus = await open_bus(settings, live_driver=driver)
    follower = await follow(bus, "runs")
    await bus.publish("runs", events(3))
    await follower.until(1, 2, 3)
    own_server.kill()
    await wait_until(lambda: not follower.subscription.connected, description="the outage to be noticed")
    own_server.restart()
    await bus.publish("runs", events(3))
    await follower.until(1, 2, 3, 4, 5, 6)
    assert follower.notices == []
    assert follower.subscription.connected


@pytest.mark.parametrize("driver", ["redis", "asyncio-redis"])
async def test_a_subscription_cannot_begin_without_a_server(own_server: EmbeddedServer, driver: str) -> None:
    settings = Settings(redis_url=own_server.url, prefix="test", live_driver=driver)  # type: ignore[arg-type]
    own_server.kill()
    async with Bus(settings) as bus:
        with pytest.raises(UnavailableError):
            async with bus.subscribe("runs"):
                pass


async def test_listening_begins_with_the_news_that_it_stands(live_bus: Bus) -> None:
    pushes: list[object] = []
    async with aclosing(live_bus.listen("one", patterns=["two:*"])) as listening:
        async for pushed in listening:
            if pushed is None:
                for live in ("one", "two:a", "three"):
                    await live_bus._client.publish(live, b"x")
            pushes += [pushed] if pushed is None else pushed
            if len(pushes) == 3:
                break
    assert pushes == [None, ("one", b"x"), ("two:a", b"x")]


async def test_the_drivers_speak_one_language(live_bus: Bus) -> None:
    """None once the subscription stands, then what is pushed, for names and patterns, and a tick in between."""
    driver = live_bus.subscribe("runs")._driver
    seen: list[object] = []
    ticks = 0
    async with driver:
        await driver.subscribe(["a", "b"], ["c:*"])
        async for pushed in driver.pushes():
            if pushed is None:
                seen.append(None)
                for live in ("a", "c:1", "b", "unknown", "a"):
                    await live_bus._client.publish(live, live.encode() + b"\x00\xff")
            elif pushed:
                seen += pushed
            elif len(seen) == 5:
                ticks += 1
                if ticks == 2:
                    break
    assert seen == [None, *((live, live.encode() + b"\x00\xff") for live in ("a", "c:1", "b", "a"))]


async def test_nothing_to_follow_is_refused(bus: Bus) -> None:
    with pytest.raises(SettingsError, match="at least one channel"):
        bus.subscribe()
