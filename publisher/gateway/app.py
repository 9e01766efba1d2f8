"""The gateway as an app: which route takes what and answers what, and how errors are told."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from headrace.access import Secret
from headrace.bus import Bus
from headrace.errors import HeadraceError
from headrace.publisher.gateway import reference
from headrace.publisher.gateway.access import RATE, Access
from headrace.publisher.gateway.bodies import LabelBody, PredictBody, Queued, Scored
from headrace.publisher.gateway.counts import CountedRequests
from headrace.publisher.gateway.intake import Accepted
from headrace.publisher.gateway.problems import Error, Problem, problem_of
from headrace.publisher.gateway.reference import shape
from headrace.publisher.gateway.routes import Gateway
from headrace.settings import Settings

Answers = dict[int | str, Any]
"""What a route answers with, by status; the first is the usual one."""

_FAILED: Answers = {
    400: shape(Error, "The body or a value in it is wrong."),
    401: shape(Error, "The token is missing or not right."),
    413: shape(Error, "The body is too large."),
    429: shape(Error, "Too many requests from this address: try again after Retry-After."),
    503: shape(Error, "The server is away or the channel is full: try again after Retry-After."),
}
_OUTCOME: Answers = {
    200: shape(Scored, "The result."),
    202: shape(Queued, "No result yet; Location says where it will be."),
    422: shape(Error, "The request was rejected; no result will come."),
}
_PUBLISHED: Answers = {
    202: shape(Accepted, "All events are in the log."),
    207: shape(Accepted, "Some are, the others were refused."),
    422: shape(Accepted, "All were refused."),
}
_ROWS = {"rows": [[0.0, 5.0, 13.0], [0.0, 12.0, None]], "label": True}
_LABELS = {"labels": ["three", "eight"]}
_NO_MODEL = shape(Error, "There is no such model.")
_NO_PREDICTION = shape(Error, "Malformed, or older than what is kept.")


class Direct(APIRoute):
    """Hands the request and the path's parameters to the endpoint: nothing that the framework resolves is used here."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        endpoint = self.endpoint

        async def answer(request: Request) -> Response:
            response: Response = await endpoint(request=request, **request.path_params)
            return response

        return answer


def create_gateway(
    settings: Settings, bus: Bus, *, token: Secret | None = None, hosts: Iterable[str] = (), rate: float = RATE
) -> FastAPI:
    """The gateway as an ASGI app. `bus` stays open when the app ends; `app.state.gateway` is the Gateway.

    With a `token` only who sends it is served; without one `hosts` are names under which it may be reached, besides
    addresses and localhost. `rate` is how many requests a second one address may send; 0 sets no bound.
    """
    gateway = Gateway(settings, bus)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=gateway.serving)
    app.router.route_class = Direct
    app.state.gateway = gateway
    app.add_middleware(Access, token=token, hosts=tuple(hosts), rate=rate)
    app.add_middleware(CountedRequests, counts=gateway.counts)
    app.add_exception_handler(HeadraceError, _answer_error)
    app.add_exception_handler(HTTPException, _answer_status)
    app.add_exception_handler(Exception, _answer_error)
    predict, events = "/v1/models/{name}/predict", "/v1/events"
    prediction, label = "/v1/predictions/{prediction}", "/v1/predictions/{prediction}/label"
    labelled: Answers = {202: _PUBLISHED[202], 404: _NO_PREDICTION, **_FAILED}
    ready: Answers = {200: {"description": "It can."}, 503: shape(Error, "It cannot.")}
    _add(
        app,
        "POST",
        predict,
        gateway.predict,
        {**_OUTCOME, 404: _NO_MODEL, **_FAILED},
        reference.taking(PredictBody, _ROWS),
    )
    _add(app, "GET", prediction, gateway.prediction, {**_OUTCOME, 404: _NO_PREDICTION, 503: _FAILED[503]})
    _add(app, "POST", label, gateway.label, labelled, reference.taking(LabelBody, _LABELS))
    _add(app, "POST", events, gateway.events, {**_PUBLISHED, **_FAILED}, reference.EVENTS)
    _add(app, "GET", "/healthz", gateway.healthz, {200: {"description": "It does."}})
    _add(app, "GET", "/readyz", gateway.readyz, ready)
    _add(app, "GET", "/metrics", gateway.metrics, {200: {"description": "The counts."}})

    made = reference.document(app, (PredictBody, LabelBody, Scored, Queued, Accepted, Error))
    page = reference.page(made)
    app.openapi = lambda: made  # type: ignore[method-assign]
    app.add_route("/openapi.json", lambda _: JSONResponse(made))
    app.add_route("/docs", lambda _: HTMLResponse(page, headers=reference.HEADERS))
    return app


def _add(
    app: FastAPI, method: str, path: str, endpoint: Callable[..., Any], answers: Answers, takes: Any = None
) -> None:
    """Serve `endpoint`; its docstring is what the document says of it."""
    summary, _, about = (endpoint.__doc__ or "").partition("\n\n")
    app.add_api_route(
        path,
        endpoint,
        methods=[method],
        response_model=None,
        summary=summary,
        description=" ".join(about.split()),
        responses=answers,
        openapi_extra=takes,
        status_code=int(next(iter(answers))),
    )


async def _answer_error(request: Request, error: Exception) -> Response:
    return problem_of(error).response()


async def _answer_status(request: Request, error: Exception) -> Response:
    """What the framework answers by itself: a path or method that there is not."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    reason = f"there is no {request.method} {request.url.path}"
    return Problem(status, "no_such_route", reason, "See /docs for the routes.").response()
