"""What is said about dead letters: equal reasons count together, and what would be in vain is named."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.codec import encode
from headrace.events import EntryDead, PredictionRequested, RunAlive
from headrace.letters import Filter, Letter, gist, order, unfit, warning
from headrace.positions import Handle, Position

PLACE = Handle(0, Position(1000, 7))


def letter(**fields: Any) -> EntryDead:
    given = {"channel": "requests", "partition": 0, "position": "1-1", "group": "scorers", "reason": "wrong"}
    return EntryDead(**{**given, "attempts": 1, "payload": encode(RunAlive(run="r")), **fields})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("row 3 has 4 values, 64 are expected", "row 17 has 5 values, 64 are expected"),
        ("its deadline had passed 0.134 s ago", "its deadline had passed 12.9 s ago"),
        ("unknown model 'a'; known: digits", "unknown model 'bb'; known: digits"),
    ],
)
def test_reasons_that_differ_only_in_what_they_name_count_together(one: str, other: str) -> None:
    assert gist(one) == gist(other)
    assert "…" in gist(one)


def test_different_reasons_stay_apart() -> None:
    assert gist("row 3 holds nan") != gist("row 3 holds inf")


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        (Filter(), True),
        (Filter(channel="requests", group="scorers"), True),
        (Filter(channel="labels"), False),
        (Filter(group="others"), False),
        (Filter(text="WRONG"), True),
        (Filter(text="right"), False),
        (Filter(newest=PLACE), True),
        (Filter(newest=Handle(0, Position(1000, 6))), False),
        (Filter(newest=Handle(3, Position(1000, 7))), True),
    ],
)
def test_a_filter_means_what_it_names(wanted: Filter, fits: bool) -> None:
    assert wanted.fits(PLACE, letter()) is fits


def test_a_filter_knows_the_gist_of_a_reason() -> None:
    event = letter(reason="row 17 holds nan")
    assert Filter(text=gist(event.reason)).fits(PLACE, event)


def test_letters_of_all_partitions_have_one_order() -> None:
    places = [
        Handle(1, Position(5, 2)),
        Handle(0, Position(5, 2)),
        Handle(1, Position(4, 9)),
        Handle(0, Position(6, 1)),
    ]
    assert sorted(places, key=order) == [places[2], places[1], places[0], places[3]]


def test_a_request_whose_deadline_has_passed_would_die_again() -> None:
    asked = PredictionRequested(model="m", inputs=[[1.0]], deadline=100.0)
    event = letter(payload=encode(asked))
    assert "deadline passed 20 s ago" in warning(event, 120.0)
    assert warning(event, 99.0) == ""
    assert warning(letter(), 1e12) == ""
    assert "cannot be read" in warning(letter(payload=b"\xff"), 0.0)


def test_what_is_not_the_event_any_more_cannot_be_requeued() -> None:
    assert unfit(Letter(PLACE, letter()), 1000) == ""
    assert "no payload" in unfit(Letter(PLACE, letter(payload=b"")), 1000)
    assert "cut at 1,000 bytes" in unfit(Letter(PLACE, letter(payload=b"x" * 1000)), 1000)
    assert "partition 4" in unfit(Letter(PLACE, letter(partition=4)), 1000)
    assert "cannot be a channel" in unfit(Letter(PLACE, letter(channel="no such:thing")), 1000)
