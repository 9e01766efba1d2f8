"""A server that goes away, comes back, or is full: nothing is lost, nothing is doubled, and it is said."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import fakeredis
import pytest

from headrace.bus import Bus
from headrace.channels import WORKERS
from headrace.embedded import EmbeddedServer
from headrace.errors import FullError, UnavailableError
from headrace.settings import Settings
from headrace.testing import wait_until

if TYPE_CHECKING:
    from tests.contract.conftest import Events


@pytest.fixture
def settings(own_server: EmbeddedServer) -> Settings:
    return Settings(redis_url=own_server.url, prefix="test")


async def test_a_consumer_goes_on_after_the_server_was_killed(
    own_server: EmbeddedServer, settings: Settings, events: Events
) -> None:
    async with Bus(settings) as bus, bus.consume("requests", "scorers", worker="w") as consumer:
        await bus.publish("requests", events(5))
        batch = await consumer.next()
        assert batch is not None
        own_server.kill()

        work = consumer.commit(batch)
        work.append("results", batch.payloads)
        finishing = asyncio.create_task(consumer.finish(work))
        publishing = asyncio.create_task(bus.publish("requests", events(5, 5)))
        with pytest.raises(UnavailableError):
            await bus.check()
        await asyncio.to_thread(own_server.restart)
        await asyncio.gather(finishing, publishing)

        async for more in consumer:
            work = consumer.commit(more)
            work.append("results", more.payloads)
            await consumer.finish(work)
            consumer.stop()
        assert [entry.payload for entry in await bus.read("results")] == [
            entry.payload for entry in await bus.read("requests")
        ]
        assert await bus.length("requests") == 10


async def test_iteration_outlives_an_outage(own_server: EmbeddedServer, settings: Settings, events: Events) -> None:
    async with Bus(settings) as bus, bus.consume("requests", "scorers", worker="w") as consumer:
        seen: list[int] = []

        async def work() -> None:
            async for batch in consumer:
                seen.extend(entry.position.number for entry in batch.entries)
                await consumer.finish(consumer.commit(batch))

        async with asyncio.TaskGroup() as group:
            group.create_task(work())
            await bus.publish("requests", events(2))
            await wait_until(lambda: len(seen) >= 2, description="the first batch")
            own_server.kill()
            await asyncio.to_thread(own_server.restart)
            await bus.publish("requests", events(2))
            await wait_until(lambda: len(seen) >= 4, description=lambda: f"the second batch, after {seen}")
            consumer.stop()
        assert seen == [1, 2, 3, 4]


async def test_publish_gives_up_when_its_patience_ends(
    headrace_fake: fakeredis.FakeServer, bus: Bus, events: Events
) -> None:
    headrace_fake.connected = False
    with pytest.raises(UnavailableError):
        await bus.publish("runs", events(1), patience_s=0.1)
    headrace_fake.connected = True
    assert (await bus.publish("runs", events(1))).positions[0].number == 1


async def test_a_full_server_refuses_publishers_and_nobody_who_drains_it(settings: Settings, events: Events) -> None:
    async with Bus(settings) as bus, bus.consume("requests", "scorers", worker="w") as consumer:
        await bus.publish("requests", events(300))
        await asyncio.sleep(0.01)
        await bus.publish("requests", events(1))
        batch = await consumer.next()
        assert batch is not None
        await bus._client.config_set("maxmemory", 1)
        with pytest.raises(FullError, match="'requests' is full"):
            await bus.publish("requests", events(1))
        with pytest.raises(FullError):
            await bus.take("runs", 0, [("id", b"{}")])
        assert await bus.length("requests") == 301
        work = consumer.commit(batch)
        work.append("results", batch.payloads)
        work.save("fold", {"a": b"1"})
        await consumer.finish(work)
        assert (await bus.length("results"), await bus.state("fold")) == (301, {"a": b"1"})
        assert await bus.lease("aggregator", "token", 1000)
        await bus.publish(WORKERS, events(1))
        async with bus.consume("requests", "others", worker="w") as another:
            assert await another.next() is not None
        await bus.remove_group("requests", 0, "others")
        assert await bus.trim("requests", 0, before_ms=10**14, keep_bytes=1) >= 100
        await bus._client.config_set("maxmemory", 0)
        await bus.publish("requests", events(1))


async def test_a_wrong_password_is_said_without_showing_it(own_server: EmbeddedServer, settings: Settings) -> None:
    from headrace.errors import BusError

    wrong = settings.with_(redis_url=own_server.url.replace("redis://", "redis://:geheim@"))
    async with Bus(settings) as bus:
        await bus._client.config_set("requirepass", "right")
    for driver in ("redis", "asyncio-redis"):
        async with Bus(wrong.with_(live_driver=driver)) as bus:
            with pytest.raises(BusError, match="Check user and password") as caught:
                async with bus.subscribe("runs"):
                    pass
            assert "geheim" not in str(caught.value)
            assert not caught.value.retryable
    right = settings.with_(redis_url=own_server.url.replace("redis://", "redis://:right@"), live_driver="asyncio-redis")
    async with Bus(right) as bus, bus.subscribe("runs"):
        await bus.check()
