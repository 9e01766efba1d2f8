"""Whatever a caller sends, it is told what was wrong, nothing of ours fails, and every answer is counted."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import quote

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.bus import Bus
from headrace.channels import REQUESTS
from headrace.codec import encode
from headrace.publisher.gateway import create_gateway
from tests.unit.shapes import KINDS, structs

ROOM_BYTES = 2_000
"""An answer is no larger than this and a few times what was sent."""
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
# A body that is right is answered when its deadline has passed, as nobody scores here.
asked = st.fixed_dictionaries(
    {"deadline_ms": st.sampled_from([1, 2, 0, -1, 60_001, "soon", None])},
    optional={
        "rows": st.lists(st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), max_size=3), max_size=3)
        | values,
        "version": st.integers() | values,
        "label": st.booleans() | values,
        "more": values,
    },
)
labels = st.fixed_dictionaries({}, optional={"labels": st.lists(st.text(max_size=3) | st.floats()) | values})
bombs = st.sampled_from(
    [b"", b"{", b"[" * 100_000, b'{"rows":' * 50_000, b"\x00" * 1_000, b'{"rows":[[1e999]]}', b"[]"]
)
events = st.one_of([structs(kind, st.floats()) for kind in KINDS])
lines = st.lists(events.map(lambda event: encode(event, "json")) | values.map(lambda v: json.dumps(v).encode()))
published = st.one_of(
    lines.map(b"\n".join),
    lines.map(lambda parts: b"[" + b",".join(parts) + b"]"),
    events.map(encode),
)
names = st.sampled_from(["digits", "di%2Fgits", "%00", "..", "%2e%2e"]) | st.text(min_size=1).map(
    lambda text: quote(text.encode(errors="replace"), safe="")
)
handles = st.sampled_from(["0-1-1", "9-1-1", "0-1-" + "9" * 100, "-1-1-1", "0-1", "0-%F0%9F%A7%AA-1"]) | names


def body(shape: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    return st.one_of(shape.map(lambda made: json.dumps(made).encode()), bombs, st.binary(max_size=60))


calls = st.one_of(
    st.tuples(st.just("POST"), names.map("/v1/models/{}/predict".format), body(asked)),
    st.tuples(st.just("POST"), handles.map("/v1/predictions/{}/label".format), body(labels)),
    st.tuples(st.just("GET"), handles.map("/v1/predictions/{}".format), st.just(b"")),
    st.tuples(
        st.just("POST"), st.sampled_from(["/v1/events", "/v1/events?channel=mine", "/v1/events?channel=%00"]), published
    ),
    st.tuples(st.just("POST"), st.just("/v1/events"), bombs),
)
kinds = st.sampled_from(["application/json", "application/x-ndjson", "text/html; charset=\xff", ""])


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(call=calls, kind=kinds)
def test_every_call_has_an_answer_that_says_what_was_wrong(
    headrace_settings: Any, call: tuple[str, str, bytes], kind: str
) -> None:
    asyncio.run(judged(headrace_settings, *call, kind))


async def judged(settings: Any, method: str, path: str, sent: bytes, kind: str) -> None:
    async with Bus(settings) as bus:
        app = create_gateway(settings, bus, rate=0)
        transport = httpx.ASGITransport(app)  # a fault of ours is raised here
        http = httpx.AsyncClient(transport=transport, base_url="http://localhost")
        async with app.router.lifespan_context(app), http as client:
            _, before = await bus.last(REQUESTS)
            answer = await client.request(
                method, path, content=sent, headers=[(b"content-type", kind.encode("latin-1"))]
            )
            _, after = await bus.last(REQUESTS)
            served, failed = app.state.gateway.counts.totals()
    said = answer.json()
    assert answer.status_code < 500, said
    assert served + failed >= 1
    assert len(answer.content) <= ROOM_BYTES + 8 * len(sent) + 4 * len(path)
    if path.startswith("/v1/events") and "accepted" in said:
        assert all(refusal["reason"] for refusal in said["refused"])
        assert answer.status_code == (202 if not said["refused"] else 207 if said["accepted"] else 422)
    elif answer.status_code >= 400:
        assert said["error"]["code"]
        assert said["error"]["reason"]
        assert after == before
