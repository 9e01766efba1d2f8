"""Who asks, and what they may do. ASGI middleware in front of everything that shows or changes something.

    a session (cookie) or `Authorization: Bearer PASSWORD`  ──> viewer or operator
    neither, and no password is set                         ──> whoever is at this machine, as an operator
    neither, and the page is open                           ──> anybody, as a viewer
    neither                                                 ──> nobody: to the sign-in page, or 401

`operator` is a dependency for endpoints that change something; who is no operator is refused there.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headrace.access import PASSWORDS, Role, Secret, bearer
from headrace.bus import Bus
from headrace.channels import ACTIONS
from headrace.dashboard.limits import Throttle, address_of, too_many
from headrace.dashboard.session import Session, Sessions
from headrace.ending import end
from headrace.errors import HeadraceError
from headrace.events import ActionTaken

LOCAL = "local"
ANYBODY = "anybody"
SIGN_IN = "/sign-in"
FREE = frozenset(
    {"/healthz", "/readyz", SIGN_IN, "/sign-out", "/api/session"}
    | {f"/assets/{name}" for name in ("theme.css", "sign-in.css", "sign-in.js", "mark.svg")}
)
"""What needs no session: whether the process lives, whether there is a session, and what the form is made of."""
CALLER = "headrace.caller"
SIGNED_OUT = 4401
"""Code with which a socket is closed whose session is over."""
MOST_NOTED = 32
NOTE_S = 5.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request. `name` is for the audit; `session` is None without a sign-in."""

    role: Role
    name: str
    session: Session | None = None


