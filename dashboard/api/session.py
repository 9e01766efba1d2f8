"""Signing in and out, and what the page asks to know what its reader may do.

GET  /sign-in   the form                     POST /sign-out      ends the session for every holder of its cookie
POST /sign-in   a new session, or the form   GET  /api/session   the role, empty for nobody; a longer session in time
"""

from __future__ import annotations

from urllib.parse import parse_qs

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from headrace.dashboard import entrance
from headrace.dashboard.access import CALLER, Caller, Door
from headrace.dashboard.guard import hashes
from headrace.dashboard.layout import THEME_SCRIPT
from headrace.dashboard.limits import address_of
from headrace.dashboard.session import Session

FORM_BYTES = 8192


def add_routes(app: FastAPI, door: Door, name: str, prefix: str = "") -> None:
    """Put the routes on the app. `name` is shown on the form; `prefix` is the path under which a proxy serves it."""
    base = f"{prefix}/"
    roles = tuple(sorted(door.passwords))
    form_policy = entrance.page_policy(hashes(f"<script>{THEME_SCRIPT}</script>"))

    def form(there: str, status: int = 200, error: str = "", wait_s: int = 0) -> Response:
        headers = {"content-security-policy": form_policy}
        if wait_s:
            headers["retry-after"] = str(wait_s)
        return HTMLResponse(entrance.page(base, name, roles, f"{prefix}{there}", error), status, headers)

    def remember(response: Response, session: Session, request: Request) -> None:
        response.set_cookie(
            door.sessions.cookie,
            door.sessions.write(session),
            max_age=int(session.until - door.clock()),
            path=base,
            secure=_is_secure(request),
            httponly=True,
            samesite="strict",
        )

    def bare(there: str) -> str:
        return entrance.local(there.removeprefix(prefix) if prefix and there.startswith(base) else there)

    @app.get("/sign-in")
    async def show(request: Request) -> Response:
        there = bare(request.query_params.get("next", "/"))
        if not door.passwords or ((caller := door.caller(request.scope)) and caller.session):
            return RedirectResponse(f"{prefix}{there}", 303)
        return form(there)

    @app.post("/sign-in")
    async def sign_in(request: Request) -> Response:
        there = bare(request.query_params.get("next", "/"))
        if not door.passwords:
            return RedirectResponse(f"{prefix}{there}", 303)
        body = await request.body()
        given = parse_qs(body.decode("latin-1"), max_num_fields=4).get("password", [""])[0] if _fits(body) else ""
        address = address_of(request.scope)
        found = door.tried(given, address, "sign in")
        if isinstance(found, int):
            return form(there, 429, f"Too many wrong passwords. Try again in {found} s.", found)
        if found is None:
            return form(there, 401, "This password is not right.")
        if (before := door.caller(request.scope)) and before.session:
            door.sessions.end(before.session, door.clock())
        session = door.sessions.begin(found, door.clock())
        if found == "operator":
            door.note(found, address, "signed in")
        response = RedirectResponse(f"{prefix}{there}", 303)
        remember(response, session, request)
        return response

    @app.post("/sign-out")
    async def sign_out(request: Request) -> Response:
        if (caller := door.caller(request.scope)) and caller.session:
            door.sessions.end(caller.session, door.clock())
        response = RedirectResponse(f"{base}sign-in" if door.passwords and not door.public else base, 303)
        response.delete_cookie(door.sessions.cookie, path=base, httponly=True, samesite="strict")
        return response

    @app.get("/api/session")
    async def session(request: Request) -> Response:
        caller: Caller | None = request.scope[CALLER]
        if caller is None:
            return JSONResponse({"role": "", "name": "", "signed_in": False, "may_sign_in": True})
        response = JSONResponse(
            {
                "role": caller.role,
                "name": caller.name,
                "signed_in": caller.session is not None,
                "may_sign_in": bool(door.passwords) and caller.role != "operator",
            }
        )
        if caller.session and (longer := door.sessions.renewed(caller.session, door.clock())):
            remember(response, longer, request)
        return response


def _fits(body: bytes) -> bool:
    return len(body) <= FORM_BYTES and body.count(b"&") < 4


def _is_secure(request: Request) -> bool:
    """Whether the browser came by TLS: as the proxy in front says, or as the browser itself does in `Origin`."""
    return request.url.scheme == "https" or request.headers.get("origin", "").startswith("https://")
