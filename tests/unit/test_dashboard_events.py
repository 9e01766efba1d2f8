"""The events page's side of the server: what a tail reads, how an event is shown, what a search finds and admits."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest

from headrace.arrays import pack_rows
from headrace.bus import Bus
from headrace.channels import BUILT_IN, DEAD, LABELS, REQUESTS, RESULTS
from headrace.codec import encode
from headrace.dashboard.api.events import predictions, searched
from headrace.dashboard.app import create_app
from headrace.dashboard.looks.tail import CHANNELS, FRESH, KEPT, Tail, Tails
from headrace.dashboard.readable import TEXT, VALUES, fields, first_row, line, readable
from headrace.dashboard.search import names, place, search
from headrace.dashboard.sections.events import events
from headrace.dashboard.state import State
from headrace.events import ChannelView, EntryDead, PredictionRequested, RunAlive
from headrace.positions import Handle, Position
from tests.unit.frames import frame, rate
from tests.unit.logs import LogBus, asked, gave_up, happen, labelled, scored


@pytest.fixture
async def client(bus: Bus) -> AsyncIterator[httpx.AsyncClient]:
    """Asks a dashboard on the fake server that has seen one frame."""
    app = create_app(bus.settings, LogBus(bus, past_s=0))
    state = app.state.feed.state
    state.fold(LogBus(bus, past_s=0).story.frame(1000.0, 1), Position(1, 1))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as asking:
        yield asking


async def tail_of(tails: Tails, bus: Bus, channel: str) -> Tail:
    found = await tails.look(bus, State(), [f"tail:{channel}"])
    section = found[f"tail:{channel}"]
    assert isinstance(section, Tail)
    return section


# the tail


async def test_a_tail_is_the_newest_entries_newest_first(bus: Bus) -> None:
    await bus.publish("runs", [RunAlive(id=f"e{n}", run="r1", source="s", subject="about") for n in range(3)])
    tail = await tail_of(Tails(), bus, "runs")
    assert [shown.id for shown in tail.lines] == ["e2", "e1", "e0"]
    newest = tail.lines[0]
    assert (newest.type, newest.source, newest.subject, newest.text) == ("run.alive", "s", "about", "run=r1")
    assert Handle.parse(newest.at).position == (await bus.last("runs"))[1]


async def test_a_look_reads_so_much_and_no_more_however_much_was_published(bus: Bus) -> None:
    tails = Tails()
    await tail_of(tails, bus, "runs")
    await bus.publish("runs", [RunAlive(id=f"e{n}", run="r") for n in range(500)])
    tail = await tail_of(tails, bus, "runs")
    assert [shown.id for shown in tail.lines] == [f"e{n}" for n in range(499, 499 - FRESH, -1)]
    await bus.publish("runs", [RunAlive(id=f"f{n}", run="r") for n in range(FRESH)])
    tail = await tail_of(tails, bus, "runs")
    assert len(tail.lines) == KEPT
    assert tail.lines[0].id == f"f{FRESH - 1}"


async def test_a_tail_that_nothing_came_to_says_the_same(bus: Bus) -> None:
    tails = Tails()
    await bus.publish("runs", [RunAlive(run="r")])
    assert await tail_of(tails, bus, "runs") == await tail_of(tails, bus, "runs")


async def test_a_log_that_was_replaced_begins_anew(bus: Bus) -> None:
    tails = Tails()
    await bus.publish("runs", [RunAlive(id="old", run="r") for _ in range(3)])
    before = await tail_of(tails, bus, "runs")
    await bus._client.delete(bus.names.log("runs"), bus.names.head("runs"))
    await bus.publish("runs", [RunAlive(id="new", run="r")])
    after = await tail_of(tails, bus, "runs")
    assert [shown.id for shown in after.lines] == ["new"]
    assert after.epoch != before.epoch


async def test_all_partitions_are_in_one_tail(headrace_settings: Any) -> None:
    async with Bus(headrace_settings.with_(partitions=3)) as bus:
        for partition in range(3):
            await bus.publish(
                REQUESTS, [PredictionRequested(id=f"p{partition}", model="m", inputs=[[1.0]])], partition=partition
            )
        tail = await tail_of(Tails(), bus, REQUESTS)
    assert {shown.at.partition("-")[0] for shown in tail.lines} == {"0", "1", "2"}


async def test_channels_that_cannot_be_and_too_many_are_left_out(bus: Bus) -> None:
    wanted = [f"tail:c{n}" for n in range(CHANNELS + 3)]
    found = await Tails().look(bus, State(), ["tail:no such:channel", *wanted])
    assert set(found) == set(wanted[:CHANNELS])


async def test_what_is_no_event_has_a_line_too(bus: Bus) -> None:
    await bus.publish("runs", [b"\xff\xff"])
    [shown] = (await tail_of(Tails(), bus, "runs")).lines
    assert (shown.type, shown.bytes) == ("?", 2)
    assert "not an event" in shown.text


def test_all_channels_are_offered_built_in_ones_first() -> None:
    state = State()
    assert [row.name for row in events(state).channels] == list(BUILT_IN)
    state.frame = frame(channels=[ChannelView(name="orders", rate=rate(3.04), length=9)])
    rows = events(state).channels
    assert (rows[-1].name, rows[-1].rate, rows[-1].length) == ("orders", 3.0, 9)
    assert "frames" not in searched(state)
    assert "orders" in searched(state)


async def test_the_tail_of_a_moment_of_the_past(bus: Bus) -> None:
    first, second = [await asked(bus, number) for number in (1, 2)]
    found: Any = await Tails(first.position.ms).look(bus, State(), [f"tail:{REQUESTS}"])
    known = [handle for handle in (second, first) if handle.position.ms <= first.position.ms]
    assert [shown.at for shown in found[f"tail:{REQUESTS}"].lines] == [str(handle) for handle in known]


# one event, as people read it


def test_a_matrix_is_summarised_by_its_first_values() -> None:
    event = PredictionRequested(id="q", model="m", inputs=pack_rows([[float(n) for n in range(64)]]))
    shown = readable(encode(event))
    assert list(shown)[:2] == ["type", "id"]
    assert shown["inputs"] == {
        "dtype": "<f8",
        "shape": [1, 64],
        "bytes": 512,
        "first": [*[float(n) for n in range(VALUES)], "…"],
    }
    assert line(fields(encode(event))) == "model=m inputs=1×64 <f8"
    assert first_row(fields(encode(event))["inputs"]) == [float(n) for n in range(64)]


def test_a_dead_letter_shows_the_event_within() -> None:
    inner = encode(PredictionRequested(id="q", model="m", inputs=[[1.0]]))
    event = EntryDead(channel="c", partition=0, position="1-1", group="g", reason="r", attempts=1, payload=inner)
    assert readable(encode(event))["payload"]["id"] == "q"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (float("nan"), "nan"),
        ([0.5] * 50, [*[0.5] * VALUES, f"… {50 - VALUES} more"]),
        ("x" * (TEXT + 5), "x" * TEXT + "… 5 more characters"),
        (b"\x00\x01", {"bytes": 2, "begins": "00 01"}),
        ({"a": {"b": [1, "two"]}}, {"a": {"b": [1, "two"]}}),
    ],
)
def test_values_are_shown_as_far_as_they_can_be_read(value: Any, shown: Any) -> None:
    payload = msgspec.msgpack.encode({"type": "own.kind", "value": value})
    found = readable(payload)
    assert found == {"type": "own.kind", "value": shown}
    assert msgspec.json.decode(msgspec.json.encode(found)) == found
    assert len(line(fields(payload))) <= 240


@pytest.mark.parametrize("payload", [b"", b"\xff", b"{", b"[1]", b'{"a":' * 5000, b"\x81\xa1"])
def test_bytes_that_are_no_event_are_shown_as_such(payload: bytes) -> None:
    assert "not an event" in readable(payload)["undecodable"]


async def test_one_event_whole_with_its_picture_and_what_to_follow(bus: Bus, client: httpx.AsyncClient) -> None:
    handle = await asked(bus, 7)
    found = (await client.get("/api/events/one", params={"channel": REQUESTS, "at": str(handle)})).json()
    assert found["event"]["id"] == "q-7"
    assert found["picture"]["shape"] == [8, 8]
    assert len(base64.b64decode(found["picture"]["pixels"])) == 64
    assert found["predictions"] == [str(handle)]
    letter = await gave_up(bus, 7, handle)
    dead = (await client.get("/api/events/one", params={"channel": DEAD, "at": str(letter)})).json()
    assert dead["picture"] == found["picture"]
    assert dead["predictions"] == [str(handle)]


@pytest.mark.parametrize(
    ("channel", "at", "status", "text"),
    [
        ("no such:one", "0-1-1", 400, "cannot be a channel"),
        ("runs", "what", 400, "must look like"),
        ("runs", "7-1-1", 400, "has no place"),
        ("runs", f"0-{2**70}-1", 400, "has no place"),
        ("runs", "0-1-1", 404, "any more"),
    ],
)
async def test_an_event_that_is_not_there_is_said(
    client: httpx.AsyncClient, channel: str, at: str, status: int, text: str
) -> None:
    answer = await client.get("/api/events/one", params={"channel": channel, "at": at})
    assert answer.status_code == status
    assert text in answer.json()["error"]


async def test_predictions_of_every_kind_of_event_can_be_followed(bus: Bus) -> None:
    handle = await asked(bus, 1)
    await scored(bus, 1, handle)
    await labelled(bus, 1, handle)
    for channel in (RESULTS, LABELS, "joined"):
        [entry] = await bus.read(channel)
        assert predictions(channel, Handle(0, entry.position), entry.payload) == [str(handle)]
    assert predictions("runs", handle, encode(RunAlive(run="r"))) == []
    assert predictions("runs", handle, b"") == []


# search


async def test_an_id_is_found_with_all_that_names_it(bus: Bus, client: httpx.AsyncClient) -> None:
    for number in range(1, 8):
        await happen(bus, number)
    found = (await client.get("/api/events/search", params={"id": "q-5"})).json()
    assert [(hit["channel"], hit["how"]) for hit in found["hits"]] == [(REQUESTS, "is"), (RESULTS, "names")]
    by_channel = {looked["channel"]: looked for looked in found["looked"]}
    assert (by_channel[REQUESTS]["entries"], by_channel[REQUESTS]["complete"]) == (7, True)
    assert "frames" not in by_channel


async def test_an_id_within_a_dead_letter_is_found(bus: Bus) -> None:
    await happen(bus, 3)
    found = await search(bus, "q-3", [REQUESTS, DEAD])
    assert [(hit.channel, hit.how) for hit in found.hits] == [(REQUESTS, "is"), (DEAD, "names")]
    assert (await search(bus, "q-", [REQUESTS, DEAD])).hits == []


async def test_a_search_ends_in_time_and_says_how_far_it_came(bus: Bus) -> None:
    await bus.publish("runs", [RunAlive(id=f"e{n}", run="r") for n in range(600)])
    ticks = iter(range(100))
    found = await search(bus, "e0", ["runs"], budget_s=2.5, clock=lambda: next(ticks))
    assert found.hits == []
    [looked] = found.looked
    assert 0 < looked.entries < 600
    assert not looked.complete
    assert looked.since is not None
    assert [hit.line.id for hit in (await search(bus, "e0", ["runs"])).hits] == ["e0"]


async def test_a_place_is_looked_up_at_once(bus: Bus, client: httpx.AsyncClient) -> None:
    handle = await asked(bus, 1)
    for text in (str(handle), str(handle.position)):
        found = (await client.get("/api/events/search", params={"id": text})).json()
        assert [(hit["channel"], hit["line"]["at"]) for hit in found["hits"]] == [(REQUESTS, str(handle))]
        assert found["looked"] == []
    assert (await client.get("/api/events/search", params={"id": text, "channel": "runs"})).json()["hits"] == []


def test_what_is_a_place_and_what_is_an_id() -> None:
    assert place("0-17-3") == (0, Position(17, 3))
    assert place("17-3") == (None, Position(17, 3))
    assert place("q-3") is None
    assert place(f"1-{2**64}") is None
    assert names({"a": ["x", "b c"]}, "c")
    assert not names({"a": "bc"}, "c")


@pytest.mark.parametrize("wanted", ["", "ab", "x" * 201])
async def test_a_search_for_nothing_says_what_to_give(client: httpx.AsyncClient, wanted: str) -> None:
    answer = await client.get("/api/events/search", params={"id": wanted})
    assert answer.status_code == 400
    assert "event id" in answer.json()["error"]


# the way of one


async def test_the_way_of_one_by_handle_position_and_id(bus: Bus, client: httpx.AsyncClient) -> None:
    handle = await asked(bus, 4)
    await scored(bus, 4, handle)
    for text in (str(handle), str(handle.position), "q-4"):
        found = (await client.get("/api/events/trace", params={"prediction": text})).json()["journey"]
        assert (found["handle"], found["fate"], found["answer"]["labels"]) == (str(handle), "scored", ["4"])


@pytest.mark.parametrize(("wanted", "status"), [("", 400), ("0-1-1", 404), ("9-1-1", 404), ("nobody", 404)])
async def test_a_way_that_is_not_known(client: httpx.AsyncClient, wanted: str, status: int) -> None:
    answer = await client.get("/api/events/trace", params={"prediction": wanted})
    assert answer.status_code == status
    assert answer.json()["error"]