class Refused(HeadraceError):
    """A request that its caller may not make; `status` is that of HTTP."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


async def operator(request: Request) -> str:
    """The name of the operator who makes this request, for the audit. Raises Refused: 401, 403."""
    caller: Caller | None = request.scope.get(CALLER)
    if caller is None:
        raise Refused(401, "sign in as an operator first")
    if caller.role != "operator":
        raise Refused(403, "only operators may do this: sign in with the operator's password")
    return caller.name


async def answer_refused(request: Request, error: Exception) -> Response:
    """What Refused is over HTTP."""
    status = error.status if isinstance(error, Refused) else 403
    return JSONResponse({"error": str(error)}, status, {"www-authenticate": "Bearer"} if status == 401 else None)


@dataclass(slots=True)
class Door:
    """Who may come in: passwords by role, or everybody at this machine without one; `public` lets anybody look."""

    bus: Bus
    passwords: Mapping[Role, Secret]
    public: bool
    sessions: Sessions
    throttle: Throttle = field(default_factory=Throttle)
    clock: Callable[[], float] = time.time
    steady: Callable[[], float] = time.monotonic
    _notes: set[asyncio.Task[None]] = field(default_factory=set)

    def caller(self, scope: Scope) -> Caller | None:
        """Who makes a request that carries no password."""
        note = HTTPConnection(scope).cookies.get(self.sessions.cookie, "")
        if note and (session := self.sessions.read(note, self.clock())):
            return Caller(session.role, session.role, session)
        return self.stranger()

    def stranger(self) -> Caller | None:
        """Who somebody without a sign-in is; None if they are nobody here."""
        if self.public:
            return Caller("viewer", ANYBODY)
        return None if self.passwords else Caller("operator", LOCAL)

    def tried(self, given: str, address: str, how: str) -> Role | int | None:
        """The role of a password; None if it is wrong; seconds to wait if this address may not try now."""
        now = self.steady()
        if wait_s := self.throttle.wait_s(address, now):
            return wait_s
        matching: list[Role] = [role for role, password in self.passwords.items() if password.matches(given)]
        if matching:
            self.throttle.succeeded(address)
            return matching[0]
        if wait_s := self.throttle.failed(address, now):
            log.warning("%s from %s is held up for %s s: too many wrong passwords", how, address, wait_s)
            self.note("", address, f"held up for {wait_s} s after too many wrong passwords")
        return None

    def note(self, actor: str, address: str, text: str) -> None:
        """Publish what happened at the door, in the background: nobody waits for it, and its failure is logged."""
        if len(self._notes) >= MOST_NOTED:
            log.warning("not published, as too many wait: sign in from %s: %s", address, text)
            return
        event = ActionTaken(action="sign in", actor=actor, subject=address, text=text, source="dashboard")
        task = asyncio.create_task(self._publish(event), name="audit")
        self._notes.add(task)
        task.add_done_callback(self._notes.discard)

    async def _publish(self, event: ActionTaken) -> None:
        try:
            async with asyncio.timeout(NOTE_S):
                await self.bus.publish(ACTIONS, [event])
        except (HeadraceError, TimeoutError, OSError) as error:
            log.warning("not published: sign in from %s: %s (%s)", event.subject, event.text, error)

    async def close(self) -> None:
        """Give up what could not be published yet."""
        for task in list(self._notes):
            await end(task)


class Access:
    """Lets in who may come in, and says to what is behind who it is. ASGI middleware."""

    def __init__(self, app: ASGIApp, door: Door, prefix: str = "") -> None:
        self.app = app
        self.door = door
        self.prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        found = self._caller(scope)
        if isinstance(found, int):
            await self._refuse(scope, receive, send, found)
            return
        if found is None and scope["path"] not in FREE:
            await self._refuse(scope, receive, send, 0)
            return
        scope[CALLER] = found
        if scope["type"] == "websocket" and found and found.session:
            await self._serve(scope, receive, send, found.session)
        else:
            await self.app(scope, receive, send)

    def _caller(self, scope: Scope) -> Caller | int | None:
        """Who asks; None for nobody; the seconds to wait for who must not try a password now."""
        given = bearer(Headers(scope=scope).get("authorization", "")) if self.door.passwords else None
        if given is None:
            return self.door.caller(scope)
        found = self.door.tried(given, address_of(scope), "Authorization")
        return Caller(found, found) if isinstance(found, str) else found

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, wait_s: int) -> None:
        if scope["type"] == "websocket":
            # Accepted first, as a browser tells its page the code of a socket only then.
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": SIGNED_OUT, "reason": "sign in first"})
        elif wait_s:
            await too_many(f"too many wrong passwords; wait {wait_s} s", wait_s)(scope, receive, send)
        elif is_visit(scope):
            query = scope["query_string"].decode("latin-1")
            there = quote(f"{scope['path']}{'?' if query else ''}{query}", safe="")
            to = f"{self.prefix}{SIGN_IN}{'' if scope['path'] == '/' and not query else f'?next={there}'}"
            await RedirectResponse(to, 303, {"cache-control": "no-store"})(scope, receive, send)
        else:
            reason = f"sign in, or send `Authorization: Bearer` with the password ({' or '.join(PASSWORDS.values())})"
            await (await answer_refused(Request(scope), Refused(401, reason)))(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, session: Session) -> None:
        """Serve a socket for as long as its session lasts; the page then comes again with the note it has by then."""
        over = self.door.sessions.watch(session)
        ended = asyncio.create_task(over.wait(), name="end of a session")
        timer = asyncio.get_running_loop().call_later(max(0.0, session.until - self.door.clock()), over.set)
        closed = False

        async def receiving() -> Message:
            nonlocal closed
            hearing = asyncio.ensure_future(receive())
            try:
                await asyncio.wait({hearing, ended}, return_when=asyncio.FIRST_COMPLETED)
                if hearing.done():
                    return hearing.result()
                if not closed:
                    closed = True
                    await send({"type": "websocket.close", "code": SIGNED_OUT, "reason": "the session is over"})
                return {"type": "websocket.disconnect", "code": SIGNED_OUT}
            finally:
                hearing.cancel()

        async def sending(message: Message) -> None:
            if not closed:
                await send(message)

        try:
            await self.app(scope, receiving, sending)
        finally:
            timer.cancel()
            self.door.sessions.unwatch(session, over)
            await end(ended)


def is_visit(scope: Scope) -> bool:
    """Whether somebody opens a page, rather than a program or a script asking for something."""
    headers = Headers(scope=scope)
    path: str = scope["path"]
    return (
        scope["method"] in ("GET", "HEAD")
        and "text/html" in headers.get("accept", "")
        and headers.get("sec-fetch-dest", "document") == "document"
        and not path.startswith(("/api/", "/_dash-", "/assets/"))
    )
