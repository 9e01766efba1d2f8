# /// script
# requires-python = ">=3.11"
# dependencies = ["ray[serve]>=2.50", "numpy", "scikit-learn", "skops"]
# ///
"""Ray Serve: one replica with batches of up to 512 and a wait of 5 ms at most, over HTTP."""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

import ray
from ray import serve as ray_serve

from benchmarks.entrant import Peer, Row, Scored, Way, model, score, serve
from benchmarks.web import Web


@ray_serve.deployment(num_replicas=1, max_ongoing_requests=4_096, ray_actor_options={"num_cpus": 1})
class Scorer:
    """The model; requests that wait at the same time are scored in one call."""

    def __init__(self) -> None:
        model()

    @ray_serve.batch(max_batch_size=512, batch_wait_timeout_s=0.005)
    async def many(self, rows: list[Row]) -> list[Scored]:
        """All that wait."""
        return score(rows)

    async def __call__(self, request: Any) -> Scored:
        found: Scored = await self.many((await request.json())["row"])
        return found


class Ray(Peer):
    """HTTP, one row a request."""

    packages = ("ray",)
    ways = {"Ray Serve, batches": Way(2_000, 100)}
    queue = False

    def __init__(self, url: str, way: str, port: int) -> None:
        super().__init__(url, way, port)
        self._web = Web(port, "/score")

    def command(self) -> list[str]:
        os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_MODE="disabled")
        return ["python", "-m", "benchmarks.peers.ray", "worker"]

    async def ask(self, row: Row) -> int:
        return int(json.loads(await self._web.post(json.dumps({"row": row}).encode()))["label"])


def work() -> None:
    """Start everything and wait to be ended."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ray.init(num_cpus=2, include_dashboard=False, configure_logging=False)
    ray_serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ["PEER_PORT"])})
    deployment: Any = Scorer
    ray_serve.run(deployment.bind(), route_prefix="/score")
    signal.pause()


if __name__ == "__main__":
    work() if "worker" in sys.argv else serve(Ray)
