"""What a caller over HTTP is told is what happened to its events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import fakeredis
import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from headrace.arrays import pack, unpack_rows
from headrace.bus import Batch, Bus, Consumer
from headrace.channels import DEAD, LABELS, REQUESTS, RESULTS, RUNS, SCORERS
from headrace.codec import decode, encode
from headrace.events import Event, PredictionLabelled, PredictionRejected, PredictionRequested, PredictionScored
from headrace.publisher.gateway import create_gateway
from headrace.publisher.gateway.counts import CHANNELS, OTHERS, Counts
from headrace.publisher.gateway.desk import Desk
from headrace.publisher.gateway.intake import cut
from headrace.settings import Settings
from headrace.testing import collect, wait_until

NAMES = ["even", "odd"]
ROWS = {"rows": [[1.0, 2.0], [3.0, None]]}


@asynccontextmanager
async def opened(bus: Bus, settings: Settings | None = None) -> AsyncIterator[tuple[httpx.AsyncClient, FastAPI]]:
    """A client of a gateway on `bus`, as if over HTTP."""
    app = create_gateway(settings or bus.settings, bus)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    http = httpx.AsyncClient(transport=transport, base_url="http://localhost")
    async with app.router.lifespan_context(app), http as client:
        yield client, app


@pytest.fixture
async def client(headrace_bus: Bus) -> AsyncIterator[httpx.AsyncClient]:
    async with opened(headrace_bus) as (client, _):
        yield client


def score(request: PredictionRequested) -> str | np.ndarray[Any, np.dtype[Any]]:
    """The model of these tests: the parity of each row's first value; a reason for what it cannot score."""
    if request.model != "parity":
        return f"unknown model {request.model!r}; in service: parity"
    rows = unpack_rows(request.inputs)
    return "the model takes 2 features" if rows.shape[1] != 2 else (rows[:, 0] % 2).astype("<i8")


@asynccontextmanager
async def scorer(
    bus: Bus, model: Callable[[PredictionRequested], Any] = score, *, replies: bool = True
) -> AsyncIterator[None]:
    """Scores every request while the block runs, one commit a batch; without `replies` it tells nobody."""

    async def decide(consumer: Consumer, batch: Batch) -> None:
        decision = consumer.commit(batch)
        for entry in batch.entries:
            request = decode(entry.payload)
            assert isinstance(request, PredictionRequested)
            verdict = model(request)
            reply: Event
            if isinstance(verdict, str):
                decision.dead(entry.position, verdict)
                reply = PredictionRejected(request=request.id, position=str(entry.position), reason=verdict)
            else:
                reply = PredictionScored(
                    model=request.model,
                    version=7,
                    positions=str(entry.position),
                    ids=[request.id],
                    rows=[len(verdict)],
                    labels=pack(verdict),
                    probabilities=pack(np.eye(2)[verdict]),
                    names=NAMES,
                )
                decision.append(RESULTS, [reply])
            if replies and request.reply_to:
                decision.reply(request.reply_to, encode(reply))
        await consumer.finish(decision)

    async def work(consumer: Consumer) -> None:
        async for batch in consumer:
            await decide(consumer, batch)

    async with bus.consume(REQUESTS, SCORERS, worker="test") as consumer:
        working = asyncio.create_task(work(consumer))
        try:
            yield
        finally:
            consumer.stop()
            await working


