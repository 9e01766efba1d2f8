"""Dead letters over HTTP: what is listed, what an order does, and which orders are refused."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest

from headrace.bus import Bus
from headrace.channels import ACTIONS, DEAD, REQUESTS
from headrace.codec import decode
from headrace.dashboard.api.dead import BODY_BYTES, NAMED, carried
from headrace.dashboard.app import create_app
from headrace.dashboard.looks.dead import DeadNews, Letters
from headrace.dashboard.state import State
from headrace.errors import UnavailableError
from headrace.events import ActionTaken
from headrace.positions import Handle
from tests.unit.logs import LogBus, asked, gave_up, letter


@pytest.fixture
async def client(bus: Bus) -> AsyncIterator[httpx.AsyncClient]:
    """Asks a dashboard on the fake server, from its own machine."""
    app = create_app(bus.settings, LogBus(bus, past_s=0))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as asking:
        yield asking


@pytest.fixture
async def places(bus: Bus) -> list[str]:
    """Six letters, oldest first, of two reasons; the last one's deadline has passed."""
    found = []
    for number in range(6):
        handle = await asked(bus, number, deadline=1.0 if number == 5 else 0.0)
        reason = f"row {number} holds nan" if number < 4 else "the model failed"
        found.append(str(await gave_up(bus, number, handle, reason)))
    return found


async def news(look: Letters, bus: Bus) -> DeadNews:
    found = (await look.look(bus, State(), ["dead"]))["dead"]
    assert isinstance(found, DeadNews)
    return found


async def test_letters_are_listed_newest_first_with_counts(client: httpx.AsyncClient, places: list[str]) -> None:
    found = (await client.get("/api/dead")).json()
    assert [row["letter"] for row in found["letters"]] == places[::-1]
    assert found["reasons"] == [["row … holds nan", 4], ["the model failed", 2]]
    assert found["places"] == [[REQUESTS, "scorers", 6]]
    assert (found["waiting"], found["complete"], found["before"], found["newest"]) == (6, True, "", places[-1])
    newest = found["letters"][0]
    assert (newest["type"], newest["attempts"], newest["worker"]) == ("prediction.requested", 1, "scorer-1")
    assert "deadline passed" in newest["warning"]
    assert found["letters"][1]["warning"] == ""


async def test_pages_and_filters(client: httpx.AsyncClient, places: list[str]) -> None:
    first = (await client.get("/api/dead", params={"limit": "4"})).json()
    rest = (await client.get("/api/dead", params={"limit": "4", "before": first["before"]})).json()
    assert [row["letter"] for row in first["letters"] + rest["letters"]] == places[::-1]
    some = (await client.get("/api/dead", params={"text": "NAN", "channel": REQUESTS, "group": "scorers"})).json()
    assert [row["letter"] for row in some["letters"]] == places[3::-1]
    assert some["waiting"] == 4
    assert (await client.get("/api/dead", params={"group": "others"})).json()["letters"] == []


async def test_a_snapshot_carries_what_the_page_shows_at_its_moment_and_each_letter_whole(
    client: httpx.AsyncClient, bus: Bus, places: list[str]
) -> None:
    third = Handle.parse(places[2]).position.ms
    view = {"text": "nan", "before": "nowhere", "window": "60"}
    found = await carried(bus, view, third, State())
    shown = [row.letter for row in found["letters"]]
    assert shown == [place for place in places[3::-1] if Handle.parse(place).position.ms <= third]
    assert list(found["whole"]) == shown
    one = found["whole"][places[2]]
    assert (one["event"]["reason"], one["event"]["payload"]["id"]) == ("row 2 holds nan", "q-2")
    asked = (await client.get("/api/events/one", params={"channel": DEAD, "at": places[2]})).json()
    assert msgspec.json.decode(msgspec.json.encode(one)) == asked


async def test_an_order_for_named_letters_is_done_once_and_told(
    client: httpx.AsyncClient, bus: Bus, places: list[str]
) -> None:
    order = {"letters": [places[0], places[0], "0-1-1"]}
    first = (await client.post("/api/dead/requeue", json=order)).json()
    again = (await client.post("/api/dead/requeue", json=order)).json()
    assert (first["done"], first["already"], list(first["refused"])) == (1, 0, ["0-1-1"])
    assert (again["done"], again["already"]) == (0, 1)
    assert await bus.length(REQUESTS) == 7
    found = (await client.get("/api/dead", params={"done": "1"})).json()
    marked = next(row for row in found["letters"] if row["letter"] == places[0])
    assert (marked["mark"]["action"], marked["mark"]["actor"]) == ("requeue", "local")
    [told] = found["actions"]
    assert (told["action"], told["count"], told["actor"]) == ("requeue", 1, "local")


