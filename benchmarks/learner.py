"""A training script in a process of its own: logistic regression by `partial_fit`, with live events or without."""

from __future__ import annotations

import asyncio
import gc
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.actor import serve
from benchmarks.loop import lost, sending
from benchmarks.stage import digits
from headrace.errors import BusError
from headrace.publisher.publisher import Publisher
from headrace.publisher.run import Run
from headrace.settings import Settings

POOL = 200_000
"""Rows in memory that take turns."""
TRIALS, STEPS = 40, 20
"""How often so many steps are timed: the quickest tells."""


class Learner:
    """Answers the requests of this process."""

    def __init__(self) -> None:
        from sklearn.linear_model import SGDClassifier

        self._rows = digits(POOL) / np.float32(16)
        self._labels = (np.arange(POOL) % 7 < 3).astype(np.int64)
        self._learner = SGDClassifier(loss="log_loss", random_state=0)
        self._learner.partial_fit(self._rows[:100], self._labels[:100], classes=np.arange(2))

    async def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        return await asyncio.to_thread(getattr(self, request.pop("do")), **request)

    def calibrate(self, step_s: float) -> dict[str, Any]:
        """How many rows a step has that takes so long on a machine that nothing slows down just then."""
        rows = 64
        while True:
            took_s = min(self._timed(rows) for _ in range(TRIALS))
            if took_s >= step_s / 4 or rows >= POOL // 8:
                return {"rows": max(1, min(POOL // 4, int(rows * step_s / took_s)))}
            rows *= 2

    def _timed(self, rows: int) -> float:
        began = time.perf_counter()
        self._learn(rows, STEPS, None)
        return (time.perf_counter() - began) / STEPS

    def train(self, how: str, url: str, prefix: str, spill: str, rows: int, steps: int) -> dict[str, Any]:
        """So many steps of so many rows; `how`: `bare`, or `alive` with a run that logs each step."""
        gc.collect()
        if how == "bare":
            wall_s, cpu_s = time.perf_counter(), time.process_time()
            self._learn(rows, steps, None)
            return {"wall_s": time.perf_counter() - wall_s, "cpu_s": time.process_time() - cpu_s}
        publisher = Publisher(Settings(redis_url=url, prefix=prefix, spill=Path(spill)))
        run = Run("bench", publisher=publisher)
        run.log(step=0, loss=0.0, rows=0)
        try:
            wall_s, cpu_s = time.perf_counter(), time.process_time()
            self._learn(rows, steps, run)
            return {"wall_s": time.perf_counter() - wall_s, "cpu_s": time.process_time() - cpu_s}
        finally:
            run.finish()
            publisher.close(10.0)

    def pay(self, url: str, prefix: str, spill: str, rows: int, seconds: float) -> dict[str, float]:
        """What steps that are logged lose, see `loop.lost`; microseconds."""
        publisher = Publisher(Settings(redis_url=url, prefix=prefix, spill=Path(spill)))
        run = Run("bench", publisher=publisher)
        run.log(step=0, loss=0.0, rows=0)
        fits: list[float] = []
        logs: list[float] = []
        busy: list[bool] = []
        learner, clock, used = self._learner, time.perf_counter_ns, sending()
        gc.collect()
        gc.disable()
        try:
            step = at = 0
            until = time.monotonic() + seconds
            before = used()
            while time.monotonic() < until:
                step += 1
                began = clock()
                learner.partial_fit(self._rows[at : at + rows], self._labels[at : at + rows])
                fitted = clock()
                run.log(step=step, loss=0.5, rows=step * rows)
                logged = clock()
                now = used()
                fits.append((fitted - began) / 1000)
                logs.append((logged - fitted) / 1000)
                busy.append(now != before)
                before = now
                at = at + rows if at + 2 * rows <= POOL else 0
            return lost(fits, logs, busy)
        finally:
            gc.enable()
            run.finish()
            with suppress(BusError):  # no server took it all
                publisher.close(0.2)

    def _learn(self, rows: int, steps: int, run: Run | None) -> None:
        learner, at = self._learner, 0
        for step in range(1, steps + 1):
            learner.partial_fit(self._rows[at : at + rows], self._labels[at : at + rows])
            if run is not None:
                run.log(step=step, loss=0.5, rows=step * rows)
            at = at + rows if at + 2 * rows <= POOL else 0


if __name__ == "__main__":
    serve(Learner())
