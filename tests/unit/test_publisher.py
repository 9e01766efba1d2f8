"""Publishers, plain and asyncio: every event once and in order, bounds that hold, predictions that come back."""

from __future__ import annotations

import array
import asyncio
import gc
import math
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import fakeredis
import pytest

from headrace.bus import Bus
from headrace.bus.sync import Link
from headrace.channels import DEAD, LABELS, REQUESTS, RESULTS, WORKERS
from headrace.codec import decode, encode
from headrace.errors import (
    BusError,
    CodecError,
    DeadlineError,
    EventError,
    FullError,
    RejectedError,
    SettingsError,
    UnavailableError,
)
from headrace.events import (
    AnyEvent,
    EntryDead,
    Event,
    Matrix,
    PredictionLabelled,
    PredictionRejected,
    PredictionRequested,
    PredictionScored,
    PublisherReport,
    RunMetrics,
)
from headrace.positions import Entry, Handle, Position
from headrace.publisher import AsyncPublisher, Publisher
from headrace.publisher.predictions import Result, unpacked
from headrace.settings import Settings
from headrace.testing import wait_until, wait_until_sync


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


def log(settings: Settings, channel: str, partition: int = 0) -> list[AnyEvent]:
    return [decode(entry.payload) for entry in entries(settings, channel, partition)]


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


# Predictions


class Scorer:
    """Answers requests as a scorer's commit does: a packed result in the log, a reply that is pushed."""

    def __init__(self, settings: Settings) -> None:
        self.link = Link(settings)
        self.done: set[str] = set()

    def requests(self) -> list[tuple[Position, PredictionRequested]]:
        found = []
        for position, payload in self.link.read(REQUESTS, 0, count=10_000):
            event = decode(payload)
            assert isinstance(event, PredictionRequested)
            if event.id not in self.done:
                found.append((position, event))
        return found

    def score(self, *, push: bool = True) -> int:
        """Answer every request with its first value as class, all in one event."""
        waiting = self.requests()
        if waiting:
            rows = [row for _, event in waiting for row in _rows(event)]
            classes = [int(row[0]) for row in rows]
            spread: list[list[float | None]] = [[float(name == of) for name in range(3)] for of in classes]
            result = PredictionScored(
                model=waiting[0][1].model,
                version=7,
                positions=" ".join(str(position) for position, _ in waiting),
                ids=[event.id for _, event in waiting],
                rows=[len(_rows(event)) for _, event in waiting],
                labels=Matrix("<i2", (len(rows),), struct.pack(f"<{len(rows)}h", *classes)),
                probabilities=spread,
                names=["zero", "one", "two"],
            )
            self._append(RESULTS, result)
            self.done |= set(result.ids)
            if push:
                for live in {event.reply_to for _, event in waiting}:
                    self.link._client.publish(live, encode(result))
        return len(waiting)

    def reject(self, *, push: bool = True) -> int:
        waiting = self.requests()
        for position, event in waiting:
            dead = EntryDead(
                channel=REQUESTS,
                partition=0,
                position=str(position),
                group="scorers",
                reason="no such model",
                attempts=1,
                payload=encode(event),
            )
            self._append(DEAD, dead)
            self.done.add(event.id)
            if push:
                rejected = PredictionRejected(request=event.id, position=str(position), reason="no such model")
                self.link._client.publish(event.reply_to, encode(rejected))
        return len(waiting)

    def _append(self, channel: str, event: Event) -> None:
        with Publisher(self.link.settings) as publisher:
            publisher.publish(channel, event)


def _rows(event: PredictionRequested) -> list[list[float]]:
    assert isinstance(event.inputs, Matrix)
    count, width = event.inputs.shape
    flat = struct.unpack(f"<{count * width}{'f' if event.inputs.dtype == '<f4' else 'd'}", event.inputs.data)
    return [list(flat[at : at + width]) for at in range(0, len(flat), width)]


@pytest.fixture
def scorer(settings: Settings) -> Scorer:
    return Scorer(settings)


