"""The way of one event, read from the logs: its stamps, its end, and what stands before it."""

from __future__ import annotations

import pytest

from headrace.bus import Bus
from headrace.events import PredictionScored, RunAlive
from headrace.journey import Stamp, Waiting, answer_of, fate, follow, in_order, standing
from headrace.positions import START, Handle, Position
from headrace.testing import wait_until
from tests.unit.logs import asked, gave_up, labelled, scored


async def test_a_labelled_prediction_has_all_its_stamps(bus: Bus) -> None:
    handle = await asked(bus, 7)
    result = await scored(bus, 7, handle)
    await labelled(bus, 7, handle)
    found = await follow(bus, handle)
    assert found is not None
    names = ["created", "appended", "received", "scored", "committed", "pushed", "labelled", "joined"]
    assert [stamp.name for stamp in found.stamps] == names
    moments = [stamp.at for stamp in found.stamps]
    assert moments == sorted(moments)
    assert found.stamps[1].at == handle.position.ms / 1000
    assert found.stamps[4].where == f"results {result}"
    assert (found.fate, found.id, found.type, found.actual) == ("scored", "q-7", "prediction.requested", ["7"])
    assert found.answer is not None
    assert (found.answer.labels, found.answer.version, found.answer.rows) == (["7"], 3, 1)
    name, share = found.answer.probabilities[0][0]
    assert (name, round(share, 3)) == ("7", 0.91)


async def test_a_dead_letter_ends_with_its_reason(bus: Bus) -> None:
    handle = await asked(bus, 3)
    letter = await gave_up(bus, 3, handle, "row 0 holds nan")
    found = await follow(bus, handle)
    assert found is not None
    assert found.death is not None
    assert (found.fate, found.death.reason, found.death.letter) == ("dead", "row 0 holds nan", str(letter))
    assert found.stamps[-1].name == "given up"


async def test_one_that_waits_knows_what_stands_before_it(bus: Bus) -> None:
    handles = [await asked(bus, number) for number in range(4)]
    async with bus.consume("requests", "scorers", worker="w") as consumer:
        batch = await wait_until(consumer.next, 3.0, "a batch")
        handles += [await asked(bus, number) for number in range(4, 6)]
        found = [await follow(bus, handle) for handle in handles]
        assert [(one.fate, one.groups[0].ahead) for one in found if one] == [
            ("in flight", 0),
            ("in flight", 1),
            ("in flight", 2),
            ("in flight", 3),
            ("waiting", 4),
            ("waiting", 5),
        ]
        await consumer.finish(consumer.commit(batch))
    decided = await follow(bus, handles[0])
    assert decided is not None
    assert decided.fate == "unknown"


async def test_an_event_of_any_channel_has_a_way(bus: Bus) -> None:
    receipt = await bus.publish("orders", [RunAlive(run="r")])
    found = await follow(bus, Handle(0, receipt.positions[0]), "orders")
    assert found is not None
    assert (found.fate, [stamp.name for stamp in found.stamps]) == ("kept", ["appended"])


async def test_what_is_not_in_the_log_has_none(bus: Bus) -> None:
    assert await follow(bus, Handle(0, Position(1, 1))) is None


def test_no_span_is_negative_whatever_clocks_say() -> None:
    stamps = [Stamp("created", 10.5, "publisher"), Stamp("appended", 10.2, "server"), Stamp("received", 0.0, "worker")]
    stamps += [Stamp("scored", 10.1, "worker"), Stamp("committed", 10.7, "server")]
    found = in_order(stamps)
    assert [(one.name, one.at) for one in found] == [
        ("created", 10.5),
        ("appended", 10.5),
        ("scored", 10.5),
        ("committed", 10.7),
    ]
    assert [round(one.moved_s, 3) for one in found] == [0.0, 0.299, 0.399, 0.0]


@pytest.mark.parametrize(
    ("groups", "ended", "channel", "word"),
    [
        ([], (False, False), "requests", "waiting"),
        ([], (False, False), "orders", "kept"),
        ([Waiting(group="g", state="committed")], (False, False), "orders", "committed"),
        ([Waiting(group="g", state="committed")], (True, False), "requests", "scored"),
        ([Waiting(group="g", state="in flight")], (False, True), "requests", "dead"),
        ([Waiting(group="g", state="committed"), Waiting(group="h", state="waiting")], (False, False), "o", "waiting"),
    ],
)
def test_what_became_of_it_in_one_word(
    groups: list[Waiting], ended: tuple[bool, bool], channel: str, word: str
) -> None:
    assert fate(groups, *ended, channel) == word


def test_where_a_group_stands() -> None:
    newest = Position(100, 20)
    assert standing("g", 5, 0, Position(90, 16), newest, Position(95, 18)).ahead == 2
    assert standing("g", 5, 3, Position(80, 10), newest, Position(80, 12)).state == "in flight"
    assert standing("g", 5, 3, Position(80, 10), newest, Position(70, 9)).state == "committed"
    assert standing("g", 0, 0, None, START, START).state == "committed"


def test_the_answer_to_one_of_a_batch() -> None:
    event = PredictionScored(
        model="m",
        version=1,
        positions="1-1 1-2 1-3",
        ids=["a", "b", "c"],
        rows=[1, 30, 1],
        values=[float(n) for n in range(32)],
        names=[],
    )
    middle = answer_of(event, Position(1, 2))
    assert middle is not None
    assert (middle.rows, middle.values[0], len(middle.values)) == (30, 1.0, 20)
    last = answer_of(event, Position(1, 3))
    assert last is not None
    assert last.values == [31.0]
    assert answer_of(event, Position(1, 4)) is None


def test_a_result_that_contradicts_itself_is_no_answer() -> None:
    rows = PredictionScored(model="m", version=1, positions="1-1 1-2", ids=["a"], rows=[1])
    assert answer_of(rows, Position(1, 1)) is None
    shares = PredictionScored(model="m", version=1, positions="1-1", ids=["a"], labels=[5], names=["no"])
    found = answer_of(shares, Position(1, 1))
    assert found is not None
    assert found.labels == ["5"]
