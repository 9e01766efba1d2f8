"""The live endpoint: a browser gets what is new to it, a slow one the newest, a stranger nothing."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from headrace.dashboard.feed import Feed
from headrace.dashboard.guard import Guard
from headrace.dashboard.socket import HEARD_BYTES, WINDOW, Viewer, ViewerError
from headrace.dashboard.state import MOMENTS
from headrace.positions import Position
from headrace.settings import Settings
from headrace.testing import wait_until
from tests.unit.frames import Story, StoryBus, StoryPage

T = 1_763_800_000.0


class Screen:
    """A browser, as far as the protocol goes."""

    def __init__(self, feed: Feed) -> None:
        self.viewer = Viewer(feed, clock=lambda: 5.0)

    def says(self, **words: Any) -> dict[str, Any] | None:
        self.viewer.hear(json.dumps(words))
        return self.hears()

    def hears(self) -> dict[str, Any] | None:
        message = self.viewer.next()
        found: dict[str, Any] | None = json.loads(message) if message else None
        return found


@pytest.fixture
def feed() -> Feed:
    return Feed(StoryBus(Settings(), Story(), past_s=0))


def play(feed: Feed, frames: int) -> None:
    for n in range(feed.state.number, feed.state.number + frames):
        t = T + n / 4
        feed.state.epoch = "e"
        feed.state.fold(Story().frame(t, n + 1), Position(int(t * 1000), n + 1))


def test_nothing_is_sent_before_a_browser_says_what_it_shows(feed: Feed) -> None:
    play(feed, 3)
    assert Screen(feed).hears() is None


def test_a_new_browser_gets_the_past_then_each_frame(feed: Feed) -> None:
    play(feed, 3)
    screen = Screen(feed)
    first = screen.says(show=["overview", "status"])
    assert first is not None
    assert first["number"] == 3
    assert len(first["past"]["tiers"][0]["times"]) == 3
    assert first["sections"].keys() == {"overview", "status"}
    assert screen.hears() is None
    play(feed, 1)
    second = screen.hears()
    assert second is not None
    assert "past" not in second
    assert [moment["number"] for moment in second["moments"]] == [4]
    assert second["sections"].keys() == {"overview"}


def test_a_browser_that_connects_again_gets_only_what_it_missed(feed: Feed) -> None:
    play(feed, 20)
    message = Screen(feed).says(show=["overview"], after=["e", 15])
    assert message is not None
    assert [moment["number"] for moment in message["moments"]] == [16, 17, 18, 19, 20]
    assert message["skipped"] == 0


@pytest.mark.parametrize("after", [["old-log", 15], ["e", 1], ["e", 10_000]])
def test_what_cannot_be_resumed_begins_anew(feed: Feed, after: list[Any]) -> None:
    play(feed, MOMENTS + 10)
    message = Screen(feed).says(show=["overview"], after=after)
    assert message is not None
    assert "past" in message


def test_a_slow_browser_skips_to_the_newest_and_is_told_how_much(feed: Feed) -> None:
    screen = Screen(feed)
    play(feed, 1)
    screen.says(show=["overview"])
    for _ in range(WINDOW + 4):
        play(feed, 1)
        screen.hears()
    assert screen.hears() is None
    message = screen.says(seen=WINDOW)
    assert message is not None
    assert message["number"] == feed.state.number
    assert message["skipped"] == 4
    assert [moment["number"] for moment in message["moments"]][-1] == feed.state.number


def test_a_paused_browser_gets_pongs_only_and_misses_nothing(feed: Feed) -> None:
    screen = Screen(feed)
    play(feed, 1)
    screen.says(show=["overview"])
    assert screen.says(pause=True) is None
    play(feed, 10)
    assert screen.says(ping=1.5) == {"pong": 1.5, "now": 5.0}
    message = screen.says(pause=False)
    assert message is not None
    assert len(message["moments"]) == 10
    assert message["skipped"] == 0


def test_a_section_is_sent_when_asked_for_and_when_it_changes(feed: Feed) -> None:
    play(feed, 1)
    screen = Screen(feed)
    screen.says(show=["overview"])
    message = screen.says(show=["overview", "model:digits@3"])
    assert message is not None
    assert message["sections"].keys() == {"model:digits@3"}
    assert message["sections"]["model:digits@3"]["labels"][9] == "9"


@pytest.mark.parametrize("text", ["", "no json", "[1]", '{"show": 3}', '{"after": ["x"]}', "x" * (HEARD_BYTES + 1)])
def test_what_is_no_part_of_the_protocol_is_refused(feed: Feed, text: str) -> None:
    with pytest.raises(ViewerError):
        Viewer(feed).hear(text)


@pytest.fixture
async def story_page() -> AsyncIterator[StoryPage]:
    """A running dashboard."""
    async with StoryPage(StoryBus(Settings(), Story(), past_s=5, every_s=0.02)) as page:
        yield page


async def test_the_socket_streams_frames_without_gap_or_repetition(story_page: StoryPage) -> None:
    async with connect(story_page.socket) as socket:
        await socket.send(json.dumps({"show": ["overview"]}))
        first = json.loads(await socket.recv())
        numbers: list[int] = []
        while len(numbers) < 5:
            await socket.send(json.dumps({"seen": first["serial"] + len(numbers)}))
            numbers += [moment["number"] for moment in json.loads(await socket.recv())["moments"]]
    assert numbers == list(range(first["number"] + 1, first["number"] + 1 + len(numbers)))


async def test_a_page_of_this_host_may_connect_and_another_may_not(story_page: StoryPage) -> None:
    async with connect(story_page.socket, origin=Origin(story_page.url.rstrip("/"))):
        pass
    for origin in ("http://evil.example", "http://127.0.0.1:1", "null", "https://localhost.evil.example"):
        with pytest.raises(InvalidStatus) as refused:
            await connect(story_page.socket, origin=Origin(origin))
        assert refused.value.response.status_code == 403


async def test_words_that_are_not_understood_close_the_socket(story_page: StoryPage) -> None:
    async with connect(story_page.socket) as socket:
        await socket.send(b"\x00")
        await socket.wait_closed()
        assert socket.close_code == 1003


async def test_a_viewer_that_leaves_is_forgotten(story_page: StoryPage) -> None:
    async with connect(story_page.socket) as socket:
        await socket.send(json.dumps({"show": ["status"]}))
        assert json.loads(await socket.recv())["sections"]["status"]["viewers"] == 1
    async with connect(story_page.socket) as socket:

        async def alone() -> bool:
            await socket.send(json.dumps({"show": []}))
            await socket.send(json.dumps({"show": ["status"]}))
            message = json.loads(await socket.recv())
            return bool(message.get("sections", {}).get("status", {}).get("viewers") == 1)

        await wait_until(alone)


@pytest.mark.parametrize(
    ("host", "served"),
    [
        ("localhost:8050", True),
        ("127.0.0.1:8050", True),
        ("[::1]:8050", True),
        ("192.168.1.7:80", True),
        ("vault.lan:8050", True),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("", False),
    ],
)
def test_only_addresses_localhost_and_allowed_names_are_served(host: str, served: bool) -> None:
    guard = Guard(lambda *_: None, hosts=["vault.lan"])  # type: ignore[arg-type]
    assert (guard.refusal(host, None, safe=True) == "") is served


def test_a_change_needs_the_origin_of_this_host_and_reading_does_not() -> None:
    guard = Guard(lambda *_: None)  # type: ignore[arg-type]
    assert guard.refusal("localhost:1", "http://evil.example", safe=True) == ""
    assert "evil.example" in guard.refusal("localhost:1", "http://evil.example", safe=False)
    assert guard.refusal("localhost:1", "http://localhost:1", safe=False) == ""
