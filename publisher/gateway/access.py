"""Who may use the gateway, and how often. ASGI middleware in front of every route.

    a token is set       ──> `Authorization: Bearer TOKEN`, except for /healthz, /readyz and the reference
    no token             ──> everybody who reaches it; under an address, localhost or a name that was allowed

Each address has a rate; one that guesses tokens has a much lower one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from headrace.access import TOKEN, Secret, bearer, host_name, neighbourhood, same_place, serves
from headrace.limits import Limiter
from headrace.publisher.gateway.problems import Problem

RATE = 2000.0
"""Requests a second of one address, unless told otherwise; twice as many at once."""
GUESSES, GUESS_EVERY_S = 10.0, 5.0
FREE = frozenset({"/healthz", "/readyz", "/docs", "/openapi.json"})


class Access:
    """Refuses who has no token, who comes from a page of another site, and who asks too often.

    `rate` 0 sets no bound. Programs send no `Origin` and pass; a browser sends it for any page that is not ours.
    """

    def __init__(
        self,
        app: ASGIApp,
        token: Secret | None = None,
        hosts: Iterable[str] = (),
        rate: float = RATE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app, self._token, self._clock = app, token, clock
        self._hosts = frozenset(host.lower() for host in hosts)
        self._asked = Limiter(rate, 2 * rate) if rate else None
        self._guessed = Limiter(1 / GUESS_EVERY_S, GUESSES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        problem = self._problem(scope["path"], Headers(scope=scope), HTTPConnection(scope))
        if problem is None:
            await self._app(scope, receive, send)
            return
        response = problem.response()
        if problem.status == 401:
            response.headers["www-authenticate"] = "Bearer"
        await response(scope, receive, send)

    def _problem(self, path: str, headers: Headers, connection: HTTPConnection) -> Problem | None:
        """Why a request is refused; None if it is not."""
        host, origin = headers.get("host", ""), headers.get("origin")
        if origin is not None and not same_place(origin, host):
            fix = "Call the gateway from a program, or from a page it serves itself."
            return Problem(403, "cross_origin", f"a page of {origin!r:.80} may not use this gateway", fix)
        if path in FREE:
            return None
        now = self._clock()
        address = neighbourhood(connection.client.host) if connection.client else ""
        if self._asked is not None and (wait_s := self._asked.take(address, now)):
            return too_many("too many requests from this address", wait_s)
        if self._token:
            return self._refusal(self._token, bearer(headers.get("authorization", "")), address, now)
        if not serves(host, self._hosts):
            name = host_name(host)
            fix = f"Allow it with --allow-host {name}, or set {TOKEN}."
            return Problem(403, "unknown_host", f"host {name!r:.80} is not served here", fix)
        return None

    def _refusal(self, token: Secret, given: str | None, address: str, now: float) -> Problem | None:
        fix = f"Send `Authorization: Bearer` with the token in {TOKEN} of the gateway."
        if given is None:
            return Problem(401, "unauthorized", "this gateway wants a token", fix)
        if wait_s := self._guessed.wait_s(address, now):
            return too_many("too many wrong tokens from this address", wait_s)
        if token.matches(given):
            return None
        self._guessed.take(address, now)
        return Problem(401, "unauthorized", "the token is not right", fix)


def too_many(reason: str, wait_s: float) -> Problem:
    """The answer to who must wait."""
    whole_s = math.ceil(wait_s)
    return Problem(429, "too_many", reason, f"Wait {whole_s} s, as Retry-After says.", retry_after_s=whole_s)
