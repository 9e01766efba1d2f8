"""The gateway's lock: a token, the names it is served under, and how often an address may ask."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from headrace.access import Secret
from headrace.bus import Bus
from headrace.publisher.gateway import create_gateway

TOKEN = "gateway-token-1"
HOME = "http://localhost"


@asynccontextmanager
async def opened(bus: Bus, **given: Any) -> AsyncIterator[httpx.AsyncClient]:
    app = create_gateway(bus.settings, bus, **given)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    client = httpx.AsyncClient(transport=transport, base_url=HOME)
    async with app.router.lifespan_context(app), client:
        yield client


async def test_with_a_token_only_who_sends_it_is_served(headrace_bus: Bus) -> None:
    async with opened(headrace_bus, token=Secret(TOKEN)) as client:
        for wrong in ({}, {"authorization": "Bearer no"}, {"authorization": TOKEN}):
            for method, path in (("GET", "/metrics"), ("POST", "/v1/events"), ("GET", "/nowhere")):
                answer = await client.request(method, path, headers=wrong)
                assert answer.status_code == 401
                assert answer.headers["www-authenticate"] == "Bearer"
                assert answer.json()["error"]["fix"]
        for path in ("/healthz", "/docs", "/openapi.json"):
            assert (await client.get(path)).status_code == 200
        right = {"authorization": f"Bearer {TOKEN}", "host": "gateway:8080"}
        assert (await client.get("/metrics", headers=right)).status_code == 200


async def test_guessing_tokens_is_slowed_down(headrace_bus: Bus) -> None:
    async with opened(headrace_bus, token=Secret(TOKEN)) as client:
        statuses = [
            (await client.get("/metrics", headers={"authorization": f"Bearer {n}"})).status_code for n in range(11)
        ]
        assert statuses == [401] * 10 + [429]
        held = await client.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"})
        assert held.status_code == 429
        assert 1 <= int(held.headers["retry-after"]) <= 5


async def test_without_a_token_another_name_is_not_served(headrace_bus: Bus) -> None:
    async with opened(headrace_bus, hosts=["ml.example"]) as client:
        refused = await client.get("/metrics", headers={"host": "evil.example"})
        assert refused.status_code == 403
        assert "--allow-host evil.example" in refused.json()["error"]["fix"]
        assert (await client.get("/metrics", headers={"host": "ml.example"})).status_code == 200


async def test_an_address_that_asks_too_often_waits(headrace_bus: Bus) -> None:
    async with opened(headrace_bus, rate=0.01) as client:
        assert (await client.get("/metrics")).status_code == 200
        held = await client.get("/metrics")
        assert held.status_code == 429
        assert 50 < int(held.headers["retry-after"]) <= 100
        assert (await client.get("/healthz")).status_code == 200


async def test_a_bound_of_nothing_is_no_bound(headrace_bus: Bus) -> None:
    async with opened(headrace_bus, rate=0) as client:
        assert (await client.get("/metrics")).status_code == 200