class TestPredict:
    async def test_rows_come_back_scored(self, client: httpx.AsyncClient, headrace_bus: Bus) -> None:
        async with scorer(headrace_bus):
            answer = await client.post("/v1/models/parity/predict", json=ROWS)
        assert answer.status_code == 200
        body = answer.json()
        identity = body.pop("id")
        assert body == {
            "status": "scored",
            "model": "parity",
            "version": 7,
            "labels": ["odd", "odd"],
            "probabilities": [[0.0, 1.0], [0.0, 1.0]],
        }
        [request] = await headrace_bus.read(REQUESTS)
        assert identity == f"0-{request.position}"

    async def test_the_request_says_what_the_caller_said(self, client: httpx.AsyncClient, headrace_bus: Bus) -> None:
        async with scorer(headrace_bus):
            await client.post("/v1/models/parity/predict", json={**ROWS, "version": 7, "label": True})
        [event] = await collect(headrace_bus, REQUESTS, 1)
        assert isinstance(event, PredictionRequested)
        assert (event.model, event.version, event.label, event.source) == ("parity", 7, True, "gateway")
        rows = unpack_rows(event.inputs)
        assert rows[0].tolist() == [1.0, 2.0]
        assert np.isnan(rows[1, 1])

    async def test_many_at_once_each_get_their_own_and_travel_together(self, headrace_bus: Bus) -> None:
        async with opened(headrace_bus) as (client, _), scorer(headrace_bus):
            answers = await asyncio.gather(
                *(client.post("/v1/models/parity/predict", json={"rows": [[n, 0]]}) for n in range(100))
            )
        assert [answer.json()["labels"] for answer in answers] == [[NAMES[n % 2]] for n in range(100)]
        assert len({answer.json()["id"] for answer in answers}) == 100
        moments = {entry.position.ms for entry in await headrace_bus.read(REQUESTS)}
        assert len(moments) < 100

    async def test_without_a_scorer_the_deadline_answers_and_the_result_is_found_later(
        self, client: httpx.AsyncClient, headrace_bus: Bus
    ) -> None:
        queued = await client.post("/v1/models/parity/predict", json={**ROWS, "deadline_ms": 20})
        assert queued.status_code == 202
        assert queued.json()["status"] == "queued"
        where = queued.headers["location"]
        assert where == f"/v1/predictions/{queued.json()['id']}"
        waiting = await client.get(where)
        assert (waiting.status_code, waiting.json()) == (202, queued.json())
        async with scorer(headrace_bus):
            await collect(headrace_bus, RESULTS, 1)
        found = await client.get(where)
        assert found.status_code == 200
        assert found.json()["id"] == queued.json()["id"]
        assert found.json()["labels"] == NAMES[1:] * 2

    async def test_a_reply_that_was_not_heard_is_found_in_the_log_before_giving_up(
        self, client: httpx.AsyncClient, headrace_bus: Bus
    ) -> None:
        async with scorer(headrace_bus, replies=False):
            asked = asyncio.create_task(
                client.post("/v1/models/parity/predict", json={"rows": [[1, 2]], "deadline_ms": 500})
            )
            await collect(headrace_bus, RESULTS, 1)
            answer = await asked
        assert answer.status_code == 200
        assert answer.json()["labels"] == ["odd"]

    async def test_nobody_is_waited_for_after_the_answer(self, headrace_bus: Bus) -> None:
        async with opened(headrace_bus) as (client, app):
            await client.post("/v1/models/parity/predict", json={**ROWS, "deadline_ms": 1})
            desk: Desk = app.state.gateway.desk
            assert desk.asking == 0
            assert len(desk._waiting) == 0

    @pytest.mark.parametrize(
        ("model", "rows", "status", "code", "reason"),
        [
            ("none", [[1, 2]], 404, "unknown_model", "unknown model 'none'"),
            ("parity", [[1, 2, 3]], 422, "rejected", "the model takes 2 features"),
        ],
    )
    async def test_a_dead_letter_is_answered_with_its_reason(
        self, headrace_bus: Bus, model: str, rows: Any, status: int, code: str, reason: str
    ) -> None:
        async with opened(headrace_bus) as (client, _), scorer(headrace_bus):
            answer = await client.post(f"/v1/models/{model}/predict", json={"rows": rows})
            assert answer.status_code == status
            assert answer.json()["error"]["code"] == code
            assert reason in answer.json()["error"]["reason"]
            [dead] = await headrace_bus.read(DEAD)
            event = decode(dead.payload)
            later = await client.get(f"/v1/predictions/0-{event.position}")  # type: ignore[union-attr]
            assert (later.status_code, later.json()) == (status, answer.json())

    @pytest.mark.parametrize(
        ("body", "reason"),
        [
            (b"", "truncated"),
            (b"{", "truncated"),
            (b"\xff\xfe", "malformed"),
            (b"{}", "`rows`"),
            (b'{"rows": "x"}', "$.rows"),
            (b'{"rows": [["a"]]}', "$.rows[0][0]"),
            (b'{"rows": [[1e999]]}', "out of range"),
            (b'{"rows": [[NaN]]}', "invalid character"),
            (b'{"rows": [[1], [1, 2]]}', "row 1 has 2 values"),
            (b'{"rows": []}', "at least one row"),
            (b'{"rows": [[]]}', "at least one row"),
            (b'{"rows": [[1]], "version": -1}', "$.version"),
            (b'{"rows": [[1]], "deadline_ms": 60001}', "$.deadline_ms"),
            (b'{"rows": [[1]], "deadline": 5}', "deadline"),
            (b'{"rows": ' + b"[" * 100_000, "$.rows[0][0]"),
            (b'{"x": ' + b"[" * 100_000, "x"),
        ],
    )
    async def test_a_wrong_body_is_refused_with_the_place(
        self, client: httpx.AsyncClient, headrace_bus: Bus, body: bytes, reason: str
    ) -> None:
        answer = await client.post("/v1/models/parity/predict", content=body)
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert error["code"] == "invalid"
        assert reason in error["reason"]
        assert await headrace_bus.length(REQUESTS) == 0


