"""Downpour SGD: workers pull weights and push gradients at their own pace, and staleness is a live metric.

A parameter server, an actor of Ray, holds the weights and counts their versions. A worker takes a copy, works out a
gradient on its own rows, and pushes it; by then others may have pushed, and the gradient is for weights that are some
versions old. Nobody waits for anybody. The server publishes how old each gradient was.

From: Dean and others, Large scale distributed deep networks, 2012; Li and others, the parameter server, 2014.
Look at: `staleness` beside the loss, a point a push; one run, published from inside the actor.
Checked: every push is applied once; staleness is that of a recount of versions; the held-out accuracy is that of a
single process, to three points of a hundred.
Needs: ray
Weight: heavy
"""

from __future__ import annotations

import os
import time
from typing import Any

os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import numpy as np
import ray
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from headrace import Publisher, Run, Settings
from stage import Show, play

WORKERS = 2
BATCH = 32
RATE = 0.2


class Server:
    """The weights, how often they have changed, and what is said about it."""

    def __init__(self, settings: Settings, run: str, features: int) -> None:
        self.publisher = Publisher(settings)
        self.run = Run("downpour", {"workers": WORKERS}, publisher=self.publisher, id=run)
        self.weights = np.zeros(features)
        self.version = self.joined = 0
        self.staleness: list[int] = []

    def join(self) -> int:
        """A worker is there; none begins before all are."""
        self.joined += 1
        return self.joined

    def present(self) -> int:
        return self.joined

    def pull(self) -> tuple[int, Any]:
        return self.version, self.weights

    def push(self, version: int, change: Any, loss: float) -> None:
        """Take a step with a gradient that was made for the weights of `version`."""
        self.staleness.append(self.version - version)
        self.weights = self.weights - RATE * change
        self.version += 1
        self.run.log(step=self.version, loss=loss, staleness=self.staleness[-1])

    def finish(self) -> tuple[Any, int, list[int]]:
        self.run.finish()
        self.publisher.close()
        return self.weights, self.version, self.staleness


def work(server: Any, part: int, pushes: int) -> list[tuple[int, int]]:
    """One worker: pull, work out, push, without waiting for others. Versions that it pulled."""
    rows, labels, _, _ = data()
    rng = np.random.default_rng(part)
    pulled = []
    ray.get(server.join.remote())
    while ray.get(server.present.remote()) < WORKERS:
        time.sleep(0.005)
    for number in range(pushes):
        version, weights = ray.get(server.pull.remote())
        drawn = rng.integers(part, len(rows), BATCH) // WORKERS * WORKERS + part
        drawn = drawn[drawn < len(rows)]
        change, loss = gradient(weights, rows[drawn], labels[drawn])
        server.push.remote(version, change, loss)
        pulled.append((number, version))
    return pulled


def main(show: Show) -> str:
    pushes = show.sizes["pushes"]
    rows, labels, test_x, test_y = data()
    run = f"downpour-{os.getpid()}-{os.urandom(3).hex()}"
    ray.init(num_cpus=WORKERS + 1, include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        server = ray.remote(num_cpus=0)(Server).remote(show.settings, run, rows.shape[1])
        worker = ray.remote(work)
        pulled = ray.get([worker.remote(server, part, pushes) for part in range(WORKERS)])
        weights, version, staleness = ray.get(server.finish.remote())
    finally:
        ray.shutdown()
    show.expect(run, metrics=WORKERS * pushes, ranks=1)

    show.check(version == WORKERS * pushes == len(staleness), f"{version} pushes were applied of {WORKERS * pushes}")
    # Each gradient was applied at some version; its age is that minus the version it was made for.
    ages = sum(range(version)) - sum(each for found in pulled for _, each in found)
    show.check(ages == sum(staleness) and min(staleness) >= 0, f"staleness sums to {sum(staleness)}, recounted {ages}")
    show.check(max(staleness) > 0, "no gradient was ever stale: the workers took turns")
    alone, rng = np.zeros(rows.shape[1]), np.random.default_rng(0)
    for _ in range(version):
        drawn = rng.integers(0, len(rows), BATCH)
        alone -= RATE * gradient(alone, rows[drawn], labels[drawn])[0]
    score, single = (float((((test_x @ each) > 0) == test_y).mean()) for each in (weights, alone))
    show.check(score > single - 0.03, f"the accuracy is {score:.3f}, a single process's {single:.3f}")
    return f"{version} pushes, staleness {np.mean(staleness):.2f} on average; accuracy {score:.3f}, alone {single:.3f}"


def gradient(weights: Any, rows: Any, labels: Any) -> tuple[Any, float]:
    """The mean gradient and loss of a logistic regression."""
    margins = rows @ weights
    chances = 1 / (1 + np.exp(-margins))
    return rows.T @ (chances - labels) / len(rows), float(np.logaddexp(0, np.where(labels, -margins, margins)).mean())


def data() -> tuple[Any, Any, Any, Any]:
    rows, labels = load_breast_cancer(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(rows, labels, test_size=0.3, random_state=0)
    scaler = StandardScaler().fit(train_x)
    return scaler.transform(train_x), train_y, scaler.transform(test_x), test_y


if __name__ == "__main__":
    play(main, ("ray", "numpy"), pushes=(300, 50))
