# /// script
# requires-python = ">=3.11"
# dependencies = ["arq>=0.28", "hiredis", "numpy", "scikit-learn", "skops"]
# ///
"""arq: one process, a hundred jobs at a time, looking for more every 10 ms (half a second is the default)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Any

from arq import create_pool
from arq.connections import ArqRedis, RedisSettings
from arq.constants import result_key_prefix
from arq.jobs import Job

from benchmarks.entrant import Peer, Row, Scored, Way, model, score, serve

LOOK_S = 0.01
AT_ONCE = 100
PAGE = 1_000


async def score_one(context: dict[str, Any], row: Row) -> Scored:
    """The job."""
    return score([row])[0]


async def load(context: dict[str, Any]) -> None:
    """The worker loads the model before its first job."""
    model()


class Settings:
    """What the worker reads."""

    functions = [score_one]
    on_startup = load
    redis_settings = RedisSettings.from_dsn(os.environ.get("PEER_URL", "redis://127.0.0.1:6379/0"))
    poll_delay = LOOK_S
    max_jobs = AT_ONCE


class Arq(Peer):
    """Jobs, each with a key for its result."""

    packages = ("arq", "redis")
    ways = {"arq, 100 jobs at a time": Way(4_000, 200)}

    def __init__(self, url: str, way: str, port: int) -> None:
        super().__init__(url, way, port)
        self._pool: ArqRedis | None = None
        self._jobs: list[Job] = []

    def command(self) -> list[str]:
        return ["arq", "benchmarks.peers.arq.Settings"]

    async def ask(self, row: Row) -> int:
        job = await self._send(row)
        return int((await job.result(poll_delay=LOOK_S))["label"])

    async def enqueue(self, rows: Sequence[Row]) -> None:
        self._jobs = []
        for at in range(0, len(rows), AT_ONCE):
            self._jobs += await asyncio.gather(*map(self._send, rows[at : at + AT_ONCE]))

    async def done(self) -> int:
        assert self._pool is not None
        keys = [result_key_prefix + job.job_id for job in self._jobs]
        found = 0
        for at in range(0, len(keys), PAGE):
            found += await self._pool.exists(*keys[at : at + PAGE])
        return found

    async def labels(self) -> list[int]:
        return [(await job.result())["label"] for job in self._jobs]

    async def _send(self, row: Row) -> Job:
        if self._pool is None:
            self._pool = await create_pool(RedisSettings.from_dsn(self.url))
        job = await self._pool.enqueue_job("score_one", row)
        assert job is not None
        return job


if __name__ == "__main__":
    serve(Arq)
