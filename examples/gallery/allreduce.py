"""Synchronous data parallelism: each rank has half of the rows, and gradients are added up by all-reduce.

Every step, each rank works out the gradient of its own rows; one all-reduce gives everybody the sum, and all take the
same step. So the model is the one that a single process with all rows would have, at every step.

From: Agarwal and others, A reliable effective terascale linear learning system, 2011; torch.distributed with gloo.
Look at: the loss of the run, whose band over the ranks has no width; `waited_ms`, what a step costs in waiting.
Checked: the weights of both ranks are equal, and equal to those of a single process to a part in a billion.
Needs: torch
Weight: heavy
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from headrace import Run
from ranks import together
from stage import Show, play

WORLD = 2
FEATURES = 30
RATE = 1.0


def main(show: Show) -> str:
    rows, steps = show.sizes["rows"] // WORLD * WORLD, show.sizes["steps"]
    run, weights = together(show, WORLD, "allreduce", {"rows": rows}, train, rows, steps)
    show.expect(run, metrics=WORLD * steps)
    show.check(np.array_equal(*weights), "the ranks ended with different weights")
    values, labels = data(rows)
    alone = torch.zeros(FEATURES, dtype=torch.float64)
    for _ in range(steps):
        alone -= RATE * gradient(alone, values, labels)[0] / rows
    error = float(np.abs(alone.numpy() - weights[0]).max())
    show.check(error < 1e-9, f"the weights differ from a single process's by {error:.1e}")
    return f"{steps} steps on {rows:,} rows: both ranks equal, and within {error:.0e} of a single process"


def train(run: Run, rows: int, steps: int) -> Any:
    """One rank: its rows, and everybody's gradient."""
    values, labels = (part[run.rank :: WORLD] for part in data(rows))
    weights = torch.zeros(FEATURES, dtype=torch.float64)
    for step in range(1, steps + 1):
        own, loss = gradient(weights, values, labels)
        everything = torch.cat([own, loss[None]])
        began_s = time.monotonic()
        dist.all_reduce(everything)
        waited_ms = 1000 * (time.monotonic() - began_s)
        weights -= RATE * everything[:-1] / rows
        run.log(step=step, loss=float(everything[-1]) / rows, waited_ms=waited_ms)
    return weights.numpy()


def gradient(weights: Any, values: Any, labels: Any) -> tuple[Any, Any]:
    """The sums over rows of the gradient and of the loss of a logistic regression."""
    margins = values @ weights
    loss = torch.nn.functional.binary_cross_entropy_with_logits(margins, labels, reduction="sum")
    return values.T @ (torch.sigmoid(margins) - labels), loss


def data(rows: int) -> tuple[Any, Any]:
    """Seeded rows with noisy labels of one linear truth: the same in every process."""
    seed = torch.Generator().manual_seed(6)
    values = torch.randn(rows, FEATURES, generator=seed, dtype=torch.float64)
    truth = torch.randn(FEATURES, generator=seed, dtype=torch.float64)
    return values, torch.bernoulli(torch.sigmoid(values @ truth), generator=seed)


if __name__ == "__main__":
    play(main, ("torch",), rows=(100_000, 10_000), steps=(100, 20))
