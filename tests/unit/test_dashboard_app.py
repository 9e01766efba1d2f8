"""The endpoints for programs, compressed files, and a port that is taken."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from headrace.dashboard.app import create_app, unready
from headrace.dashboard.feed import Feed
from headrace.errors import SettingsError
from headrace.serving import listen, url_of
from headrace.settings import Settings
from headrace.testing import wait_until
from tests.unit.frames import Story, StoryBus, StoryPage, frame


@pytest.fixture
async def story_page() -> AsyncIterator[StoryPage]:
    """A running dashboard."""
    async with StoryPage(StoryBus(Settings(), Story(), past_s=5, every_s=0.02)) as page:
        yield page


@pytest.fixture
async def client(story_page: StoryPage) -> AsyncIterator[httpx.AsyncClient]:
    """Asks the running dashboard."""
    async with httpx.AsyncClient(base_url=story_page.url) as client:
        yield client


@pytest.fixture
async def early() -> AsyncIterator[httpx.AsyncClient]:
    """Asks a dashboard that has seen nothing yet."""
    bus = StoryBus(Settings(), Story(), past_s=0)
    transport = httpx.ASGITransport(create_app(bus.settings, bus))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


async def test_before_the_first_frame_it_is_up_but_not_ready(early: httpx.AsyncClient) -> None:
    assert (await early.get("/healthz")).json() == {"status": "up"}
    for path in ("/readyz", "/api/frame"):
        answer = await early.get(path)
        assert answer.status_code == 503
        assert answer.json()["reason"]
    assert (await early.get("/metrics")).status_code == 503


async def test_a_link_to_any_page_may_be_the_first_thing_asked_for(client: httpx.AsyncClient) -> None:
    page = (await client.get("/queues")).text
    assert 'href="/assets/theme.css' in page
    assert 'src="/assets/main.js' in page


async def test_it_is_ready_once_it_has_seen_a_young_frame(client: httpx.AsyncClient) -> None:
    assert (await client.get("/readyz")).json() == {"status": "ready"}


def test_it_is_not_ready_when_the_newest_frame_is_old() -> None:
    feed = Feed(StoryBus(Settings(), Story(), past_s=0))
    feed.state.frame = frame(time=1000.0)
    assert unready(feed, 1004.0) == ""
    assert "12 s old" in unready(feed, 1012.0)


async def test_the_latest_frame_is_there_as_json(client: httpx.AsyncClient) -> None:
    found = (await client.get("/api/frame")).json()
    assert found["type"] == "frame"
    assert time.time() - found["time"] < 5
    assert found["models"][0]["name"] == "digits"


async def test_metrics_are_those_of_the_newest_frame(client: httpx.AsyncClient) -> None:
    assert "headrace_frame_age_seconds" in (await client.get("/metrics")).text


async def test_the_page_comes_compressed_and_names_no_other_host(client: httpx.AsyncClient) -> None:
    page = await client.get("/")
    assert page.status_code == 200
    assert page.headers["content-encoding"] == "gzip"
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert not re.findall(r"""(?:src|href)=["'](?:https?:)?//""", page.text)


async def test_files_are_compressed_once_and_may_be_kept(client: httpx.AsyncClient) -> None:
    path = "/assets/store.js?m=1"
    first, again = await client.get(path), await client.get(path)
    plain = await client.get(path, headers={"accept-encoding": "identity"})
    assert first.headers["content-encoding"] == again.headers["content-encoding"] == "gzip"
    assert "immutable" in again.headers["cache-control"]
    assert first.text == again.text == plain.text
    assert "content-encoding" not in plain.headers


async def test_a_foreign_host_gets_no_page(client: httpx.AsyncClient) -> None:
    refused = await client.get("/", headers={"host": "evil.example"})
    assert refused.status_code == 403
    assert "--allow-host evil.example" in refused.text


def test_a_port_in_use_is_said_in_words() -> None:
    with listen("127.0.0.1", 0) as taken, pytest.raises(SettingsError, match=r"in use.*--port"):
        listen("127.0.0.1", taken.getsockname()[1])


@pytest.mark.parametrize(("host", "port"), [("no-such-host.invalid", 0), ("127.0.0.1", 99_999), ("192.0.2.1", 0)])
def test_an_address_that_cannot_be_had_is_said_in_words(host: str, port: int) -> None:
    with pytest.raises(SettingsError):
        listen(host, port)


def test_the_url_is_one_that_a_browser_on_this_machine_can_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert url_of("0.0.0.0", listener) == f"http://127.0.0.1:{port}"
        assert url_of("::1", listener) == f"http://[::1]:{port}"


async def test_it_serves_until_stopped_and_gives_signs_of_life_meanwhile(story_page: StoryPage) -> None:
    await wait_until(lambda: story_page.bus.published)
    await story_page.stop()
    with pytest.raises(httpx.ConnectError):
        async with httpx.AsyncClient() as client:
            await client.get(story_page.url)
