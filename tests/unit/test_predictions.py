"""Predictions, plain and asyncio: results come back though a push was missed, and labels find their way."""

from __future__ import annotations

import array
import asyncio
import gc
import math
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.bus.sync import Link
from headrace.channels import DEAD, LABELS, REQUESTS, RESULTS
from headrace.codec import decode, encode
from headrace.errors import (
    DeadlineError,
    EventError,
    RejectedError,
    UnavailableError,
)
from headrace.events import (
    EntryDead,
    Event,
    Matrix,
    PredictionLabelled,
    PredictionRejected,
    PredictionRequested,
    PredictionScored,
)
from headrace.positions import Handle, Position
from headrace.publisher import AsyncPublisher, Publisher
from headrace.publisher.predictions import Result, unpacked
from headrace.publisher.replies import Prediction
from headrace.settings import Settings
from headrace.testing import wait_until, wait_until_sync
from tests.unit.said import log


@pytest.fixture
def settings(headrace_settings: Settings, tmp_path: Path) -> Settings:
    return headrace_settings.with_(spill=tmp_path / "spill")


@pytest.fixture
def publisher(settings: Settings) -> Iterator[Publisher]:
    with Publisher(settings, source="test") as one:
        yield one


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


def test_after_a_flush_every_request_has_its_handle(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(prediction: Prediction, handle: Handle) -> None:
        time.sleep(0.02)
        placed(prediction, handle)

    placed = Prediction.placed
    monkeypatch.setattr(Prediction, "placed", late)
    asked = [publisher.submit("digits", [0.5]) for _ in range(3)]
    publisher.flush()
    assert all(one.handle for one in asked)


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
