# /// script
# requires-python = ">=3.11"
# dependencies = ["taskiq>=0.13", "taskiq-redis>=1.2", "hiredis", "numpy", "scikit-learn", "skops"]
# ///
"""taskiq over a Redis stream: two processes, results in the server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Any

from taskiq import AsyncTaskiqTask, TaskiqEvents
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from benchmarks.entrant import Peer, Row, Scored, Way, model, score, serve

LOOK_S = 0.002
AT_ONCE = 100
PAGE = 1_000


def made(url: str) -> RedisStreamBroker:
    """The broker that worker and client share."""
    return RedisStreamBroker(url).with_result_backend(RedisAsyncResultBackend(url, result_ex_time=600))


broker = made(os.environ.get("PEER_URL", "redis://127.0.0.1:6379/0"))


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def load(state: Any) -> None:
    """Each process loads the model before its first task."""
    model()


@broker.task(task_name="score_one")
async def score_one(row: Row) -> Scored:
    """The task."""
    return score([row])[0]


class Taskiq(Peer):
    """Tasks, each with a key for its result."""

    packages = ("taskiq", "taskiq-redis", "redis")
    ways = {"taskiq, 2 processes": Way(4_000, 200)}

    def __init__(self, url: str, way: str, port: int) -> None:
        super().__init__(url, way, port)
        self._started = False
        self._broker = made(url)
        self._tasks: list[AsyncTaskiqTask[Any]] = []

    def command(self) -> list[str]:
        return ["taskiq", "worker", "benchmarks.peers.taskiq:broker", "--workers", "2", "--log-level", "WARNING"]

    async def ask(self, row: Row) -> int:
        task = await self._send(row)
        result = await task.wait_result(check_interval=LOOK_S)
        return int(result.return_value["label"])

    async def enqueue(self, rows: Sequence[Row]) -> None:
        self._tasks = []
        for at in range(0, len(rows), AT_ONCE):
            self._tasks += await asyncio.gather(*map(self._send, rows[at : at + AT_ONCE]))

    async def done(self) -> int:
        from redis.asyncio import Redis

        async with Redis.from_url(self.url) as server:
            names = [task.task_id for task in self._tasks]
            return sum([await server.exists(*names[at : at + PAGE]) for at in range(0, len(names), PAGE)])

    async def labels(self) -> list[int]:
        return [(await task.get_result()).return_value["label"] for task in self._tasks]

    async def _send(self, row: Row) -> AsyncTaskiqTask[Any]:
        if not self._started:
            self._started = True
            await self._broker.startup()
        return await score_one.kicker().with_broker(self._broker).kiq(row)


if __name__ == "__main__":
    serve(Taskiq)
