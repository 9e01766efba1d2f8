"""What all tests share: a real server for the session, a prefix for each test, and a watch on the keys it leaves.

- `bus`         a Bus on fakeredis (the public kit's, under its short name)
- `server`      one real server for the session;  `server_settings`: settings on it with a prefix of this test's own
- `own_server`  a real server for this test alone, to be killed and restarted
- `any_settings`, `any_bus`   the same test on fakeredis and on the real server

After each test every key of its prefix must have a time to live, unless headrace.channels says that such keys stay.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator, Iterator

import pytest

from headrace.bus import Bus
from headrace.bus.connection import connect_sync
from headrace.embedded import EmbeddedServer, EmbeddedSettings
from headrace.settings import Settings

STAYS = re.compile(r"[^:]+:\{\d+\}:([^:]+:(log|head)|state:.+)")
"""Keys without a time to live: logs, their heads, saved state."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever uses a real server says so, by its fixtures."""
    for item in items:
        names = set(getattr(item, "fixturenames", ()))
        params = getattr(getattr(item, "callspec", None), "params", {})
        chosen = [str(params.get(name)) for name in ("any_settings", "live_settings")]
        if names & {"server", "own_server", "server_settings"} or any(name.startswith("server") for name in chosen):
            item.add_marker(pytest.mark.server)


def leaked(settings: Settings) -> list[str]:
    """Keys of the prefix that stay for ever though no rule says that they may; all its keys are removed."""
    client = connect_sync(settings, timeout_s=5.0)
    try:
        keys = [key.decode() for key in client.scan_iter(f"{settings.prefix}:*", count=1000)]
        kept = [key for key in keys if client.ttl(key) == -1 and not STAYS.fullmatch(key)]
        if keys:
            client.delete(*keys)
    finally:
        client.close()
    return sorted(kept)


def watched(settings: Settings) -> Iterator[Settings]:
    """The settings for one test, and the check after it."""
    yield settings
    left = leaked(settings)
    assert not left, f"keys without a time to live are left: {left}"


@pytest.fixture
def headrace_settings(headrace_settings: Settings) -> Iterator[Settings]:
    """The kit's settings, watched."""
    yield from watched(headrace_settings)


@pytest.fixture
def bus(headrace_bus: Bus) -> Bus:
    """The kit's bus."""
    return headrace_bus


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedServer]:
    """One real server for the session. Tests share it: nothing in them may stop or flush it."""
    with EmbeddedServer() as running:
        yield running


@pytest.fixture
def server_settings(server: EmbeddedServer) -> Iterator[Settings]:
    """Settings on the real server with a prefix of this test's own, watched."""
    yield from watched(Settings(redis_url=server.url, prefix=f"test-{secrets.token_hex(4)}"))


@pytest.fixture
def own_server() -> Iterator[EmbeddedServer]:
    """A real server for this test alone. What it answered survives `kill -9` however slow the disk is."""
    with EmbeddedServer(EmbeddedSettings(appendfsync="always")) as running:
        yield running


@pytest.fixture(params=["fake", "server"])
def any_settings(request: pytest.FixtureRequest) -> Settings:
    """Settings on fakeredis, then on the real server."""
    name = "headrace_settings" if request.param == "fake" else "server_settings"
    chosen: Settings = request.getfixturevalue(name)
    return chosen


@pytest.fixture
async def any_bus(any_settings: Settings) -> AsyncIterator[Bus]:
    """A Bus on fakeredis, then on the real server."""
    async with Bus(any_settings) as one:
        yield one