class TestPrediction:
    @pytest.mark.parametrize(
        "identity", ["x", "0-1", "0-1-", "1-1700000000000-1", "0-99999999999999999999999-1", "0-1700000000000-1"]
    )
    async def test_what_is_malformed_or_gone_is_not_found(self, client: httpx.AsyncClient, identity: str) -> None:
        answer = await client.get(f"/v1/predictions/{identity}")
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "unknown_prediction"

    async def test_the_right_one_is_found_in_a_batch_beyond_the_first_page(
        self, client: httpx.AsyncClient, headrace_bus: Bus
    ) -> None:
        receipt = await headrace_bus.publish(
            REQUESTS, [PredictionRequested(model="m", inputs=[[float(n)]]) for n in (0, 1)]
        )
        other = PredictionScored(model="m", version=1, positions="9-9", ids=["z"], values=[0.0])
        await headrace_bus.publish(RESULTS, [other] * 250)
        both = " ".join(map(str, receipt.positions))
        packed = PredictionScored(model="m", version=1, positions=both, ids=["", ""], values=[10.0, 11.0])
        await headrace_bus.publish(RESULTS, [packed])
        answers = [await client.get(f"/v1/predictions/0-{position}") for position in receipt.positions]
        assert [answer.json()["values"] for answer in answers] == [[10.0], [11.0]]


