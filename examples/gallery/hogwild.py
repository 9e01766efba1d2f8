"""Hogwild!: processes train one model in shared memory without a lock, beside a twin that takes one for each update.

The weights of a logistic regression are a file in memory that every process has mapped. Without a lock, updates that
meet may overwrite each other; where rows are sparse they rarely meet, and the model is as good. The twin makes its
processes take turns.

From: Recht, Re, Wright and Niu, Hogwild!, 2011.
Look at: the loss of both runs by time, not by step: one curve a process, two processes a run.
Checked: both models tell held-out rows apart as well as a single process does, to three points of a hundred; the
weights that the workers trained are those that the parent sees; every update was made.
Needs: nothing more
Weight: light
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from contextlib import nullcontext
from multiprocessing.context import SpawnContext
from pathlib import Path
from typing import Any

import numpy as np

from headrace import Settings
from headrace.events import new_id
from stage import Show, play, ranked

WORKERS = 2
FEATURES = 2_000
FILLED = 20
"""Values of a row that are not zero: what makes updates sparse."""
BLOCK = 20
"""Rows of one update."""
LOG_EVERY = 25
RATE = 0.5
TRUTH = np.random.default_rng(7).normal(size=FEATURES)
"""The weights that the labels come from."""


def main(show: Show) -> str:
    rows, passes = show.sizes["rows"], show.sizes["passes"]
    context = multiprocessing.get_context("spawn")
    updates = passes * (rows // WORKERS // BLOCK)
    scores, seconds = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for kind, lock in {"locked": context.Lock(), "hogwild": None}.items():
            path = Path(folder, kind)
            weights = np.memmap(path, dtype=np.float64, mode="w+", shape=FEATURES)
            began_s = time.monotonic()
            made = train(context, show, kind, path, rows, passes, lock)
            seconds[kind] = time.monotonic() - began_s
            show.check(made == WORKERS * updates, f"{kind}: {made} updates instead of {WORKERS * updates}")
            scores[kind] = accuracy(weights)
        alone = np.zeros(FEATURES)
        for worker in range(WORKERS):
            for step, (columns, values, truth) in enumerate(blocks(rows, passes, worker), 1):
                descend(alone, columns, values, truth, step)
        scores["one process"] = accuracy(alone)
    for kind in ("locked", "hogwild"):
        gap = abs(scores[kind] - scores["one process"])
        show.check(gap < 0.03, f"{kind} scores {scores[kind]:.3f}, one process {scores['one process']:.3f}")
    said = ", ".join(f"{kind} {score:.3f}" for kind, score in scores.items())
    return f"accuracy {said}; {seconds['hogwild']:.1f} s without lock, {seconds['locked']:.1f} s with it"


def train(context: SpawnContext, show: Show, kind: str, path: Path, rows: int, passes: int, lock: Any) -> int:
    """Run the workers to their end: how many updates they made."""
    run, counter = new_id(), context.Value("i", 0)
    given = (show.settings, run, kind, path, rows, passes)
    workers = [context.Process(target=work, args=(*given, worker, lock, counter)) for worker in range(WORKERS)]
    for process in workers:
        process.start()
    for process in workers:
        process.join()
    show.expect(run, metrics=WORKERS * (passes * (rows // WORKERS // BLOCK) // LOG_EVERY), ranks=WORKERS)
    return int(counter.value)


def work(
    settings: Settings, run: str, kind: str, path: Path, rows: int, passes: int, worker: int, lock: Any, counter: Any
) -> None:
    """One process: update the shared weights with its own rows, and say how the loss goes."""
    weights = np.memmap(path, dtype=np.float64, mode="r+", shape=FEATURES)
    losses = []
    step = 0
    with ranked(settings, run, kind, worker, WORKERS, rows=rows, passes=passes) as logged:
        for step, (columns, values, truth) in enumerate(blocks(rows, passes, worker), 1):
            with lock or nullcontext():
                losses.append(descend(weights, columns, values, truth, step))
            if step % LOG_EVERY == 0:
                logged.log(step=step, loss=np.mean(losses[-LOG_EVERY:]))
    with counter.get_lock():
        counter.value += step


def descend(weights: Any, columns: Any, values: Any, truth: Any, step: int) -> float:
    """One step of stochastic gradient descent on a block of sparse rows, in place; the loss before it."""
    margins = (weights[columns] * values).sum(axis=1)
    chances = 1 / (1 + np.exp(-margins))
    gradient = (chances - truth)[:, None] * values
    np.subtract.at(weights, columns, RATE / np.sqrt(1 + step / 100) * gradient)
    return float(-np.mean(np.log(np.where(truth, chances, 1 - chances) + 1e-12)))


def blocks(rows: int, passes: int, worker: int) -> Any:
    """Seeded sparse rows with noisy labels of one linear truth, block by block, the same in every pass."""
    for _ in range(passes):
        rng = np.random.default_rng(worker)
        for _ in range(rows // WORKERS // BLOCK):
            yield sparse(rng, BLOCK)


def sparse(rng: np.random.Generator, count: int) -> tuple[Any, Any, Any]:
    columns = rng.integers(0, FEATURES, (count, FILLED))
    values = rng.normal(size=(count, FILLED))
    margins = (TRUTH[columns] * values).sum(axis=1)
    return columns, values, rng.random(count) < 1 / (1 + np.exp(-margins))


def accuracy(weights: Any) -> float:
    """The share of held-out rows that the weights tell right."""
    columns, values, truth = sparse(np.random.default_rng(10_000), 5_000)
    return float((((weights[columns] * values).sum(axis=1) > 0) == truth).mean())


if __name__ == "__main__":
    play(main, ("numpy",), rows=(80_000, 12_000), passes=(2, 1))
