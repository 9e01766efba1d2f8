"""What each route of the gateway does.

    POST predict ──> desk.ask ──> requests ... reply channel ──> 200, or 202 when the deadline passes
    POST events  ──> intake ──> desk.accept ──> 202, 207, 422
    GET prediction ──> find ──> 200, 202, 404, 422

Bodies are read and checked by msgspec, not by the framework's validation, which costs more than all the rest.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Final

import msgspec
from fastapi import FastAPI, Path
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from headrace.bus import Bus
from headrace.channels import LABELS, REQUESTS
from headrace.errors import BusError, DeadlineError, RejectedError, UnavailableError
from headrace.heartbeat import Heartbeat, Tally
from headrace.metrics import exposition
from headrace.publisher.gateway import intake
from headrace.publisher.gateway.bodies import LabelBody, PredictBody, Queued, parsed, read_body, scored
from headrace.publisher.gateway.counts import Counts
from headrace.publisher.gateway.desk import Desk
from headrace.publisher.gateway.find import find, parse
from headrace.publisher.gateway.problems import Problem, rejected
from headrace.publisher.predictions import Result, labelled
from headrace.settings import Settings

ACCEPT_S = 10.0
"""How long `POST /v1/events` waits for the server to take the events."""
CHANNEL: Final = "headrace-channel"
"""The header that names a channel."""

Name = Annotated[str, Path(description="Name of the model, as `headrace models ls` lists it.")]
Prediction = Annotated[str, Path(description="Id of the prediction, as in `0-1763800000000-12`.")]

_predict = msgspec.json.Decoder(PredictBody)
_label = msgspec.json.Decoder(LabelBody)
_log = logging.getLogger(__name__)


class Gateway:
    """One gateway: its desk, its counts, and what each route does."""

    def __init__(self, settings: Settings, bus: Bus) -> None:
        self.bus = bus
        self.desk = Desk(bus)
        self.counts = Counts(lambda: self.desk.asking)
        self._limit_bytes = settings.event_limit_bytes

    @asynccontextmanager
    async def serving(self, _: FastAPI) -> AsyncIterator[None]:
        """Listen for replies and give signs of life, until the app ends; then send what is still buffered."""
        self.desk.listen()
        async with Heartbeat(self.bus, "gateway", self._tally):
            yield
            try:
                await self.desk.close()
            except BusError as error:
                _log.warning("events that were accepted for sending could not be sent: %s", error)

    async def predict(self, request: Request, name: Name) -> Response:
        """Score rows and wait for the result.

        The result is pushed, so the answer comes as soon as it exists. When `deadline_ms` passes first, the answer is
        202 with an `id` that `GET /v1/predictions/{id}` takes.
        """
        body = parsed(await read_body(request, self._limit_bytes), _predict)
        try:
            result = await self.desk.ask(
                name, body.rows, version=body.version, label=body.label, timeout_s=body.deadline_ms / 1000
            )
        except DeadlineError as late:
            self.counts.asked("queued")
            return _queued(late.prediction)
        except RejectedError as error:
            self.counts.asked("rejected")
            raise rejected(error.reason) from error
        self.counts.asked("scored")
        return _scored(result)

    async def prediction(self, request: Request, prediction: Prediction) -> Response:
        """Fetch the result of a prediction by its id.

        Results are kept for `HEADRACE_RETENTION_S` after every group of consumers has committed them, 10 minutes unless
        set.
        """
        handle = parse(prediction, self.bus.names.partitions_of(REQUESTS))
        outcome = await find(self.bus, handle)
        if isinstance(outcome, RejectedError):
            raise rejected(outcome.reason)
        return _scored(outcome) if outcome else _queued(prediction)

    async def label(self, request: Request, prediction: Prediction) -> Response:
        """Say what was true about a prediction.

        The prediction must have been asked for with `label: true`. Live accuracy is made from these.
        """
        handle = parse(prediction, self.bus.names.partitions_of(LABELS))
        body = parsed(await read_body(request, self._limit_bytes), _label)
        [error] = await self.desk.accept([(LABELS, labelled(str(handle), body.labels))], ACCEPT_S)
        if error:
            raise error
        self.counts.sent(LABELS, 1)
        return _json(intake.Accepted(1), 202)

    async def events(self, request: Request) -> Response:
        """Publish events: one, a JSON array, or JSON lines.

        Training events (`run.*`) go to the channel `runs`, `prediction.requested` to `requests`, `prediction.labelled`
        to `labels`. The query `channel` or the header `headrace-channel` names another channel, of your own. Each event
        is checked alone; those refused are listed with their line and reason, and the accepted ones are in the log.
        """
        where = request.query_params.get("channel") or request.headers.get(CHANNEL, "")
        body = await read_body(request, self._limit_bytes)
        taken: list[intake.Checked] = []
        refused: list[intake.Refusal] = []
        for count, (line, payload) in enumerate(intake.cut(body, request.headers.get("content-type", "")), 1):
            verdict = intake.check(line, payload, where, self.bus.names)
            (taken if isinstance(verdict, intake.Checked) else refused).append(verdict)  # type: ignore[arg-type]
            if count % 256 == 0:
                await asyncio.sleep(0)
        if not taken and not refused:
            raise Problem(400, "invalid", "the body holds no event", "See /docs for the shape of an event.")
        answers = await self.desk.accept([(item.channel, item.event) for item in taken], ACCEPT_S)
        trouble = next((answer for answer in answers if answer), None)
        if trouble and not refused and all(answers):
            raise trouble
        for item, answer in zip(taken, answers, strict=True):
            if answer:
                refused.append(intake.Refusal(item.line, str(answer)))
            else:
                self.counts.sent(item.channel, 1)
        accepted = answers.count(None)
        refused.sort(key=lambda refusal: refusal.line)
        status = 202 if not refused else 207 if accepted else 422
        return _json(intake.Accepted(accepted, refused), status)

    async def healthz(self, request: Request) -> Response:
        """Whether this process answers."""
        return JSONResponse({"status": "ok"})

    async def readyz(self, request: Request) -> Response:
        """Whether the gateway can serve: its server answers and the subscription for replies stands."""
        try:
            async with asyncio.timeout(2):
                await self.bus.check()
        except TimeoutError:
            raise UnavailableError(self.bus.settings.shown_url, "no answer within 2 s") from None
        if not self.desk.listening:
            raise Problem(503, "starting", "the subscription for replies does not stand yet")
        return JSONResponse({"status": "ready"})

    async def metrics(self, request: Request) -> Response:
        """This gateway's counts in the Prometheus text format."""
        body, content_type = exposition(self.counts.registry, request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type})

    def _tally(self) -> Tally:
        served, failed = self.counts.totals()
        return Tally(events=served, failed=failed)


def _scored(result: Result) -> Response:
    return Response(scored(result), media_type="application/json")


def _queued(prediction: str) -> Response:
    response = _json(Queued(prediction), 202)
    response.headers["location"] = f"/v1/predictions/{prediction}"
    return response


def _json(body: msgspec.Struct, status: int) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")