class TestEvents:
    async def test_one_event(self, client: httpx.AsyncClient, headrace_bus: Bus) -> None:
        answer = await client.post("/v1/events", json={"type": "run.started", "run": "r1"})
        assert (answer.status_code, answer.json()) == (202, {"accepted": 1, "refused": []})
        [event] = await collect(headrace_bus, RUNS, 1)
        assert (event.source, event.id != "", event.time > 0) == ("gateway", True, True)

    async def test_each_type_goes_where_it_belongs_in_order(self, client: httpx.AsyncClient, headrace_bus: Bus) -> None:
        steps = [{"type": "run.metrics", "run": "r", "step": n, "metrics": {"loss": n}} for n in range(600)]
        others = [
            {"type": "prediction.requested", "model": "m", "inputs": [[1]]},
            {"type": "prediction.labelled", "prediction": "0-1700000000000-1", "labels": [1]},
        ]
        answer = await client.post("/v1/events", json=[*steps, *others])
        assert (answer.status_code, answer.json()["accepted"]) == (202, 602)
        events = [decode(entry.payload) for entry in await headrace_bus.read(RUNS, count=1000)]
        assert [event.step for event in events] == list(range(600))  # type: ignore[union-attr]
        assert await headrace_bus.length(REQUESTS) == 1
        assert await headrace_bus.length(LABELS) == 1

    async def test_lines_are_judged_one_by_one(self, client: httpx.AsyncClient, headrace_bus: Bus) -> None:
        lines = [
            b'{"type": "run.started", "run": "a"}',
            b"",
            b'{"type": "run.started"',
            b'{"type": "run.unheard", "run": "a"}',
            b'{"type": "run.started", "run": 5}',
            b'{"type": "frame"}',
            b'{"type": "prediction.requested", "model": "m", "inputs": [[1]], "reply_to": "somewhere"}',
            b'{"type": "prediction.labelled", "prediction": "9-1-1", "labels": [1]}',
            b'{"type": "run.started", "run": "b"}',
        ]
        answer = await client.post(
            "/v1/events", content=b"\n".join(lines), headers={"content-type": "application/x-ndjson; charset=utf-8"}
        )
        assert answer.status_code == 207
        body = answer.json()
        assert body["accepted"] == 2
        reasons = {refusal["line"]: refusal["reason"] for refusal in body["refused"]}
        assert list(reasons) == [3, 4, 5, 6, 7, 8]
        assert "unknown event type 'run.unheard'" in reasons[4]
        assert "$.run" in reasons[5]
        assert "frame events are not taken from outside" in reasons[6]
        assert "reply_to must begin with" in reasons[7]
        assert "there is no prediction '9-1-1'" in reasons[8]
        assert [event.run for event in await collect(headrace_bus, RUNS, 2)] == ["a", "b"]  # type: ignore[union-attr]

    async def test_none_taken_is_unprocessable(self, client: httpx.AsyncClient) -> None:
        answer = await client.post("/v1/events", json=[{"type": "x"}, 5])
        assert answer.status_code == 422
        assert answer.json()["accepted"] == 0
        assert len(answer.json()["refused"]) == 2

    @pytest.mark.parametrize("body", [b"", b"  \n", b"[]", b"[" * 200_000, b'[{"type": 1}', b"[1,"])
    async def test_a_body_without_events_or_a_broken_array_is_wrong(
        self, client: httpx.AsyncClient, body: bytes
    ) -> None:
        answer = await client.post("/v1/events", content=body)
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "invalid"

    async def test_a_nesting_bomb_is_one_refused_event(self, client: httpx.AsyncClient) -> None:
        bomb = b'{"type": "run.started", "run": "a", "params": ' + b'{"a":' * 200_000
        answer = await client.post("/v1/events", content=bomb)
        assert answer.status_code == 422

    @pytest.mark.parametrize(
        ("asked", "status"), [("mine", 202), ("runs", 202), ("results", 422), ("frames", 422), ("a{b}", 422)]
    )
    async def test_a_channel_of_ones_own_takes_any_event_and_ours_do_not(
        self, client: httpx.AsyncClient, headrace_bus: Bus, asked: str, status: int
    ) -> None:
        event = {"type": "run.started", "run": "a"}
        by_query = await client.post("/v1/events", params={"channel": asked}, json=event)
        by_header = await client.post("/v1/events", headers={"headrace-channel": asked}, json=event)
        assert (by_query.status_code, by_header.status_code) == (status, status)
        if status == 202:
            assert await headrace_bus.length(asked) == 2

    def test_a_body_is_cut_by_its_content_type(self) -> None:
        assert cut(b'{"a":1}\n\n{"b":2}\n', "application/x-ndjson") == [(1, b'{"a":1}'), (3, b'{"b":2}')]
        assert cut(b' [{"a":1}, 2]', "") == [(1, b'{"a":1}'), (2, b"2")]
        assert cut(b'{"a":1}', "application/json") == [(1, b'{"a":1}')]


class TestLabel:
    async def test_labels_are_published_for_the_prediction(self, client: httpx.AsyncClient, headrace_bus: Bus) -> None:
        answer = await client.post("/v1/predictions/0-1700000000000-5/label", json={"labels": ["odd", 1, 2.5]})
        assert (answer.status_code, answer.json()["accepted"]) == (202, 1)
        [event] = await collect(headrace_bus, LABELS, 1)
        assert isinstance(event, PredictionLabelled)
        assert (event.prediction, event.labels) == ("0-1700000000000-5", ["odd", 1, 2.5])

    async def test_a_prediction_that_cannot_be_and_labels_that_are_none_are_refused(
        self, client: httpx.AsyncClient
    ) -> None:
        malformed = await client.post("/v1/predictions/7/label", json={"labels": [1]})
        empty = await client.post("/v1/predictions/0-1-1/label", json={"labels": []})
        assert (malformed.status_code, empty.status_code) == (404, 400)


