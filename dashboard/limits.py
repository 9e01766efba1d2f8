"""How much and how often: the size of bodies, the rate of requests, and the pace at which passwords may be tried."""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headrace.access import neighbourhood
from headrace.limits import Limiter

BODY_BYTES = 256 * 1024
BODY_S = 10.0
"""How long the body of a request may take to arrive."""
RATE, BURST = 100.0, 400.0
"""Requests a second of one address to what answers programs, and how many at once."""
TRIES, TRY_EVERY_S = 5.0, 20.0
ALL_TRIES, ALL_EVERY_S = 60.0, 2.0
KNOWN = 1024
EVERYBODY = ""
TRY_LATER = 1013


class Throttle:
    """Slows down who guesses: 5 wrong passwords at once from an address, then one in 20 seconds; and 60 from all.

    An address that has signed in before is not held up by what others do. `now` is monotonic seconds.
    """

    def __init__(self) -> None:
        self._each = Limiter(1 / TRY_EVERY_S, TRIES)
        self._all = Limiter(1 / ALL_EVERY_S, ALL_TRIES, 1)
        self._known: OrderedDict[str, None] = OrderedDict()

    def wait_s(self, address: str, now: float) -> int:
        """Whole seconds until a password from this address is looked at; 0 means now."""
        everybody = 0.0 if address in self._known else self._all.wait_s(EVERYBODY, now)
        return math.ceil(max(self._each.wait_s(address, now), everybody))

    def failed(self, address: str, now: float) -> int:
        """A password was wrong. The seconds until the next one: above 0 when this address is blocked from now on."""
        self._each.take(address, now)
        self._all.take(EVERYBODY, now)
        return self.wait_s(address, now)

    def succeeded(self, address: str) -> None:
        """A password was right."""
        self._known[address] = None
        self._known.move_to_end(address)
        if len(self._known) > KNOWN:
            self._known.popitem(last=False)


class Limits:
    """Refuses bodies that are too large or too slow, and callers who ask too often. ASGI middleware.

    A body is read here as a whole, so that what is behind gets one of a known size or none.
    """

    def __init__(self, app: ASGIApp, clock: Callable[[], float] = time.monotonic) -> None:
        self.app = app
        self._clock = clock
        self._asked = Limiter(RATE, BURST)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        if is_limited(scope) and (wait_s := self._asked.take(address_of(scope), self._clock())):
            await self._refuse(scope, receive, send, math.ceil(wait_s))
            return
        if scope["type"] == "websocket" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self.app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(BODY_S):
                body = await _body(scope, receive)
        except TimeoutError:
            await _answer(408, f"the body did not arrive within {BODY_S:g} s; send it again")(scope, receive, send)
            return
        except ClientDisconnect:
            return
        if body is None:
            reason = f"the body is larger than {BODY_BYTES} bytes; send less at once"
            await _answer(413, reason)(scope, receive, send)
            return
        await self.app(scope, _replay(body, receive), send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, wait_s: int) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": TRY_LATER, "reason": f"too many requests; wait {wait_s} s"})
        else:
            await too_many(f"too many requests from this address; wait {wait_s} s", wait_s)(scope, receive, send)


def is_limited(scope: Scope) -> bool:
    """Whether a request is one of those that programs repeat: of the API, the metrics, or a new socket."""
    path: str = scope["path"]
    return scope["type"] == "websocket" or path.startswith("/api/") or path == "/metrics"


def address_of(scope: Scope) -> str:
    """Who counts as one caller: the address, as the proxy in front tells it if there is one."""
    client = HTTPConnection(scope).client
    return neighbourhood(client.host) if client else ""


def too_many(reason: str, wait_s: int) -> JSONResponse:
    """The answer to who must wait."""
    return _answer(429, reason, {"retry-after": str(wait_s)})


def _answer(status: int, reason: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": reason}, status, headers)


async def _body(scope: Scope, receive: Receive) -> bytes | None:
    """The whole body; None as soon as it is known to be too large. Raises ClientDisconnect."""
    stated = Headers(scope=scope).get("content-length", "")
    if stated.isdigit() and int(stated) > BODY_BYTES:
        return None
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientDisconnect
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > BODY_BYTES:
            return None
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replaying() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replaying
