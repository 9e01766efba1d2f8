"""Whoever asks too much waits, nobody else does, and memory does not grow with the number of callers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send

from headrace.access import neighbourhood
from headrace.dashboard import limits
from headrace.dashboard.limits import BODY_BYTES, BURST, Limits, Throttle
from headrace.limits import Limiter


class TestLimiter:
    def test_a_burst_passes_and_then_the_rate(self) -> None:
        limiter = Limiter(rate=2, burst=3)
        assert [limiter.take("a", 10.0) for _ in range(3)] == [0, 0, 0]
        assert limiter.take("a", 10.0) == pytest.approx(0.5)
        assert limiter.take("a", 10.5) == 0
        assert limiter.take("a", 10.5) > 0

    def test_others_are_not_held_up(self) -> None:
        limiter = Limiter(rate=1, burst=1)
        limiter.take("a", 0.0)
        assert limiter.take("a", 0.0) > 0
        assert limiter.take("b", 0.0) == 0

    def test_memory_is_bounded_and_the_oldest_is_forgotten(self) -> None:
        limiter = Limiter(rate=0.001, burst=1, most=100)
        for number in range(10_000):
            limiter.take(str(number), 0.0)
        assert len(limiter) == 100
        assert limiter.wait_s("9999", 0.0) > 0
        assert limiter.wait_s("1", 0.0) == 0

    @given(st.lists(st.floats(0, 2), max_size=200))
    def test_never_more_than_the_burst_and_the_rate(self, pauses: list[float]) -> None:
        limiter, now, passed = Limiter(rate=3, burst=5), 0.0, 0
        for pause in pauses:
            now += pause
            passed += limiter.take("a", now) == 0
        assert passed <= 5 + 3 * now + 1e-6


class TestThrottle:
    def test_five_wrong_passwords_and_then_one_in_twenty_seconds(self) -> None:
        throttle = Throttle()
        for _ in range(4):
            assert throttle.wait_s("a", 0.0) == 0
            assert throttle.failed("a", 0.0) == 0
        assert throttle.failed("a", 0.0) == 20
        assert throttle.wait_s("a", 5.0) == 15
        assert throttle.wait_s("b", 5.0) == 0
        assert throttle.wait_s("a", 20.0) == 0
        assert throttle.failed("a", 20.0) == 20

    def test_many_addresses_together_are_slowed_down_but_not_one_that_is_known(self) -> None:
        throttle = Throttle()
        throttle.succeeded("home")
        for number in range(60):
            throttle.failed(f"10.0.0.{number}", 0.0)
        assert throttle.wait_s("10.0.1.1", 0.0) == 2
        assert throttle.wait_s("home", 0.0) == 0

    def test_addresses_that_are_known_are_a_bounded_number(self) -> None:
        throttle = Throttle()
        for number in range(limits.KNOWN + 10):
            throttle.succeeded(str(number))
        assert len(throttle._known) == limits.KNOWN


def test_who_holds_many_addresses_of_ipv6_is_one_caller() -> None:
    assert neighbourhood("2001:db8::1") == neighbourhood("2001:db8::ffff:2") != neighbourhood("2001:db8:0:1::1")
    assert neighbourhood("::ffff:10.0.0.1") == neighbourhood("10.0.0.1") != neighbourhood("10.0.0.2")
    assert neighbourhood("fe80::1%eth0") == neighbourhood("fe80::2")
    assert len(neighbourhood("x" * 1000)) <= 64


async def ask(app: Limits, parts: list[bytes], **scope: Any) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body that the app answers to a request whose body comes in parts."""
    messages: list[Message] = [
        {"type": "http.request", "body": part, "more_body": index + 1 < len(parts)} for index, part in enumerate(parts)
    ]
    answers: list[Message] = []

    async def receive() -> Message:
        if messages:
            return messages.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        answers.append(message)

    base = {"type": "http", "method": "POST", "path": "/api/x", "headers": [], "client": ("10.0.0.1", 1)}
    await app({**base, **scope}, receive, send)
    headers = {name.decode(): value.decode() for name, value in answers[0]["headers"]}
    return answers[0]["status"], headers, b"".join(answer.get("body", b"") for answer in answers)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the body it got."""
    body = (await receive()).get("body", b"") if scope["method"] == "POST" else b""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


class TestLimits:
    async def test_a_body_comes_through_whole(self) -> None:
        assert await ask(Limits(echo), [b"ab", b"", b"cd"]) == (200, {}, b"abcd")

    @pytest.mark.parametrize("stated", [True, False])
    async def test_a_body_that_is_too_large_is_refused_with_a_sentence(self, stated: bool) -> None:
        headers = [(b"content-length", str(BODY_BYTES + 1).encode())] if stated else []
        status, _, body = await ask(Limits(echo), [b"x" * BODY_BYTES, b"x", b"never read"], headers=headers)
        assert status == 413
        assert b"larger than" in body

    async def test_a_body_that_does_not_arrive_is_given_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "BODY_S", 0.01)
        messages: list[Message] = []

        async def never() -> Message:
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Message) -> None:
            messages.append(message)

        scope = {"type": "http", "method": "POST", "path": "/x", "headers": [], "client": ("10.0.0.1", 1)}
        await Limits(echo)(scope, never, send)
        assert messages[0]["status"] == 408

    async def test_an_address_that_asks_too_often_is_told_how_long_to_wait(self) -> None:
        app = Limits(echo, clock=lambda: 0.0)
        for _ in range(int(BURST)):
            assert (await ask(app, [], method="GET"))[0] == 200
        status, headers, body = await ask(app, [], method="GET")
        assert (status, headers["retry-after"]) == (429, "1")
        assert b"wait 1 s" in body
        assert (await ask(app, [], method="GET", client=("10.0.0.2", 1)))[0] == 200
        assert (await ask(app, [], method="GET", path="/assets/x.js"))[0] == 200
