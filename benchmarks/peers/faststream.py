# /// script
# requires-python = ">=3.11"
# dependencies = ["faststream[cli,redis]>=0.7", "hiredis", "orjson", "numpy", "scikit-learn", "skops"]
# ///
"""FastStream over a Redis stream: one request at a time, and in batches of up to 512."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from faststream import FastStream
from faststream.redis import RedisBroker, StreamSub
from redis.asyncio import Redis

from benchmarks.entrant import Peer, Row, Way, model, score, serve

AT_ONCE = 512
STREAM = "faststream:requests"
Request = dict[str, Any]
"""`id`, `x` and `to`: the list that its result goes to."""

broker = RedisBroker(os.environ.get("PEER_URL", "redis://127.0.0.1:6379/0"), logger=None)
app = FastStream(broker, logger=None)
batch = "batch" in os.environ.get("PEER_WAY", "")
stream = StreamSub(STREAM, group="scorers", consumer="one", batch=batch, max_records=AT_ONCE if batch else 10)


async def score_batch(requests: list[Request]) -> None:
    """All that was read at once, in one call; the results in one command."""
    results = score([request["x"] for request in requests])
    named = [{"id": request["id"], **result} for request, result in zip(requests, results, strict=True)]
    await broker.publish_batch(*named, list=requests[0]["to"])


async def score_one(request: Request) -> None:
    """One request, one result."""
    await broker.publish({"id": request["id"], **score([request["x"]])[0]}, list=request["to"])


broker.subscriber(stream=stream)(score_batch if batch else score_one)


@app.on_startup
async def load() -> None:
    """The worker loads the model before its first request."""
    model()


class Stream(Peer):
    """Requests in a stream, results in a list, which the client reads as they come."""

    packages = ("faststream", "redis")
    ways = {"FastStream, one by one": Way(5_000, 200), "FastStream, batches": Way(30_000, 200)}

    def __init__(self, url: str, way: str, port: int) -> None:
        super().__init__(url, way, port)
        self._broker = RedisBroker(url, logger=None)
        self._server = Redis.from_url(url)
        self._hearing: asyncio.Task[None] | None = None
        self._waiting: dict[str, asyncio.Future[int]] = {}
        self._ids: list[str] = []

    def command(self) -> list[str]:
        return ["faststream", "run", "benchmarks.peers.faststream:app"]

    async def ask(self, row: Row) -> int:
        await self._open()
        name = uuid4().hex
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting[name] = answer
        await self._broker.publish({"id": name, "x": row, "to": "faststream:asked"}, stream=STREAM)
        return await answer

    async def enqueue(self, rows: Sequence[Row]) -> None:
        self._ids = [uuid4().hex for _ in rows]
        for at in range(0, len(rows), AT_ONCE):
            async with self._server.pipeline(transaction=False) as pipeline:
                for name, row in zip(self._ids[at : at + AT_ONCE], rows[at : at + AT_ONCE], strict=True):
                    request = {"id": name, "x": row, "to": "faststream:results"}
                    await self._broker.publish(request, stream=STREAM, pipeline=pipeline)
                await pipeline.execute()

    async def done(self) -> int:
        return int(await self._server.llen("faststream:results"))

    async def labels(self) -> list[int]:
        results: list[Any] = await self._server.lrange("faststream:results", 0, -1)
        found = dict(map(_named, results))
        return [found[name] for name in self._ids]

    async def close(self) -> None:
        if self._hearing is not None:
            self._hearing.cancel()
            await asyncio.wait({self._hearing})
        await self._broker.stop()
        await self._server.aclose()

    async def _open(self) -> None:
        if self._hearing is None:
            self._hearing = asyncio.create_task(self._hear())
            await self._broker.connect()

    async def _hear(self) -> None:
        while True:
            found: Any = await self._server.blpop("faststream:asked", 1)
            if found is not None:
                name, label = _named(found[1])
                self._waiting.pop(name).set_result(label)


def _named(raw: bytes) -> tuple[str, int]:
    """The name and the label in a result; FastStream puts a frame of its own around the JSON."""
    text = json.loads(raw[raw.index(b"{") :]) if raw[:1] == b"{" else _framed(raw)
    return text["id"], text["label"]


def _framed(raw: bytes) -> dict[str, Any]:
    from faststream.redis.parser import BinaryMessageFormatV1

    body, _ = BinaryMessageFormatV1.parse(raw)
    found: dict[str, Any] = json.loads(body)
    return found


if __name__ == "__main__":
    serve(Stream)
