"""Plain PUBLISH: what is an event for its channel is taken once; everything else is refused with a reason."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.bus import Bus
from headrace.channels import Names
from headrace.codec import decode
from headrace.errors import UnavailableError
from headrace.events import PredictionRequested, RunStarted
from headrace.settings import Settings
from headrace.subscriber.aggregation.frame import IntakeCounts, Place
from headrace.subscriber.aggregation.intake import Intake, check

NAMES = Names("p", 4)
SETTINGS = Settings(event_limit_bytes=10_000)
RUN = b'{"type": "run.started", "id": "1", "run": "r"}'


def refused(channel: str, payload: bytes) -> str:
    found = check([(channel, payload)], NAMES, SETTINGS)
    assert found.taken == {}
    [(_, reason)] = found.refused
    return reason


def test_json_of_anybody_is_taken_as_it_is() -> None:
    assert check([("runs", RUN)], NAMES, SETTINGS).taken == {Place("runs", 0): [("1", RUN)]}


def test_an_event_without_an_id_is_given_one_and_a_time() -> None:
    [(identity, payload)] = check([("runs", b'{"type":"run.started","run":"r"}')], NAMES, SETTINGS).taken[
        Place("runs", 0)
    ]
    event = decode(payload)
    assert payload.startswith(b"{")
    assert isinstance(event, RunStarted)
    assert event.id == identity != ""
    assert event.time > 0


def test_a_label_goes_to_the_partition_of_its_request() -> None:
    label = b'{"type":"prediction.labelled","id":"1","prediction":"3-5-6","labels":["cat"]}'
    assert list(check([("labels", label)], NAMES, SETTINGS).taken) == [Place("labels", 3)]
    assert "partition 9" in refused("labels", label.replace(b"3-5-6", b"9-5-6"))
    assert "not a prediction" in refused("labels", label.replace(b"3-5-6", b"nonsense"))


def test_requests_spread_over_partitions_and_the_same_id_goes_to_the_same_one() -> None:
    requests = [
        ("requests", b'{"type":"prediction.requested","id":"%d","model":"m","inputs":[[1.0]]}' % number)
        for number in range(40)
    ]
    first, again = check(requests, NAMES, SETTINGS).taken, check(requests, NAMES, SETTINGS).taken
    assert {place.partition for place in first} == {0, 1, 2, 3}
    assert first == again


def test_channels_of_the_users_own_take_every_event() -> None:
    assert list(check([("mine", RUN)], NAMES, SETTINGS).taken) == [Place("mine", 0)]


@pytest.mark.parametrize(
    ("channel", "payload", "reason"),
    [
        ("runs", b"hello", "not an event"),
        ("runs", b"", "not an event"),
        ("runs", b'{"type": "run.started"', "not an event"),
        ("runs", b'{"type": "run.started"}', "not a valid run.started"),
        ("runs", b'{"type": "run.exploded", "run": "r"}', "unknown event type 'run.exploded'"),
        ("runs", b'{"type": "prediction.labelled", "prediction": "0-1-1", "labels": [1]}', "takes run.started"),
        ("runs", RUN + b" " * 10_000, "over the limit of 10000"),
        ("runs", RUN.replace(b'"1"', b'"%s"' % (b"x" * 201)), "too long"),
        ("results", RUN, "written by headrace alone"),
        ("frames", RUN, "written by headrace alone"),
        ("a b", RUN, "cannot be a channel"),
        ("", RUN, "cannot be a channel"),
    ],
)
def test_what_is_no_event_for_its_channel_is_refused_with_a_reason(channel: str, payload: bytes, reason: str) -> None:
    assert reason in refused(channel, payload)


@given(st.lists(st.tuples(st.text(max_size=8) | st.just("runs"), st.binary(max_size=40)), max_size=10))
def test_no_bytes_on_any_channel_end_the_intake_or_spoil_their_neighbours(pushes: list[tuple[str, bytes]]) -> None:
    found = check([*pushes, ("runs", RUN)], NAMES, SETTINGS)
    assert ("1", RUN) in found.taken[Place("runs", 0)]
    assert len(found.refused) + sum(map(len, found.taken.values())) == len(pushes) + 1


async def test_events_are_taken_once_each_and_the_books_balance(
    headrace_bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    counts = IntakeCounts()
    intake = Intake(headrace_bus, counts)
    with caplog.at_level(logging.WARNING):
        await intake.take([("runs", RUN), ("runs", RUN), ("runs", b"nonsense")])
        await intake.take([("runs", RUN), ("mine", RUN)])
    assert counts == IntakeCounts(taken=2, refused=1, duplicates=2)
    assert len(await headrace_bus.read("runs")) == 1
    assert len(await headrace_bus.read("mine")) == 1
    assert "refused plain PUBLISH to 'runs': not an event" in caplog.text


async def test_a_flood_of_nonsense_is_counted_in_full_and_logged_in_part(
    headrace_bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    counts = IntakeCounts()
    with caplog.at_level(logging.WARNING):
        await Intake(headrace_bus, counts).take([("runs", b"nonsense")] * 500)
    assert counts.refused == 500
    assert len(caplog.records) == 5


async def test_a_request_by_plain_publish_is_what_the_scorer_reads(headrace_bus: Bus) -> None:
    payload = b'{"type":"prediction.requested","model":"digits","inputs":[[0.5, null]],"label":true}'
    await Intake(headrace_bus, IntakeCounts()).take([("requests", payload)])
    [entry] = await headrace_bus.read("requests")
    event = decode(entry.payload)
    assert isinstance(event, PredictionRequested)
    assert (event.model, event.inputs, event.label) == ("digits", [[0.5, None]], True)


async def test_a_call_that_failed_on_the_way_is_made_again(headrace_bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    counts, take, calls = IntakeCounts(), headrace_bus.take, 0

    async def once_lost(channel: str, partition: int, events: list[tuple[str, bytes]]) -> tuple[int, int]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise UnavailableError("redis://x", "cut")
        return await take(channel, partition, events)

    monkeypatch.setattr(headrace_bus, "take", once_lost)
    await Intake(headrace_bus, counts).take([("runs", RUN)])
    assert counts == IntakeCounts(taken=1)
