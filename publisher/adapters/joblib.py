"""joblib's workers as lanes of a run: tasks of each, idle time, stragglers.

    with lanes(run, "loky", n_jobs=4):
        forest.fit(X, y)  # or joblib.Parallel()(...)

joblib tells nobody of progress, but a backend may be registered. One that is derived from another hands out tasks that
bring back where and when they ran, and gives joblib what they returned. `items` of a batch and the table of backends
are not among the documented names of joblib, so a test asks each release for them.
https://joblib.readthedocs.io/en/stable/custom_parallel_backend.html
"""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from joblib import parallel_config, register_parallel_backend
from joblib.parallel import BACKENDS, EXTERNAL_BACKENDS

from headrace.errors import SettingsError
from headrace.publisher.adapters.hook import Reporter, hook
from headrace.publisher.run import Run

LANES = 8
"""Lanes with curves of their own: a run has room for 20."""
RECENT = 1_000

Lane = tuple[str, int, int]
"""Host, process and thread of a worker."""


@contextmanager
def lanes(run: Run, backend: str = "loky", n_jobs: int = -1) -> Iterator[Lanes]:
    """Within it, joblib runs on `backend`, and the run shows what its workers do.

    Any backend that joblib knows: loky, multiprocessing, threading; dask, once there is a Client; ray, after its
    `register_ray`. Raises SettingsError for others.
    """
    found = Lanes(run)
    kind = _kind(backend)
    name = f"headrace-{backend}-{id(found)}"

    class Watched(kind):  # type: ignore[misc, valid-type]
        def submit(self, func: Any, callback: Any = None) -> Any:
            func.items = [(Timed(task), args, kwargs) for task, args, kwargs in func.items]
            return super().submit(func, callback)

        def retrieve_result_callback(self, out: Any) -> Any:
            return found.take(super().retrieve_result_callback(out))

    register_parallel_backend(name, Watched)
    try:
        with parallel_config(name, n_jobs=n_jobs):
            yield found
    finally:
        BACKENDS.pop(name, None)
    found.end()


class Timed:
    """A task that also says which worker ran it, and when."""

    def __init__(self, task: Callable[..., Any]) -> None:
        self.task = task

    def __call__(self, *args: Any, **kwargs: Any) -> Ran:
        began = time.time()
        value = self.task(*args, **kwargs)
        return Ran(value, (os.uname().nodename, os.getpid(), threading.get_ident()), began, time.time())


class Ran(NamedTuple):
    """What a task returned, and where and when it did."""

    value: Any
    lane: Lane
    began: float
    ended: float


class Lanes(Reporter):
    """What is known of the workers; each batch that comes back is a step of as many tasks as it held."""

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.tasks = self.batches = 0
        self.busy_s: dict[Lane, float] = {}
        self.counts: dict[Lane, int] = {}
        self.began = self.ended = time.time()
        """When the first task began, and when the last ended, of those that came back."""
        self._times: deque[float] = deque(maxlen=RECENT)
        self._lock = threading.Lock()

    @property
    def idle(self) -> float:
        """The share of the workers' time in which they did nothing, since the first task began."""
        passed_s = (self.ended - self.began) * len(self.busy_s)
        return max(0.0, 1 - sum(self.busy_s.values()) / passed_s) if passed_s > 0 else 0.0

    @property
    def straggler(self) -> float:
        """How many times as long as the usual task the longest took, of the last thousand."""
        usual_s = statistics.median(self._times) if self._times else 0.0
        return max(self._times) / usual_s if usual_s > 0 else 1.0

    def take(self, batch: Sequence[Ran]) -> list[Any]:
        """What the tasks of a batch returned, which has come back."""
        self.done(batch)
        return [ran.value for ran in batch]

    @hook
    def done(self, batch: Sequence[Ran]) -> None:
        """Count a batch."""
        with self._lock:
            began = min(ran.began for ran in batch)
            self.began = min(self.began, began) if self.tasks else began
            self.batches += 1
            self.tasks += len(batch)
            for _, lane, since, ended in batch:
                self.busy_s[lane] = self.busy_s.get(lane, 0.0) + ended - since
                self.counts[lane] = self.counts.get(lane, 0) + 1
                self.ended = max(self.ended, ended)
                self._times.append(ended - since)
            found: dict[str, float] = {"tasks": self.tasks, "idle": self.idle, "straggler": self.straggler}
            for number, (lane, count) in enumerate(self.counts.items()):
                if number < LANES:
                    found[f"lane {number + 1} tasks"] = count
                    found[f"lane {number + 1} busy s"] = self.busy_s[lane]
            self.tell(found, self.tasks)


def _kind(backend: str) -> Any:
    """The class behind a name. Raises SettingsError for a name that joblib does not know."""
    if backend in EXTERNAL_BACKENDS:
        EXTERNAL_BACKENDS[backend]()
    if not isinstance(kind := BACKENDS.get(backend), type):
        raise SettingsError(
            f"joblib knows no backend {backend!r} that could be watched; it knows {', '.join(sorted(BACKENDS))}. "
            "For ray, call ray.util.joblib.register_ray() first"
        )
    return kind
