# /// script
# requires-python = ">=3.11"
# dependencies = ["redis", "numpy", "scikit-learn", "skops"]
# ///
"""The list of the Keras and Redis tutorials: a worker and clients that look into it every quarter second."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import redis

from benchmarks.entrant import Peer, Row, Way, model, score, serve

QUEUE = "polling:requests"
RESULT = "polling:result:"
AT_ONCE = 32
SLEEP_S = 0.25
"""Worker and clients sleep so long between two looks, as in the tutorials."""


class Polling(Peer):
    """A list and a key for each result."""

    packages = ("redis",)
    ways = {"polling list": Way(320, 50)}

    def __init__(self, url: str, way: str, port: int) -> None:
        super().__init__(url, way, port)
        self._server = redis.Redis.from_url(url)
        self._ids: list[str] = []

    def command(self) -> list[str]:
        return ["python", "-m", "benchmarks.peers.polling", "worker"]

    def ask(self, row: Row) -> int:
        name = self._send(row)
        while (found := self._server.getdel(RESULT + name)) is None:
            time.sleep(SLEEP_S)
        return int(json.loads(found)["label"])

    def enqueue(self, rows: Sequence[Row]) -> None:
        self._ids = [self._send(row) for row in rows]

    def done(self) -> int:
        return int(self._server.exists(*(RESULT + name for name in self._ids)))

    def labels(self) -> list[int]:
        found: list[Any] = self._server.mget([RESULT + name for name in self._ids])
        return [json.loads(result)["label"] for result in found]

    def _send(self, row: Row) -> str:
        name = str(uuid4())
        self._server.rpush(QUEUE, json.dumps({"id": name, "x": row}))
        return name


def work() -> None:
    """Take what is there, score it in one call, store each result, sleep."""
    server = redis.Redis.from_url(os.environ["PEER_URL"])
    model()
    while True:
        requests = [json.loads(item) for item in server.lrange(QUEUE, 0, AT_ONCE - 1)]
        if requests:
            for request, result in zip(requests, score([request["x"] for request in requests]), strict=True):
                server.set(RESULT + request["id"], json.dumps(result))
            server.ltrim(QUEUE, len(requests), -1)
        time.sleep(SLEEP_S)


if __name__ == "__main__":
    work() if "worker" in sys.argv else serve(Polling)
