"""Alerts for elsewhere: each that is raised or cleared is posted as JSON, in a task of its own.

    put ──> queue of at most 100 (the oldest give way) ──> a POST in a thread ──> again after 1, 2 and 4 s, or given up

Nothing here delays whoever puts or raises into it. The address may hold secrets, so logs, errors and the page show no
more of it than scheme and host. Posts are in order, and at most one is under way; the event's `id` tells repetitions.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import logging
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final
from urllib.parse import unquote, urlsplit, urlunsplit

import msgspec

from headrace.ending import end
from headrace.errors import HeadraceError
from headrace.events import Alert, WebhookView
from headrace.retry import Backoff

QUEUED: Final = 100
ATTEMPTS: Final = 4
TIMEOUT_S: Final = 5.0
AGAIN: Final = Backoff(1_000, 30_000)
FAREWELL_S: Final = 2.0
"""How long the end of the process waits for what is queued."""
PASSING: Final = frozenset({408, 425, 429})
"""Refusals that another attempt may overcome, besides those from 500 on."""

Post = Callable[[str, bytes, float], None]
"""Posts a body to an address within so many seconds; raises NotTakenError."""

log = logging.getLogger(__name__)


class NotTakenError(HeadraceError):
    """An alert was not taken; the text names no more than the reason."""

    def __init__(self, reason: str, *, again: bool = True) -> None:
        super().__init__(reason)
        self.again = again


class Webhook:
    """Posts alerts to `url` between enter and exit. `prefix` tells the receiver which headrace they are of."""

    def __init__(
        self, url: str, prefix: str, *, post: Post | None = None, timeout_s: float = TIMEOUT_S, again: Backoff = AGAIN
    ) -> None:
        self.place = shown(url)
        self._url, self._prefix = url, prefix
        self._post, self._timeout_s, self._again = post or send, timeout_s, again
        self._queue: deque[Alert] = deque()
        self._fresh = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._sent = self._failed = self._dropped = 0
        self._error = ""
        self._quiet = False
        self._posting: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Webhook:
        self._posting = asyncio.create_task(self._post_forever(), name="alert webhook")
        return self

    async def __aexit__(self, *error: object) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), FAREWELL_S)
        await end(self._posting)

    def put(self, alerts: Iterable[Alert]) -> None:
        """Queue alerts and return at once."""
        for alert in alerts:
            if len(self._queue) >= QUEUED:
                self._queue.popleft()
                self._dropped += 1
            self._queue.append(alert)
        if self._queue:
            self._idle.clear()
            self._fresh.set()

    def view(self) -> WebhookView:
        """The counts so far."""
        return WebhookView(
            place=self.place,
            sent=self._sent,
            failed=self._failed,
            dropped=self._dropped,
            waiting=len(self._queue),
            error=self._error,
        )

    async def _post_forever(self) -> None:
        while True:
            await self._fresh.wait()
            while self._queue:
                await self._deliver(self._queue.popleft())
            self._fresh.clear()
            self._idle.set()

    async def _deliver(self, alert: Alert) -> None:
        body = msgspec.json.encode({"type": "alert", **msgspec.structs.asdict(alert), "prefix": self._prefix})
        for attempt in range(1, ATTEMPTS + 1):
            try:
                await asyncio.to_thread(self._post, self._url, body, self._timeout_s)
            except NotTakenError as error:
                self._complain(str(error))
                if not error.again or attempt == ATTEMPTS:
                    break
                await asyncio.sleep(self._again.delay_ms(attempt) / 1000)
            else:
                self._sent += 1
                self._error, self._quiet = "", False
                return
        self._failed += 1

    def _complain(self, reason: str) -> None:
        self._error = reason
        if not self._quiet:  # once, not once an attempt
            log.warning("the alert webhook at %s fails and is tried again with each alert: %s", self.place, reason)
        self._quiet = True


def shown(url: str) -> str:
    """Scheme and host of an address, and nothing that may be secret."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "an address that cannot be read"
    return f"{parts.scheme}://{parts.hostname or ''}{port}"


def send(url: str, body: bytes, timeout_s: float) -> None:
    """POST JSON; any answer from 200 to 299 will do. A redirection is not followed: it is another address."""
    headers = {"Content-Type": "application/json", "User-Agent": "headrace"}
    try:
        request = urllib.request.Request(_without_login(url, headers), body, headers, method="POST")
        with _opener.open(request, timeout=timeout_s):
            return
    except urllib.error.HTTPError as error:
        error.close()
        again = error.code >= 500 or error.code in PASSING
        raise NotTakenError(f"it answers {error.code}", again=again) from None
    except TimeoutError:
        raise NotTakenError(f"no answer within {timeout_s:g} s") from None
    except urllib.error.URLError as error:
        raise NotTakenError(f"not reachable: {_words(error.reason)}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NotTakenError(f"not reachable: {type(error).__name__}") from None


def _without_login(url: str, headers: dict[str, str]) -> str:
    """The address without user and password, which go into the headers."""
    parts = urlsplit(url)
    login, at, place = parts.netloc.rpartition("@")
    if at:
        user, _, password = login.partition(":")
        word = base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
        headers["Authorization"] = f"Basic {word}"
    return urlunsplit((parts.scheme, place, parts.path or "/", parts.query, ""))


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


_opener = urllib.request.build_opener(_Stay)


def _words(reason: object) -> str:
    """What the system says of it; texts of the library may quote the address."""
    if isinstance(reason, OSError):
        return reason.strerror or type(reason).__name__
    return type(reason).__name__