class TestLimits:
    async def test_a_large_body_is_refused_before_it_was_read(self, headrace_bus: Bus) -> None:
        sent = 0

        async def endless() -> AsyncIterator[bytes]:
            nonlocal sent
            while True:
                sent += 1
                yield b"x" * 1000

        async with opened(headrace_bus, headrace_bus.settings.with_(event_limit_bytes=10_000)) as (client, _):
            for path in ("/v1/models/m/predict", "/v1/events", "/v1/predictions/0-1-1/label"):
                sent = 0
                answer = await client.post(path, content=endless())
                assert answer.status_code == 413
                assert answer.json()["error"]["code"] == "too_large"
                assert sent <= 12

    async def test_a_body_that_says_it_is_large_is_not_read_at_all(self, headrace_bus: Bus) -> None:
        async def unread() -> AsyncIterator[bytes]:
            raise AssertionError("the body was read")
            yield b""

        async with opened(headrace_bus) as (client, _):
            answer = await client.post("/v1/events", content=unread(), headers={"content-length": str(10**9)})
        assert answer.status_code == 413

    async def test_a_full_channel_says_when_to_come_back(self, headrace_settings: Settings) -> None:
        bus = Bus(headrace_settings.with_(depth_limit=1))
        async with bus, bus.consume(REQUESTS, SCORERS, worker="w"), opened(bus) as (client, app):
            first = await client.post("/v1/models/m/predict", json={**ROWS, "deadline_ms": 50})
            assert first.status_code == 202
            for _ in range(2):  # once waiting in vain for room, once refused at the door
                full = await client.post("/v1/models/m/predict", json={**ROWS, "deadline_ms": 200})
                assert full.status_code == 503
                assert full.headers["retry-after"] == "1"
                assert full.json()["error"]["code"] == "full"
            other = await client.post("/v1/events", json={"type": "run.started", "run": "a"})
            assert other.status_code == 202
            app.state.gateway.desk._buffer.take_back()

    async def test_a_server_that_is_away_is_named_and_its_return_is_noticed(
        self, headrace_bus: Bus, headrace_fake: fakeredis.FakeServer
    ) -> None:
        async with opened(headrace_bus) as (client, _), scorer(headrace_bus):
            assert (await client.get("/readyz")).status_code in (200, 503)
            headrace_fake.connected = False
            for path in ("/v1/models/parity/predict", "/v1/models/parity/predict"):
                away = await client.post(path, json={**ROWS, "deadline_ms": 100})
                assert away.status_code == 503
                assert away.headers["retry-after"] == "1"
                error = away.json()["error"]
                assert error["code"] == "unavailable"
                assert "no Redis or Valkey server answers" in error["reason"]
            events = await client.post("/v1/events", json={"type": "run.started", "run": "a"})
            assert events.status_code == 503
            assert (await client.get("/readyz")).status_code == 503
            assert (await client.get("/healthz")).status_code == 200
            assert (await client.get("/v1/predictions/0-1700000000000-1")).status_code == 503
            headrace_fake.connected = True

            async def scored() -> bool:
                return (await client.post("/v1/models/parity/predict", json=ROWS)).status_code == 200

            await wait_until(scored, 10)


