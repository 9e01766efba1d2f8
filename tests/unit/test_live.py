"""The live driver on asyncio-redis: what it cannot do is said before anything connects, and its buffer has a bound."""

from __future__ import annotations

import asyncio
import sys
from typing import NamedTuple

import pytest

from headrace.bus import Bus, live_asyncio_redis
from headrace.bus.live_asyncio_redis import AsyncioRedisLive, _Hearing
from headrace.errors import SettingsError, UnavailableError
from headrace.settings import Settings
from headrace.testing import wait_until


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("rediss://db:6379/0", "cannot reach rediss://db:6379/0: it needs a redis:// address without TLS"),
        ("unix:///run/redis.sock", "cannot reach unix:///run/redis.sock"),
        ("redis://anna:secret@db", "cannot log in at redis://db with a user name"),
    ],
)
def test_addresses_it_cannot_reach(url: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says) as caught:
        AsyncioRedisLive(Settings(redis_url=url))
    assert "use the driver redis" in str(caught.value)


@pytest.mark.parametrize("url", ["redis://db", "redis://:secret@db:1/3", "redis://default:secret@db"])
def test_addresses_it_can(url: str) -> None:
    AsyncioRedisLive(Settings(redis_url=url))


def test_without_its_package_it_says_what_to_install(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncio_redis", None)
    bus.settings = bus.settings.with_(live_driver="asyncio-redis")
    with pytest.raises(SettingsError, match=r"pip install headrace\[asyncio-redis\]"):
        bus.subscribe("runs")


async def test_without_a_server_it_says_so(unused_tcp_port: int) -> None:
    driver = AsyncioRedisLive(Settings(redis_url=f"redis://127.0.0.1:{unused_tcp_port}"))
    with pytest.raises(UnavailableError):
        await driver.subscribe(["runs"])


class Push(NamedTuple):
    channel: bytes
    value: bytes


class Flood:
    """A subscription that never runs dry, as the package hands it over."""

    async def next_published(self) -> Push:
        return Push(b"runs", b"x" * 1000)


async def test_what_is_pushed_faster_than_read_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_asyncio_redis, "BUFFER_BYTES", 10_000)
    hearing = _Hearing()
    pump = asyncio.create_task(hearing.fill(Flood()))
    await wait_until(pump.done)
    assert hearing.overflown
    assert [len(hearing.take(4)) for _ in range(4)] == [4, 4, 3, 0]
