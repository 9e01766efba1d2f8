"""joblib's workers as lanes of a run: tasks of each, idle time, stragglers.

    with lanes(run, "loky", n_jobs=4):
        forest.fit(X, y)  # or joblib.Parallel()(...)

joblib tells nobody of progress, but a backend may be registered. It hands out batches of tasks: `len` of a batch counts
them. Each batch brings back where and when it ran; that is all it carries. The classes below come from a private module
of joblib, so a test asks each release for them. https://joblib.readthedocs.io/en/stable/custom_parallel_backend.html
"""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from joblib import parallel_config, register_parallel_backend
from joblib._parallel_backends import LokyBackend, ThreadingBackend

from headrace.publisher.adapters.hook import Reporter, hook
from headrace.publisher.run import Run

LANES = 8
"""Lanes with curves of their own: a run has room for 20."""
RECENT = 1_000


@contextmanager
def lanes(run: Run, backend: Literal["loky", "threading"] = "loky", n_jobs: int = -1) -> Iterator[Lanes]:
    """Within it, joblib runs on `backend`, and the run shows what its workers do."""
    found = Lanes(run)
    kind = {"loky": LokyBackend, "threading": ThreadingBackend}[backend]
    name = f"headrace-{backend}-{id(found)}"

    class Watched(kind):  # type: ignore[misc, valid-type]
        def submit(self, func: Any, callback: Any = None) -> Any:
            def done(out: Any) -> None:
                found.done(out)
                callback(out)

            return super().submit(Timed(func), done if callback else None)

    register_parallel_backend(name, Watched)
    with parallel_config(name, n_jobs=n_jobs):
        yield found
    found.end()


class Timed:
    """A batch of tasks that also says which worker ran it, and when."""

    def __init__(self, batch: Any) -> None:
        self.batch = batch

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        began = time.time()
        results = Results(self.batch(*args, **kwargs))
        results.lane = (os.getpid(), threading.get_ident())
        results.began, results.ended = began, time.time()
        return results

    def __len__(self) -> int:
        return len(self.batch)


class Results(list[Any]):
    """What the tasks of a batch gave."""

    lane: tuple[int, int]
    began: float
    ended: float


class Lanes(Reporter):
    """What is known of the workers; each batch that comes back is a step of as many tasks as it held."""

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.tasks = 0
        self.busy_s: dict[tuple[int, int], float] = {}
        self.counts: dict[tuple[int, int], int] = {}
        self._began = time.time()
        self._times: deque[float] = deque(maxlen=RECENT)
        self._lock = threading.Lock()

    @property
    def idle(self) -> float:
        """The share of the workers' time in which they did nothing, since the first batch began."""
        passed_s = (time.time() - self._began) * len(self.busy_s)
        return max(0.0, 1 - sum(self.busy_s.values()) / passed_s) if passed_s > 0 else 0.0

    @hook
    def done(self, out: Any) -> None:
        """A batch came back: as a future from loky, as its results from a pool of threads."""
        results = out if isinstance(out, Results) else _result(out)
        if not isinstance(results, Results):
            return
        with self._lock:
            if not self.tasks:
                self._began = results.began
            took_s = results.ended - results.began
            self.tasks += len(results)
            self.busy_s[results.lane] = self.busy_s.get(results.lane, 0.0) + took_s
            self.counts[results.lane] = self.counts.get(results.lane, 0) + len(results)
            self._times.append(took_s / max(1, len(results)))
            usual_s = statistics.median(self._times)
            found: dict[str, float] = {"tasks": self.tasks, "idle": self.idle}
            found["straggler"] = max(self._times) / usual_s if usual_s > 0 else 1.0
            for number, (lane, count) in enumerate(self.counts.items()):
                if number < LANES:
                    found[f"lane {number + 1} tasks"] = count
                    found[f"lane {number + 1} busy s"] = self.busy_s[lane]
            self.tell(found, self.tasks)


def _result(future: Any) -> Any:
    result: Callable[[], Any] | None = getattr(future, "result", None)
    return result() if result is not None and not future.exception() else None
