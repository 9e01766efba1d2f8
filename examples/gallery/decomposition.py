"""One random forest, decomposed by function and by data: which rows a worker needs, and what the forest loses.

By function, every worker grows some of the trees and sees all rows; the result is the forest that a single process
grows, tree for tree. By data, every worker sees its part of the rows only and grows its trees from that, as it must
where rows do not fit into one machine; the votes are added up. Both are measured, with the bytes that each worker read.

From: functional and data decomposition, the two ways of making a computation parallel.
Look at: the accuracy of the growing forests against trees, one run a decomposition; and `mb`, what the worker read.
Checked: by function, all predictions equal those of one process; by data, each worker read its share of the rows only,
and the accuracy is at most five points of a hundred lower.
Needs: nothing more
Weight: light
"""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.tree import DecisionTreeClassifier

from headrace import Settings
from headrace.events import new_id
from stage import Show, play, ranked

WORKERS = 2
LOG_EVERY = 5
"""Trees between two points of a curve."""


def main(show: Show) -> str:
    trees = show.sizes["trees"] // (WORKERS * LOG_EVERY) * WORKERS * LOG_EVERY
    rows, labels = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(rows, labels, test_size=0.3, random_state=0)
    seeds = np.random.default_rng(4).integers(2**31, size=trees)
    votes: dict[str, Any] = {}
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["sklearn.datasets", "sklearn.model_selection", "sklearn.tree"])
    with ProcessPoolExecutor(WORKERS, context) as pool:
        for kind in ("by function", "by data"):
            run, futures = new_id(), []
            for worker in range(WORKERS):
                part = slice(None) if kind == "by function" else slice(worker, None, WORKERS)
                learned = (np.ascontiguousarray(train_x[part]), train_y[part])
                given = (show.settings, run, kind, worker, *learned, test_x, test_y, seeds[worker::WORKERS])
                futures.append(pool.submit(grow, *given))
            found = [future.result() for future in futures]
            show.expect(run, metrics=trees // LOG_EVERY, ranks=WORKERS)
            votes[kind] = sum(each for each, _ in found)
            share = sum(read for _, read in found) / (WORKERS * train_x.nbytes)
            wanted = 1 if kind == "by function" else 1 / WORKERS
            show.check(abs(share - wanted) < 0.01, f"{kind}, a worker read {share:.0%} of the rows, not {wanted:.0%}")
    alone = sum(grown(train_x, train_y, seed).predict_proba(test_x) for seed in seeds)

    show.check(np.array_equal(votes["by function"].argmax(1), alone.argmax(1)), "by function, predictions differ")
    whole, parted = (float((votes[kind].argmax(1) == test_y).mean()) for kind in ("by function", "by data"))
    show.check(parted > whole - 0.05, f"by data the accuracy is {parted:.3f}, by function {whole:.3f}")
    return (
        f"{trees} trees: accuracy {whole:.3f} by function, equal to one process; {parted:.3f} by data, on half the rows"
    )


def grow(
    settings: Settings,
    run: str,
    kind: str,
    worker: int,
    train_x: Any,
    train_y: Any,
    test_x: Any,
    test_y: Any,
    seeds: Any,
) -> tuple[Any, int]:
    """One worker's trees: the sum of their votes on the test rows, and the bytes of the rows it learned from."""
    votes = np.zeros((len(test_x), 10))
    with ranked(settings, run, f"forest {kind}", worker, WORKERS, trees=len(seeds), rows=len(train_x)) as logged:
        for number, seed in enumerate(seeds, 1):
            votes += grown(train_x, train_y, seed).predict_proba(test_x)
            if number % LOG_EVERY == 0:
                logged.log(step=number, accuracy=(votes.argmax(1) == test_y).mean(), mb=train_x.nbytes / 1e6)
    return votes, train_x.nbytes


def grown(rows: Any, labels: Any, seed: int) -> DecisionTreeClassifier:
    """A tree of a random forest: its rows and columns are drawn by its seed, whoever grows it."""
    drawn = np.random.default_rng(seed).integers(len(rows), size=len(rows))
    return DecisionTreeClassifier(max_features="sqrt", random_state=int(seed)).fit(rows[drawn], labels[drawn])


if __name__ == "__main__":
    play(main, ("scikit-learn", "numpy"), trees=(400, 60))
