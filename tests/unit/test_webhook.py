"""Alerts reach a webhook in order, nothing waits for it, and its address stays secret."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from headrace.errors import SettingsError
from headrace.events import Alert
from headrace.retry import Backoff
from headrace.settings import Settings
from headrace.subscriber.aggregation.webhook import QUEUED, NotTakenError, Webhook, send, shown
from headrace.testing import wait_until

SECRET = "https://robot:pass-word@hooks.example.org:8443/T0/B1/token?key=hidden#part"
AT_ONCE = Backoff(1, 1)


class Receiver:
    """A server on loopback that answers with the statuses given, then with 204."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.got: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.url = ""


@contextmanager
def receiver(*statuses: int) -> Iterator[Receiver]:
    found = Receiver(*statuses)

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.got.append(json.loads(body))
            found.headers.append(dict(self.headers))
            status = found.statuses.pop(0) if found.statuses else 204
            self.send_response(status)
            if status in (301, 302):
                self.send_header("Location", found.url + "elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    found.url = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def alert(name: str, state: Any = "raised") -> Alert:
    return Alert(id=f"id-{name}", time=5.0, subject="x", name=name, state=state, text="t", since=4.0)


async def test_alerts_arrive_in_order_as_json_with_their_prefix() -> None:
    with receiver() as there:
        async with Webhook(there.url, "staging") as hook:
            hook.put([alert("a"), alert("b")])
            hook.put([alert("a", "cleared")])
        assert [(one["name"], one["state"]) for one in there.got] == [
            ("a", "raised"),
            ("b", "raised"),
            ("a", "cleared"),
        ]
        assert there.got[0] | {"source": ""} == {
            "type": "alert",
            "id": "id-a",
            "time": 5.0,
            "subject": "x",
            "name": "a",
            "state": "raised",
            "text": "t",
            "since": 4.0,
            "prefix": "staging",
            "source": "",
            "severity": "warning",
        }
        assert there.headers[0]["Content-Type"] == "application/json"
        assert (hook.view().sent, hook.view().failed, hook.view().waiting) == (3, 0, 0)


async def test_a_server_in_trouble_is_asked_again_and_complained_of_once(caplog: pytest.LogCaptureFixture) -> None:
    with receiver(500, 503, 204, 500) as there, caplog.at_level(logging.WARNING):
        async with Webhook(there.url, "p", again=AT_ONCE) as hook:
            hook.put([alert("a")])
            await wait_until(lambda: hook.view().sent == 1)
            hook.put([alert("b")])
            await wait_until(lambda: hook.view().sent == 2)
        assert [one["name"] for one in there.got] == ["a", "a", "a", "b", "b"]
    assert len(caplog.records) == 2  # once for each time that it began to fail


async def test_an_alert_is_given_up_after_four_attempts_and_the_next_one_goes_out() -> None:
    with receiver(500, 500, 500, 500) as there:
        async with Webhook(there.url, "p", again=AT_ONCE) as hook:
            hook.put([alert("a"), alert("b")])
            await wait_until(lambda: hook.view().sent == 1)
        assert [one["name"] for one in there.got] == ["a"] * 4 + ["b"]
        assert (hook.view().failed, hook.view().error) == (1, "")


@pytest.mark.parametrize("status", [301, 400, 401, 404, 410])
async def test_a_refusal_that_will_not_change_is_not_asked_for_again(status: int) -> None:
    with receiver(status) as there:
        async with Webhook(there.url, "p", again=AT_ONCE) as hook:
            hook.put([alert("a")])
            await wait_until(lambda: hook.view().failed == 1)
        assert len(there.got) == 1
        assert hook.view().error == f"it answers {status}"


async def test_nobody_waits_for_a_webhook_that_hangs_and_its_queue_is_bounded() -> None:
    release = threading.Event()

    def hang(url: str, body: bytes, timeout_s: float) -> None:
        release.wait(10)

    async with Webhook(SECRET, "p", post=hang) as hook:
        hook.put([alert("first")])
        await wait_until(lambda: hook.view().waiting == 0)
        hook.put([alert(str(n)) for n in range(QUEUED + 7)])
        assert (hook.view().waiting, hook.view().dropped) == (QUEUED, 7)
        release.set()
        await wait_until(lambda: hook.view().sent == QUEUED + 1)


async def test_secrets_of_the_address_are_in_no_log_error_or_view(caplog: pytest.LogCaptureFixture) -> None:
    def fail(url: str, body: bytes, timeout_s: float) -> None:
        send("http://robot:pass-word@127.0.0.1:1/T0/B1/token?key=hidden", body, timeout_s)

    with caplog.at_level(logging.DEBUG):
        async with Webhook(SECRET, "p", post=fail, again=AT_ONCE) as hook:
            hook.put([alert("a")])
            await wait_until(lambda: hook.view().failed == 1)
    assert hook.view().place == "https://hooks.example.org:8443"
    settings = Settings(alert_webhook=SECRET)
    for text in (caplog.text, repr(hook.view()), repr(settings)):
        assert not any(secret in text for secret in ("robot", "pass-word", "token", "hidden"))
    assert "refused" in hook.view().error.lower()


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999/token", "http://[token/", "http://127.0.0.1:1 /token"])
def test_an_odd_address_fails_without_being_quoted(url: str) -> None:
    with pytest.raises(NotTakenError) as caught:
        send(url, b"{}", 1.0)
    assert "token" not in str(caught.value)
    assert "token" not in shown(url)


def test_user_and_password_go_into_the_headers() -> None:
    with receiver() as there:
        send(there.url.replace("//", "//robot:a%40b@"), b"{}", 5.0)
        assert there.headers[0]["Authorization"] == "Basic cm9ib3Q6YUBi"


@pytest.mark.parametrize("url", ["hooks.example.org/token", "ftp://token", "http://", "http://[token"])
def test_a_setting_that_is_no_web_address_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(SettingsError, match="HEADRACE_ALERT_WEBHOOK") as caught:
        Settings.load({"HEADRACE_ALERT_WEBHOOK": url})
    assert "token" not in str(caught.value)