def test_a_pushed_result_has_labels_by_name(publisher: Publisher, scorer: Scorer) -> None:
    prediction = publisher.submit("digits", [[1, 0], [2, 0]])
    listened(publisher, scorer)
    wait_until_sync(scorer.score)
    result = prediction.result()
    assert result == Result(
        model="digits",
        version=7,
        handle=prediction.handle,
        labels=["one", "two"],
        probabilities=[[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
    )
    assert Handle.parse(prediction.handle).position == scorer.link.read(REQUESTS, 0)[0].position
    assert prediction.done
    assert prediction.result(0) is result


def listened(publisher: Publisher | AsyncPublisher, scorer: Scorer) -> None:
    """Wait until pushes are heard."""
    live = publisher._replies.live if isinstance(publisher, Publisher) else publisher._live
    wait_until_sync(lambda: scorer.link._client.pubsub_numsub(live)[0][1] == 1)


def test_predict_waits_for_its_result(publisher: Publisher, scorer: Scorer) -> None:
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            scorer.score()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert publisher.predict("digits", array.array("d", [2.0, 1.0])).labels == ["two"]
    finally:
        stop.set()
        thread.join()


def test_many_wait_at_once_over_one_subscription(publisher: Publisher, scorer: Scorer) -> None:
    predictions = [publisher.submit("digits", [at % 3, 0]) for at in range(100)]
    publisher.flush()
    listened(publisher, scorer)
    assert scorer.score() == 100
    labels = [prediction.result().labels for prediction in predictions]
    assert labels == [[["zero", "one", "two"][at % 3]] for at in range(100)]


@pytest.mark.parametrize("push", [True, False])
def test_a_rejected_request_raises_its_reason(publisher: Publisher, scorer: Scorer, push: bool) -> None:
    prediction = publisher.submit("digits", [1, 0])
    listened(publisher, scorer)
    wait_until_sync(lambda: scorer.reject(push=push))
    with pytest.raises(RejectedError, match="no such model") as rejected:
        prediction.result(10 if push else 0.05)
    assert rejected.value.prediction == prediction.handle


def test_a_result_whose_push_was_missed_is_found_in_the_log(publisher: Publisher, scorer: Scorer) -> None:
    prediction = publisher.submit("digits", [1, 0])
    listened(publisher, scorer)
    wait_until_sync(lambda: scorer.score(push=False))
    assert prediction.result(0.05).labels == ["one"]


def test_results_are_looked_up_whenever_the_subscription_stands_again(
    publisher: Publisher, scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    listen, may_listen = Link.listen, threading.Event()

    def held_back(self: Link, live: str) -> Any:
        if not may_listen.is_set():
            raise UnavailableError("redis://test", "not yet")
        return listen(self, live)

    monkeypatch.setattr(Link, "listen", held_back)
    prediction = publisher.submit("digits", [1, 0])
    wait_until_sync(scorer.score)
    may_listen.set()
    assert prediction.result(10).labels == ["one"]


def test_no_result_in_time_is_a_deadline_and_it_may_still_come(publisher: Publisher, scorer: Scorer) -> None:
    prediction = publisher.submit("digits", [1, 0])
    publisher.flush()
    with pytest.raises(DeadlineError, match="Is a scorer running") as missed:
        prediction.result(0.01)
    assert missed.value.prediction == prediction.handle
    listened(publisher, scorer)
    scorer.score()
    assert prediction.result().labels == ["one"]


def test_a_label_names_its_prediction(publisher: Publisher, scorer: Scorer, settings: Settings) -> None:
    prediction = publisher.submit("digits", [1, 0], label=True, version=3)
    publisher.flush()
    wait_until_sync(lambda: prediction.handle)
    publisher.label(prediction, "one")
    publisher.label(prediction.handle, [1])
    publisher.flush()
    asked = scorer.requests()[0][1]
    assert (asked.label, asked.version) == (True, 3)
    said = [event for event in log(settings, LABELS) if isinstance(event, PredictionLabelled)]
    assert [(event.prediction, event.labels) for event in said] == [
        (prediction.handle, ["one"]),
        (prediction.handle, [1]),
    ]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([[1.0], [1.0, 2.0]], "same width"),
        ([["a"]], "not a number"),
        ([], "at least one row"),
        ([[]], "at least one row"),
    ],
)
def test_rows_that_cannot_be_sent_are_refused_at_once(publisher: Publisher, rows: Any, reason: str) -> None:
    with pytest.raises(EventError, match=reason):
        publisher.submit("digits", rows)
    assert publisher.waiting == 0


@pytest.mark.parametrize("bad", ["nonsense", ""])
def test_a_label_needs_a_handle(publisher: Publisher, bad: str) -> None:
    with pytest.raises(EventError):
        publisher.label(bad, 1)


def test_a_label_must_be_a_name_an_index_or_a_number(publisher: Publisher) -> None:
    with pytest.raises(EventError, match="not a label"):
        publisher.label("0-1-1", [object()])


def test_regression_and_arrays_of_either_kind_unpack_without_numpy() -> None:
    packed = PredictionScored(
        model="diabetes",
        version=1,
        positions="5-1 5-2",
        ids=["a", "b"],
        rows=[2, 1],
        values=Matrix("<f4", (3,), struct.pack("<3f", 0.5, 1.5, math.inf)),
    )
    assert dict(unpacked(packed)) == {
        "a": Result(model="diabetes", version=1, handle="0-5-1", values=[0.5, 1.5]),
        "b": Result(model="diabetes", version=1, handle="0-5-2", values=[math.inf]),
    }


def test_a_result_that_contradicts_itself_is_ignored(publisher: Publisher, scorer: Scorer) -> None:
    prediction = publisher.submit("digits", [1, 0])
    publisher.flush()
    listened(publisher, scorer)
    broken = PredictionScored(
        model="digits", version=1, positions="1-1", ids=[prediction.request], labels=Matrix("<i2", (9,), b"ab")
    )
    for payload in (encode(broken), b"nonsense"):
        scorer.link._client.publish(publisher._replies.live, payload)
    scorer.score()
    assert prediction.result().labels == ["one"]


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


async def test_the_twin_predicts_and_labels(settings: Settings, scorer: Scorer) -> None:
    async with AsyncPublisher(settings) as publisher:
        predictions = [await publisher.submit("digits", [at % 3, 0], label=True) for at in range(30)]
        await publisher.flush()
        await asyncio.to_thread(listened, publisher, scorer)
        assert await asyncio.to_thread(scorer.score) == 30
        results = await asyncio.gather(*[prediction.result() for prediction in predictions])
        assert [result.labels for result in results] == [[["zero", "one", "two"][at % 3]] for at in range(30)]
        await publisher.label(results[0], 2)
    said = [event for event in log(settings, LABELS) if isinstance(event, PredictionLabelled)]
    assert [(event.prediction, event.labels) for event in said] == [(predictions[0].handle, [2])]


async def test_the_twin_finds_missed_results_and_misses_deadlines(settings: Settings, scorer: Scorer) -> None:
    async with AsyncPublisher(settings) as publisher:
        prediction = await publisher.submit("digits", [1, 0])
        await publisher.flush()
        with pytest.raises(DeadlineError):
            await prediction.result(0.01)
        await asyncio.to_thread(listened, publisher, scorer)
        await asyncio.to_thread(scorer.score, push=False)
        assert (await prediction.result(0.05)).labels == ["one"]
        rejected = await publisher.submit("digits", [1, 0])
        await publisher.flush()
        await asyncio.to_thread(scorer.reject, push=False)
        with pytest.raises(RejectedError, match="no such model"):
            await rejected.result(0.05)


async def test_a_prediction_that_nobody_holds_costs_nothing(headrace_settings: Settings) -> None:
    async with AsyncPublisher(headrace_settings.with_(resend_s=0.02)) as publisher:
        prediction = await publisher.submit("digits", [[1.0]])
        await publisher.flush()
        assert len(publisher._waiting) == 1
        del prediction

        def forgotten() -> bool:
            gc.collect()
            return len(publisher._waiting) == 0

        await wait_until(forgotten, description="the prediction to be forgotten once it needs no second sending")