async def test_an_order_for_a_filter_leaves_what_came_later(
    client: httpx.AsyncClient, bus: Bus, places: list[str]
) -> None:
    order = {"filter": {"text": "holds nan", "newest": places[2]}}
    assert (await client.post("/api/dead/discard", json=order)).json()["done"] == 3
    assert await bus.length(REQUESTS) == 6
    left = (await client.get("/api/dead")).json()
    assert [row["letter"] for row in left["letters"]] == places[:2:-1]
    [entry] = await bus.read(ACTIONS)
    event = decode(entry.payload)
    assert isinstance(event, ActionTaken)
    assert (event.action, event.count) == ("discard", 3)
    assert event.text.startswith("all of reason holds nan: ")


async def test_all_there_is(client: httpx.AsyncClient, bus: Bus, places: list[str]) -> None:
    assert (await client.post("/api/dead/requeue", json={"filter": {}})).json()["done"] == 6
    assert await bus.length(REQUESTS) == 12
    assert (await client.get("/api/dead")).json()["letters"] == []


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b"", 400, "not understood"),
        (b"\xff", 400, "not understood"),
        (b"{}", 400, "either"),
        (b'{"letters": ["0-1-1"], "filter": {}}', 400, "either"),
        (b'{"filter": {"chanel": "x"}}', 400, "chanel"),
        (b'{"letters": ["q17"]}', 400, "must look like"),
        (b'{"filter": {"newest": "x"}}', 400, "must look like"),
        (b'{"letters": [' + b",".join(b'"0-1-%d"' % n for n in range(NAMED + 1)) + b"]}", 400, "give a filter"),
        (b" " * (BODY_BYTES + 1), 413, "fewer letters"),
    ],
)
async def test_an_order_that_is_none_is_refused(
    client: httpx.AsyncClient, bus: Bus, places: list[str], body: bytes, status: int, text: str
) -> None:
    answer = await client.post("/api/dead/requeue", content=body)
    assert answer.status_code == status
    assert text in answer.json()["error"]
    assert await bus.length(REQUESTS) == 6


@pytest.mark.parametrize("params", [{"before": "x"}, {"limit": "many"}])
async def test_a_listing_that_cannot_be_is_refused(client: httpx.AsyncClient, params: dict[str, str]) -> None:
    assert (await client.get("/api/dead", params=params)).status_code == 400


@pytest.mark.parametrize("action", ["requeue", "discard"])
async def test_a_page_of_another_site_orders_nothing(
    client: httpx.AsyncClient, bus: Bus, places: list[str], action: str
) -> None:
    answer = await client.post(f"/api/dead/{action}", json={"filter": {}}, headers={"origin": "http://evil.example"})
    assert answer.status_code == 403
    assert (await client.get("/api/dead")).json()["waiting"] == 6


async def test_a_full_channel_is_said(client: httpx.AsyncClient, bus: Bus, places: list[str]) -> None:
    await bus._client.xgroup_create(bus.names.log(REQUESTS), "scorers", "0")
    object.__setattr__(bus.settings, "depth_limit", 7)
    assert (await client.post("/api/dead/requeue", json={"filter": {}})).status_code == 409
    assert await bus.length(REQUESTS) == 6


async def test_without_a_server_it_says_that_trying_again_is_safe(
    client: httpx.AsyncClient, bus: Bus, places: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(*args: object) -> None:
        raise UnavailableError("redis://nowhere", "refused")

    monkeypatch.setattr(bus, "commit", gone)
    answer = await client.post("/api/dead/requeue", json={"letters": places[:1]})
    assert answer.status_code == 503
    assert "nothing is done twice" in answer.json()["error"]


async def test_news_is_another_text_after_a_letter_and_after_an_action(
    client: httpx.AsyncClient, bus: Bus, places: list[str]
) -> None:
    look = Letters()
    first = await news(look, bus)
    assert (first.written, await news(look, bus)) == (6, first)
    await bus.publish(DEAD, [letter()])
    second = await news(look, bus)
    await client.post("/api/dead/discard", json={"letters": places[:1]})
    third = await news(look, bus)
    assert len({first.news, second.news, third.news}) == 3
