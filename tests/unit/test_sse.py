"""Server-sent events come in order, and a broken connection is taken up again after the last of them."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from headrace.errors import SettingsError, UnavailableError
from headrace.publisher.sse import Sent, sent_events

URL = "http://events.test/stream"


def client(answer: Callable[[httpx.Request], httpx.Response]) -> httpx.Client:
    return httpx.Client(transport=httpx.MockTransport(answer))


def stream(text: str) -> httpx.Response:
    return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, text=text)


def test_it_goes_on_from_the_last_id_until_there_is_no_more() -> None:
    asked: list[str | None] = []
    slept: list[float] = []

    def answer(request: httpx.Request) -> httpx.Response:
        last = request.headers.get("Last-Event-ID")
        asked.append(last)
        texts = {None: "retry: 2000\nid: 1\ndata: a\n\nid: 2\nevent: edit\ndata: b\ndata: c\n\nid: 3\ndata: cut"}
        return stream(texts[last]) if last in texts else httpx.Response(204)

    found = list(sent_events(URL, client=client(answer), sleep=slept.append))
    assert found == [Sent("1", "message", "a"), Sent("2", "edit", "b\nc")]
    assert asked == [None, "2"]
    assert slept == [2.0]


def test_it_begins_where_it_is_told() -> None:
    asked: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("Last-Event-ID"))
        return httpx.Response(204)

    assert not list(sent_events(URL, last="7", client=client(answer)))
    assert asked == ["7"]


def test_failures_in_a_row_end_it() -> None:
    slept: list[float] = []

    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("nobody is there")

    with pytest.raises(UnavailableError, match="nobody is there"):
        list(sent_events(URL, failures=3, client=client(answer), sleep=slept.append))
    assert len(slept) == 3


def test_a_server_in_trouble_is_asked_again() -> None:
    answers = [httpx.Response(503), stream("data: here\n\n"), httpx.Response(204)]
    found = list(sent_events(URL, client=client(lambda request: answers.pop(0)), sleep=lambda seconds: None))
    assert found == [Sent("", "message", "here")]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.Response(404), "answers 404 instead of events"),
        (httpx.Response(200, headers={"Content-Type": "text/html"}, text="<p>"), "is no stream of events"),
    ],
)
def test_what_is_no_stream_is_refused(answer: httpx.Response, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        list(sent_events(URL, client=client(lambda request: answer)))