class TestPages:
    async def test_ready_once_the_subscription_stands(self, client: httpx.AsyncClient) -> None:
        async def ready() -> bool:
            return (await client.get("/readyz")).status_code == 200

        await wait_until(ready)

    async def test_the_document_describes_every_route(self, client: httpx.AsyncClient) -> None:
        document = (await client.get("/openapi.json")).json()
        paths = document["paths"]
        assert set(paths) == {
            "/v1/models/{name}/predict",
            "/v1/predictions/{prediction}",
            "/v1/predictions/{prediction}/label",
            "/v1/events",
            "/healthz",
            "/readyz",
            "/metrics",
        }
        predict = paths["/v1/models/{name}/predict"]["post"]
        assert set(predict["responses"]) == {"200", "202", "400", "401", "404", "413", "422", "429", "503"}
        shapes = document["components"]["schemas"]
        assert set(shapes["PredictBody"]["properties"]) == {"rows", "version", "label", "deadline_ms"}
        references = {line.partition('"')[0] for line in json.dumps(document).split("#/components/schemas/")[1:]}
        assert references <= set(shapes)

    async def test_the_page_shows_the_routes_and_loads_nothing(self, client: httpx.AsyncClient) -> None:
        page = await client.get("/docs")
        assert page.headers["content-type"].startswith("text/html")
        assert "/v1/models/{name}/predict" in page.text
        assert "deadline_ms" in page.text
        for loading in ("<script", "<link", "<img", "@import", "url(", "http://", "https://"):
            assert loading not in page.text

    async def test_what_was_served_can_be_scraped(self, client: httpx.AsyncClient, headrace_bus: Bus) -> None:
        async with scorer(headrace_bus):
            await client.post("/v1/models/parity/predict", json=ROWS)
        await client.post("/v1/events", json=[{"type": "run.started", "run": "a"}, {"type": "x"}])
        await client.get("/somewhere/else")
        lines = (await client.get("/metrics")).text.splitlines()
        operation = 'messaging_operation_name="publish",messaging_system="redis"'
        for wanted in (
            f'messaging_client_sent_messages_total{{messaging_destination_name="requests",{operation}}} 1.0',
            f'messaging_client_sent_messages_total{{messaging_destination_name="runs",{operation}}} 1.0',
            'headrace_gateway_predictions_total{outcome="scored"} 1.0',
            "headrace_gateway_waiting 0.0",
            'http_server_request_duration_seconds_count{http_request_method="POST",'
            'http_response_status_code="200",http_route="/v1/models/{name}/predict"} 1.0',
        ):
            assert wanted in lines
        assert not [line for line in lines if "/somewhere" in line]

    @pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("PUT", "/v1/events", 405)])
    async def test_a_route_that_there_is_not_is_said_in_the_same_shape(
        self, client: httpx.AsyncClient, method: str, path: str, status: int
    ) -> None:
        answer = await client.request(method, path)
        assert answer.status_code == status
        assert answer.json()["error"] == {
            "code": "no_such_route",
            "reason": f"there is no {method} {path}",
            "fix": "See /docs for the routes.",
        }

    async def test_a_fault_of_our_own_shows_no_trace(self, headrace_bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*_: object) -> None:
            raise ZeroDivisionError("secret")

        monkeypatch.setattr("headrace.publisher.gateway.routes.find", broken)
        async with opened(headrace_bus) as (client, _):
            answer = await client.get("/v1/predictions/0-1-1")
        assert answer.status_code == 500
        assert answer.json()["error"]["code"] == "internal"
        assert "secret" not in answer.text
        assert "Traceback" not in answer.text

    async def test_other_web_sites_cannot_use_a_browser_to_publish(
        self, client: httpx.AsyncClient, headrace_bus: Bus
    ) -> None:
        event = {"type": "run.started", "run": "a"}
        foreign = await client.post("/v1/events", json=event, headers={"origin": "http://elsewhere.example"})
        own = await client.post("/v1/events", json=event, headers={"origin": "http://localhost"})
        assert (foreign.status_code, own.status_code) == (403, 202)
        assert await headrace_bus.length(RUNS) == 1


async def test_the_end_tells_who_waits_that_it_is_queued(headrace_bus: Bus) -> None:
    async with opened(headrace_bus) as (client, app):
        asked = asyncio.create_task(client.post("/v1/models/m/predict", json=ROWS))
        await collect(headrace_bus, REQUESTS, 1)
        desk: Desk = app.state.gateway.desk
        await wait_until(lambda: desk.asking and all(prediction.handle for prediction in desk._open))
        await desk.release(0.01)
        answer = await asked
    assert answer.status_code == 202
    [entry] = await headrace_bus.read(REQUESTS)
    assert answer.json()["id"] == f"0-{entry.position}"


def test_callers_who_name_endless_channels_do_not_make_endless_counts() -> None:
    counts = Counts(lambda: 0)
    for number in range(3 * CHANNELS):
        counts.sent(f"mine-{number}", 2)
    [family] = [family for family in counts.registry.collect() if family.name == "messaging_client_sent_messages"]
    found = {
        sample.labels["messaging_destination_name"]: sample.value
        for sample in family.samples
        if sample.name.endswith("_total")
    }
    assert len(found) == CHANNELS + 1
    assert (found["mine-0"], found[OTHERS]) == (2, 2 * 2 * CHANNELS)
