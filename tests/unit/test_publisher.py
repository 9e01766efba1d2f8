"""Publishers, plain and asyncio: every event once and in order, and bounds that hold."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import fakeredis
import pytest

from headrace.bus import Bus
from headrace.bus.lanes import SyncLanes
from headrace.bus.scripts import PublishCall
from headrace.bus.sync import Link
from headrace.channels import LABELS, REQUESTS, WORKERS
from headrace.codec import decode, encode
from headrace.errors import (
    BusError,
    CodecError,
    EventError,
    FullError,
    SettingsError,
    UnavailableError,
)
from headrace.events import (
    Event,
    PredictionLabelled,
    PredictionRequested,
    PublisherReport,
    RunMetrics,
)
from headrace.positions import Entry
from headrace.publisher import AsyncPublisher, Publisher
from headrace.settings import Settings
from headrace.testing import wait_until, wait_until_sync
from tests.unit.said import log


@pytest.fixture
def settings(headrace_settings: Settings, headrace_fake: fakeredis.FakeServer, tmp_path: Path) -> Iterator[Settings]:
    yield headrace_settings.with_(spill=tmp_path / "spill")
    headrace_fake.connected = True


@pytest.fixture
def publisher(settings: Settings, headrace_fake: fakeredis.FakeServer) -> Iterator[Publisher]:
    with Publisher(settings, source="test") as one:
        yield one
        headrace_fake.connected = True


def metrics(count: int, start: int = 0) -> list[RunMetrics]:
    return [RunMetrics(run="r", step=step, metrics={"loss": 0.5}) for step in range(start, start + count)]


def entries(settings: Settings, channel: str, partition: int = 0) -> list[Entry]:
    return Link(settings).read(channel, partition, count=100_000)


def steps(events: Sequence[Event]) -> list[int]:
    return [event.step for event in events if isinstance(event, RunMetrics)]


# Publishing


def test_events_are_in_their_log_in_order_once_flush_returns(publisher: Publisher, settings: Settings) -> None:
    publisher.publish("custom", metrics(1)[0])
    publisher.publish("custom", metrics(3_000, start=1))
    publisher.publish("custom", (event for event in metrics(10, start=3_001)))
    publisher.flush()
    assert steps(log(settings, "custom")) == list(range(3_011))
    assert (publisher.accepted, publisher.waiting, publisher.dropped, publisher.lost) == (3_011, 0, {}, 0)


def test_events_get_an_id_a_time_and_a_source_unless_they_have_them(publisher: Publisher, settings: Settings) -> None:
    publisher.publish("custom", [*metrics(2), RunMetrics(id="mine", time=1.5, run="r", step=9, metrics={})])
    publisher.flush()
    first, second, third = log(settings, "custom")
    assert first.source == "test"
    assert first.time > 1.7e9
    assert len({first.id, second.id, third.id}) == 3
    assert (third.id, third.time) == ("mine", 1.5)


def test_what_was_published_is_sent_without_a_flush(publisher: Publisher, settings: Settings) -> None:
    publisher.publish("custom", metrics(1))
    assert wait_until_sync(lambda: log(settings, "custom"))


def test_bytes_of_an_event_stay_as_they_are(publisher: Publisher, settings: Settings) -> None:
    payload = b'{"type":"run.metrics","id":"a","time":1.0,"run":"r","step":1,"metrics":{},"new_field":1}'
    publisher.publish("custom", payload)
    publisher.flush()
    assert entries(settings, "custom")[0].payload == payload


def test_bad_events_are_refused_and_those_before_them_are_sent(publisher: Publisher, settings: Settings) -> None:
    with pytest.raises(CodecError, match="not an event"):
        publisher.publish("custom", [*metrics(2), b"\x00\x01"])
    limit = settings.event_limit_bytes
    with pytest.raises(EventError, match=f"the limit is {limit}"):
        publisher.publish("custom", [*metrics(1, start=2), RunMetrics(run="r" * (limit + 1), step=0, metrics={})])
    with pytest.raises(SettingsError, match="cannot be a channel"):
        publisher.publish("no such:channel", metrics(1))
    publisher.flush()
    assert steps(log(settings, "custom")) == [0, 1, 2]


def test_a_json_publisher_writes_json(settings: Settings) -> None:
    with Publisher(settings.with_(codec="json")) as publisher:
        publisher.publish("custom", metrics(1))
    assert entries(settings, "custom")[0].payload.startswith(b"{")


def test_threads_may_publish_together(publisher: Publisher, settings: Settings) -> None:
    def publish(start: int) -> None:
        for event in metrics(200, start):
            publisher.publish("custom", event)

    threads = [threading.Thread(target=publish, args=(start,)) for start in range(0, 1_000, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    publisher.flush()
    assert sorted(steps(log(settings, "custom"))) == list(range(1_000))


def test_requests_spread_over_partitions_and_labels_follow_their_prediction(settings: Settings) -> None:
    two = settings.with_(partitions=2)
    with Publisher(two) as publisher:
        publisher.publish(REQUESTS, [PredictionRequested(model="m", inputs=[[1.0]]) for _ in range(50)])
        publisher.label("1-1763800000000-7", 3)
        with pytest.raises(EventError, match="partition 2"):
            publisher.label("2-1763800000000-7", 3)
    sizes = [len(log(two, REQUESTS, partition)) for partition in range(2)]
    assert sum(sizes) == 50
    assert all(sizes)
    assert log(two, LABELS, 0) == []
    assert [event.labels for event in log(two, LABELS, 1) if isinstance(event, PredictionLabelled)] == [[3]]


# A server that is away, a channel that is full


def test_events_wait_for_a_server_that_is_away(
    publisher: Publisher, settings: Settings, headrace_fake: fakeredis.FakeServer
) -> None:
    headrace_fake.connected = False
    publisher.publish("custom", metrics(700))
    with pytest.raises(UnavailableError, match="no Redis or Valkey server answers"):
        publisher.flush(0.1)
    assert publisher.waiting == 700
    headrace_fake.connected = True
    publisher.flush()
    assert steps(log(settings, "custom")) == list(range(700))


def test_a_full_buffer_raises_if_told_so(settings: Settings, headrace_fake: fakeredis.FakeServer) -> None:
    headrace_fake.connected = False
    with Publisher(settings.with_(overflow="raise", buffer_events=10)) as publisher:
        with pytest.raises(FullError) as refused:
            publisher.publish("custom", metrics(25))
        assert refused.value.taken == 10
        headrace_fake.connected = True
    assert steps(log(settings, "custom")) == list(range(10))


def test_a_full_buffer_drops_the_oldest_if_told_so_and_reports_it(
    settings: Settings, headrace_fake: fakeredis.FakeServer
) -> None:
    headrace_fake.connected = False
    with Publisher(settings.with_(overflow="drop", buffer_events=10, linger_ms=10_000)) as publisher:
        publisher.publish("custom", metrics(25))
        headrace_fake.connected = True
    assert steps(log(settings, "custom")) == list(range(15, 25))
    report = log(settings, WORKERS)[-1]
    assert isinstance(report, PublisherReport)
    assert (report.dropped, report.lost) == ({"run.metrics": 15}, 0)


def test_a_full_buffer_makes_the_caller_wait(settings: Settings, headrace_fake: fakeredis.FakeServer) -> None:
    headrace_fake.connected = False
    with Publisher(settings.with_(buffer_events=10)) as publisher:
        caller = threading.Thread(target=publisher.publish, args=("custom", metrics(25)))
        caller.start()
        wait_until_sync(lambda: publisher.waiting == 10)
        caller.join(0.05)
        assert caller.is_alive()
        headrace_fake.connected = True
        caller.join(10)
        assert not caller.is_alive()
    assert steps(log(settings, "custom")) == list(range(25))


def test_a_full_channel_holds_events_back_until_its_consumers_have_room(settings: Settings) -> None:
    bounded = settings.with_(depth_limit=10)
    link = Link(bounded)
    with Publisher(bounded) as publisher:
        publisher.publish("custom", metrics(1))
        publisher.flush()
        client = link._client
        client.xgroup_create(link.names.log("custom"), "slow", "0")
        publisher.publish("custom", metrics(24, start=1))
        with pytest.raises(FullError, match="custom"):
            publisher.flush(0.2)
        assert steps(log(settings, "custom")) == list(range(10))
        for _ in range(2):
            done = client.xreadgroup("slow", "w", {link.names.log("custom"): ">"}, count=100)
            client.xack(link.names.log("custom"), "slow", *[identity for identity, _ in done[0][1]])
            wait_until_sync(lambda: len(log(settings, "custom")) in (20, 25))
        publisher.flush()
    assert steps(log(settings, "custom")) == list(range(25))


def test_a_lost_reply_doubles_nothing(publisher: Publisher, settings: Settings) -> None:
    calls = iter(range(10))
    publish = Link.publish

    def lossy(self: Link, call: Any, meanwhile: Any = None) -> Any:
        answer = publish(self, call, meanwhile)
        if next(calls) % 2 == 0:
            raise UnavailableError("redis://test", "the reply was lost")
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Link, "publish", lossy)
        for start in range(0, 1_500, 500):
            publisher.publish("custom", metrics(500, start=start))
            publisher.flush()
    assert steps(log(settings, "custom")) == list(range(1_500))


def test_what_is_done_meanwhile_is_done_over_a_cluster_too(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its client sends and waits in one. Who waits for room is told meanwhile, and not after the last batch."""
    monkeypatch.setattr(SyncLanes, "direct", property(lambda _: False))
    found: list[int] = []
    call = PublishCall("custom", 0, "p", 1, [encode(metrics(1)[0])])
    Link(settings).publish(call, lambda: found.append(len(entries(settings, "custom"))))
    assert (found, len(entries(settings, "custom"))) == ([0], 1)


