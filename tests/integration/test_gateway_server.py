"""The gateway on real sockets and a real server: many at once, a server that goes away, an end that answers all."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import httpx
import pytest

from headrace.bus import Bus
from headrace.channels import REQUESTS, RESULTS, RUNS, SCORERS
from headrace.codec import decode, encode
from headrace.embedded import EmbeddedServer
from headrace.ending import end
from headrace.errors import SettingsError
from headrace.events import PredictionRequested, PredictionScored
from headrace.publisher.gateway import serve
from headrace.settings import Settings
from headrace.testing import collect, wait_until

GATEWAY = """
import asyncio, sys
from headrace.bus import Bus
from headrace.publisher.gateway import serve
from headrace.settings import Settings

async def main():
    settings = Settings(redis_url=sys.argv[1], prefix=sys.argv[2])
    async with Bus(settings) as bus:
        await serve(settings, bus, port=0, on_ready=lambda url: print(url, flush=True))

asyncio.run(main())
"""


@contextmanager
def process(settings: Settings) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A gateway in a process of its own, and its URL."""
    command = [sys.executable, "-c", GATEWAY, settings.redis_url, settings.prefix]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as gateway:
        try:
            assert gateway.stdout is not None
            yield gateway, gateway.stdout.readline().strip()
        finally:
            gateway.kill()


@asynccontextmanager
async def scorer(bus: Bus) -> AsyncIterator[None]:
    """Answers each request with its first value, a batch a commit."""

    async def work() -> None:
        async for batch in consumer:
            decision = consumer.commit(batch)
            for entry in batch.entries:
                request = decode(entry.payload)
                assert isinstance(request, PredictionRequested)
                result = PredictionScored(
                    model=request.model, version=1, positions=str(entry.position), ids=[request.id], values=[1.0]
                )
                decision.append(RESULTS, [result])
                decision.reply(request.reply_to, encode(result))
            await consumer.finish(decision)

    async with bus.consume(REQUESTS, SCORERS, worker="test") as consumer:
        working = asyncio.create_task(work())
        try:
            yield
        finally:
            consumer.stop()
            await working


async def test_many_connections_at_once_each_get_one_result(server_settings: Settings) -> None:
    async with Bus(server_settings) as bus, scorer(bus), httpx.AsyncClient(timeout=30) as client:
        with process(server_settings) as (_, url):
            answers = await asyncio.gather(
                *(client.post(f"{url}/v1/models/m/predict", json={"rows": [[n]]}) for n in range(300))
            )
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.json()["id"] for answer in answers}) == 300
        assert await bus.length(REQUESTS) == 300


async def test_the_order_to_stop_answers_who_waits_and_sends_what_was_accepted(server_settings: Settings) -> None:
    async with Bus(server_settings) as bus, httpx.AsyncClient(timeout=30) as client:
        with process(server_settings) as (gateway, url):
            asked = asyncio.create_task(client.post(f"{url}/v1/models/m/predict", json={"rows": [[1]]}))
            await client.post(f"{url}/v1/events", json={"type": "run.started", "run": "r"})
            await collect(bus, REQUESTS, 1)
            gateway.send_signal(signal.SIGTERM)
            answer = await asked
            await asyncio.to_thread(gateway.wait, 20)
            assert gateway.stderr is not None
            assert gateway.stderr.read() == ""
        assert answer.status_code == 202
        [request] = await bus.read(REQUESTS)
        assert answer.json() == {"id": f"0-{request.position}", "status": "queued"}
        assert await bus.length(RUNS) == 1


async def test_a_result_that_comes_while_it_ends_is_still_delivered(server_settings: Settings) -> None:
    async with Bus(server_settings) as bus, httpx.AsyncClient(timeout=30) as client:
        with process(server_settings) as (gateway, url):
            asked = asyncio.create_task(client.post(f"{url}/v1/models/m/predict", json={"rows": [[1]]}))
            await collect(bus, REQUESTS, 1)
            gateway.send_signal(signal.SIGTERM)

            async def closed() -> bool:
                try:
                    await client.get(f"{url}/healthz")
                except httpx.TransportError:
                    return True
                return False

            await wait_until(closed)
            async with scorer(bus):
                answer = await asked
        assert answer.status_code == 200
        assert answer.json()["values"] == [1.0]


async def test_a_port_in_use_is_named_with_what_to_do(server_settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with Bus(server_settings) as bus:
            with pytest.raises(SettingsError, match=f"port {port} on 127.0.0.1 is in use.*0 for a free one"):
                await serve(server_settings, bus, port=port)


async def test_it_goes_on_when_the_server_was_away(own_server: EmbeddedServer) -> None:
    settings = Settings(redis_url=own_server.url, prefix="test")
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    async with Bus(settings) as bus, httpx.AsyncClient(timeout=30) as client:
        serving = asyncio.create_task(serve(settings, bus, port=0, on_ready=ready.set_result))
        url = f"{await ready}/v1/models/m/predict"
        body = {"rows": [[1]], "deadline_ms": 300}
        async with scorer(bus):
            assert (await client.post(url, json=body)).status_code == 200
            await asyncio.to_thread(own_server.kill)
            away = await client.post(url, json=body)
            assert away.status_code == 503
            assert "no Redis or Valkey server answers" in away.json()["error"]["reason"]
            await asyncio.to_thread(own_server.restart)

            async def scored() -> bool:
                return (await client.post(url, json=body)).status_code == 200

            await wait_until(scored, 20)
        await end(serving)
