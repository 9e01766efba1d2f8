"""MapReduce on an engine that is kept up: counts of digits, and gradient sums of a logistic regression, on Dask.

Any sum over rows is a map over their parts and a reduction of what comes out. So are the counts of a histogram, and so
is the gradient of a loss: a step of training is one MapReduce over data that stays with its workers. Mahout trained so
on Hadoop; Dask and Spark keep the parts in memory between the steps.

From: Dean and Ghemawat, MapReduce, 2004; Chu and others, Map-reduce for machine learning on multicore, 2007.
Look at: one run a computation; parts are reported by the workers, step and loss by whoever reduces.
Checked: counts equal numpy's; the weights equal those of one process, to rounding; each part was mapped once a step.
Needs: dask
Weight: heavy
"""

from __future__ import annotations

from typing import Any

import numpy as np
from distributed import Client, LocalCluster

from headrace import Run
from stage import Show, play

PARTS = 4
FEATURES = 20
RATE = 1.0


def main(show: Show) -> str:
    rows, steps = show.sizes["rows"] // PARTS * PARTS, show.sizes["steps"]
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        parts = client.map(part, range(PARTS), [rows // PARTS] * PARTS, pure=False)

        with show.run("mapreduce: counts", {"parts": PARTS, "rows": rows}) as run:
            mapped = client.map(count, parts, [run] * PARTS, range(PARTS), pure=False)
            counts = client.submit(lambda found: np.sum(found, axis=0), mapped).result()
        show.expect(run, metrics=PARTS)

        weights = np.zeros(FEATURES)
        with show.run("mapreduce: gradient sums", {"parts": PARTS, "rows": rows}, total_steps=steps) as run:
            for step in range(1, steps + 1):
                sums = client.map(gradient, parts, [weights] * PARTS, pure=False)
                change, loss, mapped_rows = client.submit(reduce, sums, pure=False).result()
                show.check(mapped_rows == rows, f"step {step} mapped {mapped_rows:,} of {rows:,} rows")
                weights = weights - RATE * change / rows
                run.log(step=step, loss=loss / rows)
        show.expect(run, metrics=steps)

    everything = [part(number, rows // PARTS) for number in range(PARTS)]
    values, labels = (np.concatenate(each) for each in zip(*everything, strict=True))
    show.check(np.array_equal(counts, histogram(values)), "the counts differ from numpy's")
    alone = np.zeros(FEATURES)
    for _ in range(steps):
        alone -= RATE * gradient((values, labels), alone)[0] / rows
    error = float(np.abs(alone - weights).max())
    show.check(error < 1e-9, f"the weights differ from those of one process by {error:.1e}")
    return (
        f"{rows:,} rows in {PARTS} parts: counts equal numpy's; after {steps} steps within {error:.0e} of one process"
    )


def part(number: int, rows: int) -> tuple[Any, Any]:
    """Seeded rows and noisy labels: one part of the data, made where it is used."""
    truth = np.random.default_rng(5).normal(size=FEATURES)
    rng = np.random.default_rng(100 + number)
    values = rng.normal(size=(rows, FEATURES))
    return values, rng.random(rows) < 1 / (1 + np.exp(-(values @ truth)))


def count(data: tuple[Any, Any], run: Run, number: int) -> Any:
    """The map of the first computation: what a part has of each leading digit. Published by the worker."""
    found = histogram(data[0])
    run.log(step=number + 1, counted=found.sum())
    run.publisher.flush()
    return found


def histogram(values: Any) -> Any:
    """How often each digit from 1 to 9 leads."""
    sizes = np.abs(values[values != 0])
    leading = (sizes / 10.0 ** np.floor(np.log10(sizes))).astype(int).clip(1, 9)
    return np.bincount(leading, minlength=10)[1:]


def gradient(data: tuple[Any, Any], weights: Any) -> tuple[Any, float, int]:
    """The map of the second: gradient, loss and number of the rows of a part."""
    values, labels = data
    margins = values @ weights
    loss = float(np.logaddexp(0, np.where(labels, -margins, margins)).sum())
    return values.T @ (1 / (1 + np.exp(-margins)) - labels), loss, len(values)


def reduce(sums: list[tuple[Any, float, int]]) -> tuple[Any, float, int]:
    """Add up what the parts found."""
    changes, losses, rows = zip(*sums, strict=True)
    return np.sum(changes, axis=0), sum(losses), sum(rows)


if __name__ == "__main__":
    play(main, ("dask", "distributed"), rows=(400_000, 40_000), steps=(30, 5))
