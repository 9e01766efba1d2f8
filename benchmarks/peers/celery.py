# /// script
# requires-python = ">=3.11"
# dependencies = ["celery[redis]>=5.6", "numpy", "scikit-learn", "skops"]
# ///
"""Celery: two processes that fetch ahead, results in the server."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from typing import Any

from celery import Celery
from celery.signals import worker_process_init

from benchmarks.entrant import Peer, Row, Scored, Way, model, score, serve

URL = os.environ.get("PEER_URL", "redis://127.0.0.1:6379/0")
app = Celery("peer", broker=URL, backend=URL)
app.conf.update(worker_prefetch_multiplier=64, result_expires=600, broker_connection_retry_on_startup=True)
LOOK_S = 0.001
PAGE = 1_000


@worker_process_init.connect
def load(**_: Any) -> None:
    """Each process loads the model before its first task."""
    model()


@app.task(name="score_one")
def score_one(row: Row) -> Scored:
    """The task."""
    return score([row])[0]


class Tasks(Peer):
    """Tasks, whose results are read from the backend's keys."""

    packages = ("celery", "kombu", "redis")
    ways = {"Celery, 2 processes": Way(4_000, 200)}

    def __init__(self, url: str, way: str, port: int) -> None:
        super().__init__(url, way, port)
        app.conf.update(broker_url=url, result_backend=url)
        self._keys: list[str] = []

    def command(self) -> list[str]:
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"]
        return ["celery", "-A", "benchmarks.peers.celery", "worker", "--pool", "prefork", "--concurrency", "2", *quiet]

    def ask(self, row: Row) -> int:
        key = self._send(row)
        while (found := app.backend.client.get(key)) is None:
            time.sleep(LOOK_S)
        return int(json.loads(found)["result"]["label"])

    def enqueue(self, rows: Sequence[Row]) -> None:
        self._keys = [self._send(row) for row in rows]

    def done(self) -> int:
        client = app.backend.client
        return sum(client.exists(*self._keys[at : at + PAGE]) for at in range(0, len(self._keys), PAGE))

    def labels(self) -> list[int]:
        return [json.loads(found)["result"]["label"] for found in app.backend.client.mget(self._keys)]

    def _send(self, row: Row) -> str:
        key: bytes = app.backend.get_key_for_task(score_one.delay(row).id)
        return key.decode()


if __name__ == "__main__":
    serve(Tasks)
