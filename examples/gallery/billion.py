"""A billion rows of logistic regression, streamed through one process in constant memory.

Rows are generated as they are needed: a billion of them, twenty numbers each, would be 80 GB on a disk. The model sees
each row once, batch after batch, and says how it does on rows that it has not seen. `--rows 1000000000` is the whole;
the default is smaller, and the result says what the whole would take at this pace.

From: out-of-core learning with stochastic gradient descent; Bottou, Large-Scale Machine Learning with SGD, 2010.
Look at: `rows_per_s`, `memory_mb` that stays level, and the loss, which has settled before a hundredth of a billion.
Checked: the angle between the weights and those that made the labels (cosine above 0.99); memory that does not grow
with the rows; the loss on fresh rows within a hundredth of that of the true weights.
Needs: nothing more
Weight: light
"""

from __future__ import annotations

import resource
import sys
import time
from typing import Any

import numpy as np
from sklearn.linear_model import SGDClassifier

from stage import Show, play

FEATURES = 20
BATCH = 100_000
LOG_EVERY = 5
"""Batches between two events."""
GROWTH_MB = 100


def main(show: Show) -> str:
    batches = max(LOG_EVERY, show.sizes["rows"] // BATCH // LOG_EVERY * LOG_EVERY)
    rng = np.random.default_rng(10)
    truth = rng.normal(size=FEATURES).astype(np.float32)
    fresh_x, fresh_y = batch(rng, truth)
    model = SGDClassifier(loss="log_loss", learning_rate="invscaling", eta0=0.05, average=True, shuffle=False)
    model.partial_fit(*batch(rng, truth), classes=[False, True])
    memory_mb, began_s = used_mb(), time.monotonic()
    with show.run("rows", {"features": FEATURES, "rows": batches * BATCH}, total_steps=batches) as run:
        for number in range(1, batches + 1):
            model.partial_fit(*batch(rng, truth))
            if number % LOG_EVERY == 0:
                rows_per_s = number * BATCH / (time.monotonic() - began_s)
                loss = log_loss(model.coef_[0], model.intercept_[0], fresh_x, fresh_y)
                run.log(step=number, loss=loss, rows_per_s=rows_per_s, memory_mb=used_mb())
    show.expect(run, metrics=batches // LOG_EVERY)

    cosine = model.coef_[0] @ truth / np.linalg.norm(model.coef_[0]) / np.linalg.norm(truth)
    show.check(cosine > 0.99, f"the weights are off the true ones: cosine {cosine:.4f}")
    best = log_loss(truth, 0.0, fresh_x, fresh_y)
    show.check(loss < best + 0.01, f"the loss is {loss:.4f}, and {best:.4f} with the true weights")
    grown_mb = used_mb() - memory_mb
    show.check(grown_mb < GROWTH_MB, f"the process grew by {grown_mb:.0f} MB")
    whole = f"a billion would take {1e9 / rows_per_s / 60:.0f} min" if batches * BATCH < 1e9 else "all of them"
    done, pace = f"{batches * BATCH / 1e6:g} million rows", f"{rows_per_s / 1e6:.1f} million a second"
    return f"{done}, {pace} ({whole}); cosine {cosine:.4f}"


def batch(rng: np.random.Generator, truth: Any) -> tuple[Any, Any]:
    """Rows, and labels that a logistic model with the true weights gives by chance."""
    rows = rng.standard_normal((BATCH, FEATURES), dtype=np.float32)
    return rows, rng.random(BATCH, dtype=np.float32) < 1 / (1 + np.exp(-(rows @ truth)))


def log_loss(weights: Any, bias: float, rows: Any, labels: Any) -> float:
    margins = rows @ weights + bias
    return float(np.logaddexp(0, np.where(labels, -margins, margins)).mean())


def used_mb() -> float:
    """The most memory that this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (1e6 if sys.platform == "darwin" else 1e3)


if __name__ == "__main__":
    play(main, ("scikit-learn", "numpy"), rows=(20_000_000, 1_500_000))
