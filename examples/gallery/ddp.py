"""PyTorch DistributedDataParallel: two ranks train one network, and each logs as a rank of one run.

DDP averages gradients while the backward pass is still going. With the same seed and the batches dealt out row by row,
the network is that of one process with the whole batches, but for the order of sums.

From: Li and others, PyTorch Distributed, 2020; the successor of Horovod, which current releases no longer build.
Look at: one run with two ranks: the loss of each as a band around their mean, and the held-out accuracy.
Checked: the networks of both ranks are equal to the last bit; they differ from a single process's by rounding; the
accuracy is above nine tenths.
Needs: torch
Weight: heavy
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from headrace import Run
from ranks import together
from stage import Show, play

WORLD = 2
BATCH = 64
HELD_OUT = 400


def main(show: Show) -> str:
    epochs = show.sizes["epochs"]
    run, found = together(show, WORLD, "ddp", {"epochs": epochs, "batch": BATCH}, train, epochs)
    (first, losses), (second, _) = found
    show.expect(run, metrics=WORLD * len(losses))
    show.check(np.array_equal(first, second), "the ranks ended with different networks")
    alone = network()
    steps = fit(alone, epochs, 0, 1)
    for _ in steps:
        pass
    error = float(np.abs(flat(alone) - first).max())
    show.check(error < 1e-3, f"the network differs from a single process's by {error:.1e}")
    score = accuracy(alone)
    show.check(score > 0.9 or show.quick, f"the accuracy is {score:.3f}")
    return f"{epochs} epochs: both ranks equal, within {error:.0e} of a single process; accuracy {score:.3f}"


def train(run: Run, epochs: int) -> tuple[Any, list[float]]:
    """One rank: half of each batch, everybody's gradient."""
    model = network()
    losses = []
    for step, loss in enumerate(fit(DistributedDataParallel(model), epochs, run.rank, WORLD), 1):
        losses.append(loss)
        run.log(step=step, loss=loss, accuracy=accuracy(model) if step % 20 == 0 else None)
    return flat(model), losses


def fit(model: Any, epochs: int, rank: int, world: int) -> Any:
    """Train on this rank's part of each batch; the loss of each step."""
    images, digits, _, _ = data()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for epoch in range(epochs):
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(epoch))
        for start in range(0, len(images) - BATCH + 1, BATCH):
            mine = order[start : start + BATCH][rank::world]
            loss = nn.functional.cross_entropy(model(images[mine]), digits[mine])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield float(loss.detach())


def network() -> Any:
    torch.manual_seed(8)
    return nn.Sequential(nn.Linear(64, 48), nn.Tanh(), nn.Linear(48, 10))


def data() -> tuple[Any, Any, Any, Any]:
    images, digits = load_digits(return_X_y=True)
    images, digits = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(digits)
    return images[HELD_OUT:], digits[HELD_OUT:], images[:HELD_OUT], digits[:HELD_OUT]


def accuracy(model: Any) -> float:
    _, _, images, digits = data()
    with torch.no_grad():
        return float((model(images).argmax(1) == digits).float().mean())


def flat(model: Any) -> Any:
    """All weights of a network, one after the other."""
    return torch.cat([part.detach().ravel() for part in model.parameters()]).numpy()


if __name__ == "__main__":
    play(main, ("torch", "scikit-learn"), epochs=(8, 1))
