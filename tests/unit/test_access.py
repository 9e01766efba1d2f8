"""Nobody gets in who may not, whoever may does, and no password shows anywhere."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import logging
import pickle
import re
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import Depends
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin

from headrace.access import (
    Role,
    Secret,
    bearer,
    is_loopback,
    passwords,
    path_prefix,
    require_lock,
    same_place,
    secret,
    serves,
)
from headrace.dashboard import create_app, serve
from headrace.dashboard.access import SIGNED_OUT, Door, operator
from headrace.dashboard.entrance import local
from headrace.dashboard.session import LASTS_S, LONGEST_S, Session, Sessions
from headrace.errors import SettingsError
from headrace.events import ActionTaken
from headrace.publisher.gateway import serve as serve_gateway
from headrace.settings import Settings
from headrace.testing import wait_until
from tests.unit.frames import Story, StoryBus, StoryPage, frame

OPERATOR, VIEWER, TOKEN = "operator-password", "viewer-password-1", "gateway-token-1"
BOTH: dict[Role, Secret] = {"operator": Secret(OPERATOR), "viewer": Secret(VIEWER)}
HOME = "http://localhost"
VISIT = {"accept": "text/html"}


@asynccontextmanager
async def opened(**given: Any) -> AsyncIterator[tuple[httpx.AsyncClient, StoryBus, Door]]:
    """A client of a dashboard that has one frame and one endpoint for operators."""
    bus = StoryBus(Settings(), Story(), past_s=0)
    app = create_app(bus.settings, bus, **given)
    app.state.feed.state.frame = frame()

    async def act(actor: str = Depends(operator)) -> dict[str, str]:
        return {"actor": actor}

    app.add_api_route("/api/test/act", act, methods=["POST"])
    app.router.routes.insert(0, app.router.routes.pop())
    base = HOME + given.get("prefix", "")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=base) as client:
        yield client, bus, app.state.door


async def sign_in(client: httpx.AsyncClient, password: str, **headers: str) -> httpx.Response:
    """What the form sends, as a browser sends it."""
    return await client.post("/sign-in", data={"password": password}, headers={"origin": HOME, **headers})


class TestSecret:
    def test_only_the_same_text_matches(self) -> None:
        assert Secret("päss-wörter-12").matches("päss-wörter-12")
        for other in ("", "p", "päss-wörter-1", "päss-wörter-123", "\udc80"):
            assert not Secret("päss-wörter-12").matches(other)

    def test_it_shows_nowhere(self) -> None:
        kept = Secret("a-long-password", "HEADRACE_OPERATOR_PASSWORD")
        assert "a-long" not in f"{kept!r} {kept} {[kept]} {vars(type(kept))}"
        with pytest.raises(TypeError):
            pickle.dumps(kept)

    def test_keys_differ_by_secret_and_purpose(self) -> None:
        keys = {Secret(text).key(purpose) for text in ("a", "b") for purpose in ("x", "y")}
        assert len(keys) == 4
        assert Secret("a").key("x") in keys

    def test_a_file_is_made_with_a_secret_of_chance_that_only_its_owner_reads(self, tmp_path: Path) -> None:
        path = tmp_path / "operator"
        made = secret({"X_FILE": str(path)}, "X")
        assert made is not None
        assert made.matches(path.read_text().strip())
        assert len(path.read_text().strip()) == 32
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        again = secret({"X_FILE": str(path)}, "X")
        assert again is not None
        assert again.equals(made)
        given = secret({"X": "long-enough-1", "X_FILE": str(path)}, "X")
        assert given is not None
        assert given.matches("long-enough-1")

    @pytest.mark.parametrize(
        ("environ", "reason"),
        [
            ({"X": "short"}, "12 or more"),
            ({"X_FILE": "/nowhere/at/all"}, "X_FILE=/nowhere"),
        ],
    )
    def test_what_is_wrong_is_said_without_the_secret(self, environ: dict[str, str], reason: str) -> None:
        with pytest.raises(SettingsError, match=reason) as raised:
            secret(environ, "X")
        assert environ.get("X", "-") not in str(raised.value)

    def test_viewers_must_not_have_the_password_of_operators(self) -> None:
        same = {"HEADRACE_OPERATOR_PASSWORD": OPERATOR, "HEADRACE_VIEWER_PASSWORD": OPERATOR}
        with pytest.raises(SettingsError, match="are the same") as raised:
            passwords(same)
        assert OPERATOR not in str(raised.value)
        assert set(passwords({"HEADRACE_VIEWER_PASSWORD": VIEWER})) == {"viewer"}
        assert passwords({}) == {}


class TestAddresses:
    @pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "LocalHost", "x.localhost"])
    def test_this_machine_alone(self, host: str) -> None:
        assert is_loopback(host)
        require_lock("it", host, locked=False, public=False, how="")

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1", "", "example.com", "localhost.example.com"])
    def test_other_machines(self, host: str) -> None:
        assert not is_loopback(host)
        with pytest.raises(SettingsError, match="set a password"):
            require_lock("it", host, locked=False, public=False, how="set a password")
        require_lock("it", host, locked=True, public=False, how="")
        require_lock("it", host, locked=False, public=True, how="")

    async def test_neither_page_nor_gateway_listens_for_others_without_a_lock(self) -> None:
        bus = StoryBus(Settings(), Story(), past_s=0)
        with pytest.raises(SettingsError, match=r"HEADRACE_OPERATOR_PASSWORD.*--open"):
            await serve(bus.settings, bus, "0.0.0.0", 0)
        with pytest.raises(SettingsError, match=r"HEADRACE_GATEWAY_TOKEN.*--open"):
            await serve_gateway(bus.settings, bus, "0.0.0.0", 0)

    @pytest.mark.parametrize(
        ("host", "allowed"),
        [
            ("localhost:8050", True),
            ("127.0.0.1", True),
            ("[::1]:80", True),
            ("ml.example", True),
            ("evil.example", False),
            ("127.0.0.1.evil.example", False),
            ("localhost.evil.example", False),
            ("ml.example.evil", False),
            ("", False),
            ("[", False),
        ],
    )
    def test_names_that_were_not_allowed_are_not_served(self, host: str, allowed: bool) -> None:
        assert serves(host, {"ml.example"}) is allowed

    def test_an_origin_is_this_place_or_another(self) -> None:
        assert same_place("https://ml.example", "ml.example")
        assert same_place("http://127.0.0.1:8050", "127.0.0.1:8050")
        for origin in ("null", "", "http://127.0.0.1:9999", "http://ml.example.evil", "http://[", "file://"):
            assert not same_place(origin, "127.0.0.1:8050")
        assert not same_place("file://", "")

    @pytest.mark.parametrize("wrong", ["headrace", "/a b", "/a/../b?c", "//evil", "/ä", "/a//b"])
    def test_a_prefix_is_a_path(self, wrong: str) -> None:
        with pytest.raises(SettingsError, match="--path-prefix"):
            path_prefix(wrong)
        assert path_prefix("/a/b-c/") == "/a/b-c"
        assert path_prefix("/") == ""

    @pytest.mark.parametrize(
        "elsewhere", ["//evil", "https://evil", "/\\evil", "evil", "", "/sign-out", "/a\nb", "/" + "a" * 3000]
    )
    def test_after_signing_in_nobody_is_led_away(self, elsewhere: str) -> None:
        assert local(elsewhere) == "/"
        assert local("/training?run=7") == "/training?run=7"

    def test_only_bearer_is_read(self) -> None:
        assert bearer("Bearer abc") == "abc" == bearer("bearer  abc ")
        assert bearer("Basic abc") is None
        assert bearer("") is None


class TestSessions:
    def made(self) -> Sessions:
        return Sessions(BOTH, "test")

    def test_a_note_tells_who_it_is_until_it_is_over(self) -> None:
        sessions = self.made()
        session = sessions.begin("viewer", 1000)
        note = sessions.write(session)
        assert sessions.read(note, 1001) == Session("viewer", session.id, 1000, 1000 + LASTS_S)
        assert sessions.read(note, 1000 + LASTS_S) is None

    def test_another_process_with_the_same_passwords_reads_it_and_one_with_others_does_not(self) -> None:
        note = self.made().write(self.made().begin("operator", 1000))
        assert self.made().read(note, 1001) is not None
        assert Sessions({"operator": Secret("another-password")}, "test").read(note, 1001) is None
        assert Sessions(BOTH, "elsewhere").read(note, 1001) is None
        assert Sessions({"viewer": BOTH["viewer"]}, "test").read(note, 1001) is None

    def test_nothing_else_is_a_note(self) -> None:
        sessions = self.made()
        note = sessions.write(sessions.begin("viewer", 1000))
        forged = [note[:-1], note.replace("viewer", "operator", 1), f"x{note}", "viewer.", "operator", "", "ö.ü.ä"]
        assert [sessions.read(text, 1001) for text in forged] == [None] * len(forged)

    def test_an_ended_session_is_over_for_whoever_has_the_note(self) -> None:
        sessions = self.made()
        session = sessions.begin("viewer", 1000)
        event = sessions.watch(session)
        longer = sessions.renewed(session, 1000 + LASTS_S * 0.75)
        assert longer is not None
        sessions.end(session, 1001)
        assert event.is_set()
        assert sessions.read(sessions.write(session), 1002) is None
        assert sessions.read(sessions.write(longer), 1002) is None

    def test_it_is_renewed_in_its_second_half_and_not_for_ever(self) -> None:
        sessions, now = self.made(), 0.0
        session = sessions.begin("viewer", now)
        assert sessions.renewed(session, LASTS_S * 0.4) is None
        while longer := sessions.renewed(session, session.until - LASTS_S / 4):
            session = longer
        assert session.until == LONGEST_S

    def test_ended_sessions_are_a_bounded_number(self) -> None:
        sessions = self.made()
        for _ in range(5000):
            sessions.end(sessions.begin("viewer", 1000), 1000)
        assert len(sessions._ended) == 4096
        sessions.end(sessions.begin("viewer", LONGEST_S * 2), LONGEST_S * 2)
        assert len(sessions._ended) == 1


class TestWithoutPasswords:
    async def test_everybody_at_this_machine_may_look_and_act(self) -> None:
        async with opened() as (client, _, _):
            assert (await client.get("/", headers=VISIT)).status_code == 200
            session = (await client.get("/api/session")).json()
            assert session == {"role": "operator", "name": "local", "signed_in": False, "may_sign_in": False}
            assert (await client.post("/api/test/act")).json() == {"actor": "local"}
            assert (await client.get("/sign-in")).headers["location"] == "/"

    @pytest.mark.parametrize(
        "headers",
        [
            {"origin": "http://evil.example"},
            {"origin": "null"},
            {"origin": "http://localhost:1234"},
            {"sec-fetch-site": "cross-site"},
            {"sec-fetch-site": "same-site"},
            {"host": "evil.example"},
            {"host": "evil.example", "origin": "http://evil.example"},
        ],
    )
    async def test_no_page_of_another_site_acts(self, headers: dict[str, str]) -> None:
        async with opened() as (client, _, _):
            assert (await client.post("/api/test/act", headers=headers)).status_code == 403

    async def test_a_page_that_is_open_may_be_looked_at_by_anybody_and_acted_on_by_nobody(self) -> None:
        async with opened(public=True) as (client, _, _):
            assert (await client.get("/", headers=VISIT)).status_code == 200
            assert (await client.get("/api/session")).json()["role"] == "viewer"
            refused = await client.post("/api/test/act")
            assert refused.status_code == 403
            assert "operators" in refused.json()["error"]


class TestWithPasswords:
    async def test_nothing_is_shown_to_a_stranger(self) -> None:
        async with opened(passwords=BOTH) as (client, _, _):
            for path in ("/api/frame", "/metrics", "/_dash-layout", "/_dash-dependencies", "/nowhere"):
                answer = await client.get(path)
                assert answer.status_code == 401, path
                assert answer.headers["www-authenticate"] == "Bearer"
                assert "sign in" in answer.json()["error"]
            assert (await client.post("/api/test/act")).status_code == 401
            assert (await client.post("/_dash-update-component", json={})).status_code == 401

    async def test_the_life_of_the_process_is_no_secret(self) -> None:
        async with opened(passwords=BOTH) as (client, _, _):
            assert (await client.get("/healthz")).status_code == 200
            assert (await client.get("/readyz")).status_code in (200, 503)
            assert (await client.get("/assets/sign-in.css")).status_code == 200

    async def test_who_opens_a_page_is_led_to_the_form_and_back(self) -> None:
        async with opened(passwords=BOTH) as (client, _, _):
            led = await client.get("/training?run=7", headers=VISIT)
            assert (led.status_code, led.headers["location"]) == (303, "/sign-in?next=%2Ftraining%3Frun%3D7")
            form = await client.get(led.headers["location"])
            assert form.status_code == 200
            back = await client.post(led.headers["location"], data={"password": VIEWER}, headers={"origin": HOME})
            assert (back.status_code, back.headers["location"]) == (303, "/training?run=7")

    @pytest.mark.parametrize(("password", "role"), [(OPERATOR, "operator"), (VIEWER, "viewer")])
    async def test_a_password_opens_what_its_role_may(self, password: str, role: str) -> None:
        async with opened(passwords=BOTH) as (client, _, _):
            answer = await sign_in(client, password)
            cookie = answer.headers["set-cookie"]
            assert "HttpOnly" in cookie
            assert "SameSite=strict" in cookie
            assert "Secure" not in cookie
            assert password not in cookie
            assert (await client.get("/api/session")).json()["role"] == role
            assert (await client.get("/api/frame")).status_code == 200
            acted = await client.post("/api/test/act", headers={"origin": HOME})
            assert acted.status_code == (200 if role == "operator" else 403)

    async def test_behind_tls_the_cookie_is_for_tls_alone(self) -> None:
        async with opened(passwords=BOTH) as (client, _, _):
            answer = await sign_in(client, VIEWER, origin="https://localhost")
            assert "Secure" in answer.headers["set-cookie"]

    async def test_each_sign_in_is_a_new_session_and_the_old_one_ends(self) -> None:
        async with opened(passwords=BOTH) as (client, _, door):
            await sign_in(client, VIEWER)
            old = client.cookies[door.sessions.cookie]
            await sign_in(client, OPERATOR)
            assert client.cookies[door.sessions.cookie] != old
            client.cookies.set(door.sessions.cookie, old)
            stale = httpx.Cookies({door.sessions.cookie: old})
            client.cookies = stale
            assert (await client.get("/api/session")).json()["role"] == ""

    async def test_signing_out_ends_the_session_and_not_only_the_cookie(self) -> None:
        async with opened(passwords=BOTH) as (client, _, door):
            await sign_in(client, OPERATOR)
            kept = client.cookies[door.sessions.cookie]
            out = await client.post("/sign-out", headers={"origin": HOME})
            assert (out.status_code, out.headers["location"]) == (303, "/sign-in")
            client.cookies = httpx.Cookies({door.sessions.cookie: kept})
            assert (await client.get("/api/frame")).status_code == 401

    async def test_no_page_of_another_site_signs_anybody_in_or_out(self) -> None:
        async with opened(passwords=BOTH) as (client, _, _):
            assert (await sign_in(client, OPERATOR, origin="http://evil.example")).status_code == 403
            await sign_in(client, OPERATOR)
            assert (await client.post("/sign-out", headers={"origin": "http://evil.example"})).status_code == 403
            assert (await client.get("/api/session")).json()["role"] == "operator"

    async def test_programs_send_the_password_with_each_request(self) -> None:
        async with opened(passwords=BOTH) as (client, _, _):
            for password, may in ((OPERATOR, 200), (VIEWER, 403)):
                headers = {"authorization": f"Bearer {password}"}
                assert (await client.get("/metrics", headers=headers)).status_code == 200
                assert (await client.post("/api/test/act", headers=headers)).status_code == may
            for wrong in ("Bearer no", "Bearer ", f"Basic {OPERATOR}", OPERATOR):
                assert (await client.get("/metrics", headers={"authorization": wrong})).status_code == 401

    async def test_an_open_page_still_wants_the_password_for_acting(self) -> None:
        async with opened(passwords=BOTH, public=True) as (client, _, _):
            assert (await client.get("/api/session")).json()["may_sign_in"] is True
            assert (await client.post("/api/test/act")).status_code == 403
            await sign_in(client, OPERATOR)
            assert (await client.post("/api/test/act")).json() == {"actor": "operator"}

    @pytest.mark.parametrize("how", ["form", "header"])
    async def test_guessing_is_slowed_down_and_published_once(self, how: str, caplog: pytest.LogCaptureFixture) -> None:
        async def guess(password: str) -> httpx.Response:
            if how == "form":
                return await sign_in(client, password)
            return await client.get("/metrics", headers={"authorization": f"Bearer {password}"})

        caplog.set_level(logging.DEBUG)
        async with opened(passwords=BOTH) as (client, bus, door):
            now = 100.0
            door.steady = lambda: now
            for number in range(5):
                assert (await guess(f"wrong-{number}")).status_code == 401
            held = await guess(OPERATOR)
            assert (held.status_code, held.headers["retry-after"]) == (429, "20")
            assert "20 s" in held.text
            await wait_until(lambda: bus.published)
            now = 120.0
            assert (await guess(OPERATOR)).status_code in (200, 303)
            [event] = [one for one in bus.published if isinstance(one, ActionTaken) and not one.actor]
            assert (event.action, event.subject) == ("sign in", "127.0.0.1")
            assert "20 s" in event.text
        assert "wrong-" not in caplog.text + str(bus.published)
        assert OPERATOR not in caplog.text + str(bus.published)

    async def test_sign_ins_of_operators_are_published(self) -> None:
        async with opened(passwords=BOTH) as (client, bus, _):
            await sign_in(client, VIEWER)
            await sign_in(client, OPERATOR)
            await wait_until(lambda: bus.published)
            [event] = bus.published
            assert isinstance(event, ActionTaken)
            assert (event.action, event.actor, event.text) == ("sign in", "operator", "signed in")

    @pytest.mark.parametrize("body", [b"", b"password", b"password=%ff%fe", b"&" * 100, b"password=" + b"x" * 9000])
    async def test_whatever_is_sent_is_no_password(self, body: bytes) -> None:
        async with opened(passwords=BOTH) as (client, _, _):
            answer = await client.post("/sign-in", content=body, headers={"origin": HOME})
            assert answer.status_code == 401
            assert 'role="alert"' in answer.text

    async def test_an_open_page_gets_a_longer_session_in_time(self) -> None:
        async with opened(passwords=BOTH) as (client, _, door):
            await sign_in(client, VIEWER)
            assert "set-cookie" not in (await client.get("/api/session")).headers
            began = door.clock()
            door.clock = lambda: began + LASTS_S * 0.6
            assert "set-cookie" in (await client.get("/api/session")).headers
            door.clock = lambda: began + LASTS_S * 1.2
            assert (await client.get("/api/session")).json()["role"] == "viewer"


class TestSocket:
    @pytest.fixture
    async def page(self) -> AsyncIterator[StoryPage]:
        """A running dashboard with passwords."""
        async with StoryPage(StoryBus(Settings(), Story(), past_s=2), passwords=BOTH) as page:
            yield page

    def connect(self, page: StoryPage, origin: str = "", **headers: str) -> connect:
        return connect(page.socket, origin=Origin(origin or page.url.rstrip("/")), additional_headers=headers)

    async def code(self, socket: ClientConnection) -> int | None:
        """The code with which the dashboard closes the socket."""
        with contextlib.suppress(ConnectionClosed):
            async for _ in socket:
                pass
        return socket.close_code

    async def test_a_stranger_is_told_to_sign_in(self, page: StoryPage) -> None:
        async with self.connect(page) as socket:
            assert await self.code(socket) == SIGNED_OUT

    async def test_a_header_and_a_session_open_it_and_signing_out_closes_it(self, page: StoryPage) -> None:
        async with self.connect(page, authorization=f"Bearer {VIEWER}") as socket:
            await socket.send('{"ping": 1}')
            assert "pong" in str(await socket.recv())
        own = {"origin": page.url.rstrip("/")}
        async with httpx.AsyncClient(base_url=page.url, headers=own) as client:
            await client.post("/sign-in", data={"password": VIEWER})
            [(name, note)] = client.cookies.items()
            with pytest.raises(InvalidStatus):
                await self.connect(page, "http://evil.example", cookie=f"{name}={note}")
            async with self.connect(page, cookie=f"{name}={note}") as socket:
                await socket.send('{"ping": 1}')
                assert "pong" in str(await socket.recv())
                await client.post("/sign-out")
                assert await self.code(socket) == SIGNED_OUT

    @pytest.mark.parametrize("path", ["deep/headrace/live", "live"])
    async def test_it_opens_under_a_prefix(self, path: str) -> None:
        async with StoryPage(StoryBus(Settings(), Story(), past_s=2), prefix="/deep/headrace") as page:
            root = page.url.removesuffix("deep/headrace/")
            async with connect(root.replace("http", "ws") + path, origin=Origin(root.rstrip("/"))) as socket:
                await socket.send('{"ping": 1}')
                assert "pong" in str(await socket.recv())

    async def test_a_socket_ends_with_its_session(self) -> None:
        bus = StoryBus(Settings(), Story(), past_s=0)
        app = create_app(bus.settings, bus, passwords=BOTH)
        door: Door = app.state.door
        session = Session("viewer", "x", door.clock(), int(door.clock()) + 1)
        sent: list[dict[str, Any]] = []
        opening: list[dict[str, Any]] = [{"type": "websocket.connect"}]

        async def receive() -> Any:
            if opening:
                return opening.pop()
            return await asyncio.Event().wait()

        async def send(message: Any) -> None:
            sent.append(message)

        cookie = f"{door.sessions.cookie}={door.sessions.write(session)}".encode()
        headers = [(b"host", b"localhost"), (b"origin", HOME.encode()), (b"cookie", cookie)]
        scope = {"type": "websocket", "path": "/live", "query_string": b"", "headers": headers, "subprotocols": []}
        await asyncio.wait_for(app(scope, receive, send), 10)
        assert sent[-1] == {"type": "websocket.close", "code": SIGNED_OUT, "reason": "the session is over"}


class TestPolicy:
    async def test_every_script_in_a_page_is_named_by_its_hash_and_nothing_else_runs(self) -> None:
        async with opened() as (client, _, _):
            page = await client.get("/", headers=VISIT)
        policy = dict(part.split(" ", 1) for part in page.headers["content-security-policy"].split("; "))
        inline = re.findall(r"<script(?![^>]*(?:src=|application/json))[^>]*>(.*?)</script>", page.text, re.DOTALL)
        named = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in inline]
        assert len(named) == 2
        assert sorted(policy["script-src"].split()) == sorted(["'self'", *(f"'sha256-{name}'" for name in named)])
        assert policy["frame-ancestors"] == policy["object-src"] == "'none'"
        assert policy["connect-src"] == "'self' ws://localhost wss://localhost"
        assert not re.findall(r"\son\w+=", page.text), "handlers in attributes are not allowed"

    async def test_the_form_holds_no_style_and_no_other_script(self) -> None:
        async with opened(passwords=BOTH) as (client, _, _):
            form = await client.get("/sign-in?next=/%22%3E%3Cscript%3E")
        assert "unsafe" not in form.headers["content-security-policy"]
        assert " style=" not in form.text
        assert form.text.count("<script") == 2
        assert form.headers["cache-control"] == "no-store"

    async def test_every_answer_says_what_it_may_do(self) -> None:
        async with opened(passwords=BOTH) as (client, _, _):
            for path in ("/healthz", "/api/frame", "/sign-in", "/assets/theme.css", "/"):
                headers = (await client.get(path)).headers
                assert "frame-ancestors 'none'" in headers["content-security-policy"]
                assert headers["x-frame-options"] == "DENY"
                assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("takes_away", [True, False], ids=["prefix taken away", "prefix passed on"])
class TestPrefix:
    """Behind a proxy that serves it under /deep/headrace."""

    async def test_page_files_calls_and_signing_in_work(self, takes_away: bool) -> None:
        async with opened(prefix="/deep/headrace", passwords=BOTH) as (client, _, door):

            def through(path: str) -> str:
                bare = path.removeprefix("/deep/headrace") or "/"
                return f"{HOME}{bare if takes_away else path}"

            led = await client.get(through("/deep/headrace/training"), headers=VISIT)
            assert led.headers["location"] == "/deep/headrace/sign-in?next=%2Ftraining"
            form = await client.get(through("/deep/headrace/sign-in") + "?next=%2Ftraining")
            [action] = re.findall(r'action="([^"]+)"', form.text)
            assert action.startswith("/deep/headrace/sign-in?next=")
            back = await client.post(through(action), data={"password": OPERATOR}, headers={"origin": HOME})
            assert back.headers["location"] == "/deep/headrace/training"
            assert "Path=/deep/headrace/" in back.headers["set-cookie"]
            note = {"cookie": f"{door.sessions.cookie}={back.cookies[door.sessions.cookie]}"}
            page = await client.get(through("/deep/headrace/"), headers={**VISIT, **note})
            assert page.status_code == 200
            links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
            assert len(links) > 5
            assert all(link.startswith("/deep/headrace/") for link in links)
            for link in [*links[:3], *[link for link in links if "/assets/" in link]]:
                assert (await client.get(through(link), headers=note)).status_code == 200, link
            for path in ("api/frame", "api/session", "_dash-layout", "_dash-dependencies", "metrics", "healthz"):
                assert (await client.get(through(f"/deep/headrace/{path}"), headers=note)).status_code == 200, path
            called = {
                "output": "content.children",
                "outputs": {"id": "content", "property": "children"},
                "inputs": [{"id": "address", "property": "pathname", "value": "/deep/headrace/training"}],
                "changedPropIds": ["address.pathname"],
            }
            update = through("/deep/headrace/_dash-update-component")
            answer = await client.post(update, json=called, headers={"origin": HOME, **note})
            assert "page-training" in answer.text
            out = await client.post(through("/deep/headrace/sign-out"), headers={"origin": HOME, **note})
            assert out.headers["location"] == "/deep/headrace/sign-in"

    async def test_the_page_without_its_slash_is_led_to_it(self, takes_away: bool) -> None:
        async with opened(prefix="/headrace") as (client, _, _):
            answer = await client.get(f"{HOME}/headrace", headers=VISIT)
            assert answer.headers["location"] == "/headrace/"


LISTENING = [
    ["dashboard", "--host"],
    ["up", "--host"],
    ["demo", "--host"],
    ["gateway", "--host"],
    ["aggregator", "--metrics-port", "0", "--metrics-host"],
]


@pytest.mark.parametrize("words", LISTENING, ids=lambda words: str(words[0]))
def test_no_command_listens_for_others_without_a_lock(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    from headrace.cli import main

    for variable in ("HEADRACE_OPERATOR_PASSWORD", "HEADRACE_VIEWER_PASSWORD", "HEADRACE_GATEWAY_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    found = CliRunner().invoke(main, [*words, "0.0.0.0"])
    assert found.exit_code == 1
    assert "without a lock" in found.output
    assert "--open" in found.output


@pytest.mark.parametrize("words", [["dashboard"], ["up"], ["demo"], ["gateway"]], ids=lambda words: str(words[0]))
def test_no_password_can_be_given_on_a_command_line(words: list[str]) -> None:
    import click

    from headrace.cli import main

    command = main.get_command(click.Context(main), words[0])
    assert command is not None
    options = {name for parameter in command.params for name in parameter.opts}
    assert "--host" in options
    assert not [name for name in options if re.search("pass|token|secret", name)]
