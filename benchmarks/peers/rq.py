# /// script
# requires-python = ">=3.11"
# dependencies = ["rq>=3", "numpy", "scikit-learn", "skops"]
# ///
"""RQ: a process for each job, as it comes, and SimpleWorker, which works in its own."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import Any

import redis
from rq import Queue, SimpleWorker, Worker
from rq.job import Job

from benchmarks.entrant import Peer, Row, Scored, Way, model, score, serve

KEEP_S = 600
TASK = "benchmarks.peers.rq.score_one"
LOOK_S = 0.001


class Rq(Peer):
    """A queue; results are read from the jobs."""

    packages = ("rq", "redis")
    ways = {"RQ, SimpleWorker": Way(2_000, 200), "RQ, a process a job": Way(300, 30)}

    def __init__(self, url: str, way: str, port: int) -> None:
        super().__init__(url, way, port)
        self._server = redis.Redis.from_url(url)
        self._queue = Queue(connection=self._server)
        self._jobs: list[Job] = []
        self._earlier = 0

    def command(self) -> list[str]:
        return ["python", "-m", "benchmarks.peers.rq", "worker"]

    def ask(self, row: Row) -> int:
        job = self._queue.enqueue(TASK, row, result_ttl=KEEP_S)
        while (result := job.latest_result()) is None:
            time.sleep(LOOK_S)
        return int(result.return_value["label"])

    def enqueue(self, rows: Sequence[Row]) -> None:
        self._earlier = self._queue.finished_job_registry.count
        prepared = [Queue.prepare_data(TASK, args=(row,), result_ttl=KEEP_S) for row in rows]
        self._jobs = self._queue.enqueue_many(prepared)

    def done(self) -> int:
        return int(self._queue.finished_job_registry.count) - self._earlier

    def labels(self) -> list[int]:
        results: list[Any] = [job.latest_result() for job in self._jobs]
        return [result.return_value["label"] for result in results]


def score_one(row: Row) -> Scored:
    """The job."""
    return score([row])[0]


def work() -> None:
    """Load the model once, before any process is forked; then work."""
    model()
    server = redis.Redis.from_url(os.environ["PEER_URL"])
    kind = SimpleWorker if "Simple" in os.environ["PEER_WAY"] else Worker
    kind([Queue(connection=server)], connection=server).work(logging_level="WARNING")


if __name__ == "__main__":
    work() if "worker" in sys.argv else serve(Rq)