def test_closing_without_a_server_says_what_was_not_sent(
    settings: Settings, headrace_fake: fakeredis.FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    headrace_fake.connected = False
    publisher = Publisher(settings)
    publisher.publish("custom", metrics(3))
    with pytest.raises(UnavailableError):
        publisher.close(0.1)
    assert publisher.dropped == {"run.metrics": 3}
    assert "3 events were dropped" in caplog.text
    with pytest.raises(BusError, match="closed"):
        publisher.publish("custom", metrics(1))
    publisher.close()


def test_an_error_in_the_block_is_not_hidden_by_one_of_closing(
    settings: Settings, headrace_fake: fakeredis.FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    headrace_fake.connected = False
    publisher = Publisher(settings)
    close = publisher.close
    monkeypatch.setattr(publisher, "close", lambda: close(0.05))
    publisher.publish("custom", metrics(1))
    with pytest.raises(ZeroDivisionError), publisher:
        raise ZeroDivisionError


def test_importing_loads_neither_a_client_nor_numpy_nor_asyncio() -> None:
    probe = (
        "import sys, headrace.publisher as p; p.Run, p.Publisher; p.Publisher(prefix='x');"
        "print([m for m in ('redis', 'hiredis', 'numpy', 'asyncio', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


# The asyncio twin


async def test_the_twin_publishes_once_and_in_order(settings: Settings, headrace_bus: Bus) -> None:
    async with AsyncPublisher(settings, source="test") as publisher:
        await publisher.publish("custom", metrics(1)[0])
        await publisher.publish("custom", metrics(1_200, start=1))
        await publisher.flush()
        assert (publisher.accepted, publisher.waiting) == (1_201, 0)
    assert steps([decode(entry.payload) for entry in await headrace_bus.read("custom", count=5_000)]) == list(
        range(1_201)
    )
    assert isinstance(decode((await headrace_bus.read(WORKERS))[-1].payload), PublisherReport)


async def test_the_twin_waits_for_a_server_that_is_away(
    settings: Settings, headrace_fake: fakeredis.FakeServer
) -> None:
    headrace_fake.connected = False
    async with AsyncPublisher(settings.with_(buffer_events=10)) as publisher:
        publishing = asyncio.create_task(publisher.publish("custom", metrics(25)))
        await wait_until(lambda: publisher.waiting == 10)
        with pytest.raises(UnavailableError):
            await publisher.flush(0.05)
        assert not publishing.done()
        headrace_fake.connected = True
        await publishing
    assert steps(log(settings, "custom")) == list(range(25))


@pytest.mark.parametrize("overflow", ["raise", "drop"])
async def test_the_twin_follows_the_overflow_policy(
    settings: Settings, headrace_fake: fakeredis.FakeServer, overflow: str
) -> None:
    headrace_fake.connected = False
    bounded = settings.with_(buffer_events=10, overflow=overflow, linger_ms=10_000)
    async with AsyncPublisher(bounded) as publisher:
        if overflow == "raise":
            with pytest.raises(FullError):
                await publisher.publish("custom", metrics(25))
        else:
            await publisher.publish("custom", metrics(25))
            assert publisher.dropped == {"run.metrics": 15}
        headrace_fake.connected = True
    assert steps(log(settings, "custom")) == list(range(10) if overflow == "raise" else range(15, 25))
