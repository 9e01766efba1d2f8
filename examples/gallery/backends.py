"""One forest on every backend of joblib: loky, multiprocessing, threading, Dask and Ray; their workers as lanes.

A forest is the easy case: each tree is a task of its own. What the backends differ in is how a task gets to a worker,
and the tree back from it: threads share the rows, and trees are grown without the interpreter's lock; processes must be
started, and be sent rows and trees. So the forest is the same and its time is not. The clusters of Dask and Ray are up
before the clock runs; what else a backend starts is within its time.

From: joblib's backends, which scikit-learn runs on, and those that Dask and Ray add to it.
Look at: the runs side by side: trees of each lane, `idle`, the share of their time in which workers did nothing, and
`straggler`, how many times as long as the usual tree the slowest took; the candidates, with speed-up and start.
Checked: every backend grows the forest of one worker, leaf for leaf; each tree is a task in one lane, counted in the
log; no lane is busier than its time allows.
Needs: nothing more, backends for all of it
Weight: heavy
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from typing import Any

# Processes that are forked from one with threads may inherit a lock that nobody opens any more. Read by joblib.
os.environ.setdefault("JOBLIB_START_METHOD", "forkserver")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import numpy as np
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier

from headrace import adapters
from headrace.events import RunMetrics
from stage import Show, play

WORKERS = 2
FEATURES = 20
UNDISTURBED = 0.9
"""The share of a core that a single worker gets on a machine that does nothing else."""


@contextmanager
def dask() -> Iterator[None]:
    """A scheduler and its workers, which are the backend's as long as there is a client."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=WORKERS, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster),
    ):
        yield


@contextmanager
def ray() -> Iterator[None]:
    """Ray on this machine. It gives joblib's pools another base for good, so whatever uses them comes before."""
    import ray
    from ray.util.joblib import register_ray

    ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        register_ray()
        yield
    finally:
        ray.shutdown()


BACKENDS: dict[str, tuple[str, Callable[[], Any]]] = {
    "threading": ("", nullcontext),
    "loky": ("", nullcontext),
    "multiprocessing": ("", nullcontext),
    "dask": ("distributed", dask),
    "ray": ("ray", ray),
}
"""The package that each needs beyond joblib, and what must be there while it works."""


def main(show: Show) -> str:
    trees = show.sizes["trees"]
    rows, labels = make_classification(show.sizes["rows"], FEATURES, n_informative=10, random_state=0)
    multiprocessing.set_forkserver_preload(["sklearn.ensemble", "headrace.publisher.adapters.joblib"])
    # Clusters take longer to start than a small forest to grow.
    skipped = [name for name, (needs, _) in BACKENDS.items() if needs and (show.quick or not find_spec(needs))]
    there = [name for name in BACKENDS if name not in skipped]
    said: list[str] = []
    with show.run("one forest", {"trees": trees, "rows": len(rows)}) as every:
        forest, *times = grown(trees, rows, labels)
        leaves, alone = forest.apply(rows), [times]
        for name in there:
            with (
                BACKENDS[name][1](),
                show.run(f"forest: {name}", {"workers": WORKERS}, total_steps=trees) as run,
                adapters.joblib.lanes(run, name, WORKERS) as lanes,
            ):
                began = time.time()
                forest, seconds, _ = grown(trees, rows, labels)
            show.expect(run, metrics=lanes.batches)
            show.check(np.array_equal(forest.apply(rows), leaves), f"on {name} another forest has grown")
            prove(show, run.id, name, trees, seconds)
            # One worker before and one after, as other work on the machine comes and goes.
            _, *times = grown(trees, rows, labels)
            alone.append(times)
            speedup, start_s = (alone[-2][0] + alone[-1][0]) / 2 / seconds, lanes.began - began
            figures: dict[str, Any] = {"speed-up": speedup, "start s": start_s, "idle": lanes.idle}
            every.candidate(name, {"backend": name}, straggler=lanes.straggler, **figures)
            said.append(f"{name} {speedup:.2f} ({start_s:.1f} s, {lanes.idle:.0%})")
    show.expect(every, candidates=len(there))
    alone_s, alone_cpu_s = np.mean(alone, axis=0)
    notes = [f"skipped: {', '.join(skipped)}"] if skipped else []
    if (share := alone_cpu_s / alone_s) < UNDISTURBED:
        notes.append(f"other work left one worker {share:.0%} of a core, so times say little")
    measured = f"one worker takes {alone_s:.1f} s, speed-up by {WORKERS} (start, idle): {', '.join(said)}"
    return "; ".join([f"{trees} trees, the same from all", measured, *notes])


def grown(trees: int, rows: Any, labels: Any) -> tuple[RandomForestClassifier, float, float]:
    """A forest from whatever joblib is set to, its seconds, and those that this process has computed."""
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    forest = RandomForestClassifier(trees, random_state=0).fit(rows, labels)
    return forest, time.perf_counter() - began_s, time.process_time() - began_cpu_s


def prove(show: Show, run: str, name: str, trees: int, seconds: float) -> None:
    """The last event in the log counts each tree once, and no lane longer than the fit took."""
    show.publisher.flush()
    told = [event.metrics for event in show.log("runs") if isinstance(event, RunMetrics) and event.run == run]
    counts, busy_s = (
        [value or 0.0 for key, value in told[-1].items() if key.startswith("lane ") and key.endswith(kind)]
        for kind in ("tasks", "busy s")
    )
    show.check(
        sum(counts) == told[-1]["tasks"] == trees and 1 <= len(counts) <= WORKERS,
        f"on {name} the lanes had {counts} trees of {trees}",
    )
    show.check(max(busy_s) <= seconds + 0.1, f"on {name} a lane was busy for {max(busy_s):.1f} of {seconds:.1f} s")


if __name__ == "__main__":
    present = (needs for needs, _ in BACKENDS.values() if needs and find_spec(needs))
    play(main, ("scikit-learn", "joblib", *present), rows=(10_000, 1_000), trees=(100, 20))
