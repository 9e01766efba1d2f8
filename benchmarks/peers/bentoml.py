# /// script
# requires-python = ">=3.11"
# dependencies = ["bentoml>=1.4", "numpy", "scikit-learn", "skops"]
# ///
"""BentoML: one service with adaptive batches, over HTTP."""

from __future__ import annotations

import json
import os

import bentoml
import numpy as np

from benchmarks.entrant import Peer, Row, Way, model, serve
from benchmarks.web import Web


@bentoml.service(workers=1, traffic={"timeout": 60, "max_concurrency": 4096}, logging={"access": {"enabled": False}})
class Scorer:
    """The model; requests that wait at the same time are scored in one call."""

    def __init__(self) -> None:
        self._predict = model()

    @bentoml.api(batchable=True, max_batch_size=512, max_latency_ms=2_000)
    def score(self, rows: np.ndarray) -> np.ndarray:
        """Probabilities of some rows."""
        found: np.ndarray = self._predict(rows.astype(np.float32)).astype(np.float32)
        return found


class Bento(Peer):
    """HTTP, one row a request."""

    packages = ("bentoml",)
    ways = {"BentoML, adaptive batches": Way(3_000, 200)}
    queue = False

    def __init__(self, url: str, way: str, port: int) -> None:
        super().__init__(url, way, port)
        self._web = Web(port, "/score")

    def command(self) -> list[str]:
        os.environ["BENTOML_DO_NOT_TRACK"] = "True"
        return ["bentoml", "serve", "benchmarks.peers.bentoml:Scorer", "--port", str(self.port), "--host", "127.0.0.1"]

    async def ask(self, row: Row) -> int:
        answer = json.loads(await self._web.post(json.dumps({"rows": [row]}).encode()))
        return int(np.argmax(answer[0]))


if __name__ == "__main__":
    serve(Bento)
