"""Data times pipeline parallelism by hand: four ranks, two copies of a network that is cut into two stages.

A batch is cut into microbatches. The first stage sends its activations on and takes gradients back; while it waits for
the first of them, and the second stage for the first activations, they idle: the bubble. With p stages and m
microbatches it is at least (p-1)/(m+p-1) of the time. Copies of a stage average their gradients.

From: Huang and others, GPipe, 2018.
Look at: `idle` of each rank, the share of its time that it waited, run by run with more microbatches; `weights_kb`.
Checked: the weights are those of one process with the whole network, to rounding; each rank holds one stage only; the
idle share is smaller with many microbatches than with one.
Needs: torch
Weight: heavy
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from headrace import Run
from ranks import together
from stage import Show, play

STAGES = 2
COPIES = 2
WIDTH = 256
BATCH = 256
"""Rows of a step in each copy."""
RATE = 0.05


def main(show: Show) -> str:
    steps, idle = show.sizes["steps"], {}
    alone = nn.Sequential(*(stage(number) for number in range(STAGES)))
    for step in range(1, steps + 1):
        rows, truth = (torch.cat(parts) for parts in zip(*(batch(step, copy) for copy in range(COPIES)), strict=True))
        nn.functional.mse_loss(alone(rows), truth).backward()
        descend(alone)
    whole = [flat(part) for part in alone]
    for microbatches in (1, 8):
        params = {"stages": STAGES, "copies": COPIES, "microbatches": microbatches}
        run, found = together(
            show, STAGES * COPIES, f"pipeline, {microbatches} microbatches", params, train, microbatches, steps
        )
        show.expect(run, metrics=STAGES * COPIES * steps)
        for rank, (weights, _) in enumerate(found):
            own = whole[rank // COPIES]
            show.check(len(weights) == len(own), f"rank {rank} holds {len(weights)} weights, its stage has {len(own)}")
            error = float(np.abs(weights - own).max())
            show.check(error < 1e-4, f"with {microbatches} microbatches rank {rank} is off by {error:.1e}")
        idle[microbatches] = float(np.mean([share for _, share in found]))
    show.check(idle[8] < idle[1], f"microbatches do not shrink the bubble: {idle}")
    least = {count: (STAGES - 1) / (count + STAGES - 1) for count in idle}
    said = ", ".join(f"{share:.0%} with {count} (at least {least[count]:.0%})" for count, share in idle.items())
    return f"2 x 2 ranks, weights equal to one process's; idle by microbatches: {said}"


def train(run: Run, microbatches: int, steps: int) -> tuple[Any, float]:
    """One rank: one stage of one copy. Its weights, and the share of the time that it waited."""
    number, copy = divmod(run.rank, COPIES)
    peer = run.rank + COPIES if number == 0 else run.rank - COPIES
    siblings = [dist.new_group([which * COPIES + each for each in range(COPIES)]) for which in range(STAGES)]
    model, micro = stage(number), BATCH // microbatches
    idle_s = total_s = 0.0
    for step in range(1, steps + 1):
        rows, truth = (part.split(micro) for part in batch(step, copy))
        dist.barrier()
        began_s, waited_s, loss = time.monotonic(), 0.0, 0.0
        if number == 0:
            sent = []
            for piece in rows:
                sent.append(model(piece))
                waited_s += timed(lambda piece=sent[-1]: dist.isend(piece.detach(), peer).wait())
            for activation in sent:
                back = torch.empty_like(activation)
                waited_s += timed(lambda back=back: dist.recv(back, peer))
                activation.backward(back)
        else:
            sends = []
            for wanted in truth:
                came = torch.empty(micro, WIDTH)
                waited_s += timed(lambda came=came: dist.recv(came, peer))
                came.requires_grad_()
                part = nn.functional.mse_loss(model(came), wanted) / microbatches
                part.backward()
                sends.append(dist.isend(came.grad, peer))
                loss += float(part.detach())
            for each in sends:
                each.wait()
        spent_s = time.monotonic() - began_s
        for weights in model.parameters():
            dist.all_reduce(weights.grad, group=siblings[number])
            weights.grad /= COPIES
        descend(model)
        idle_s, total_s = idle_s + waited_s, total_s + spent_s
        values = {"loss": loss} if number else {}
        run.log(step=step, idle=waited_s / spent_s, weights_kb=4 * len(flat(model)) / 1e3, **values)
    return flat(model), idle_s / total_s


def timed(wait: Any) -> float:
    began_s = time.monotonic()
    wait()
    return time.monotonic() - began_s


def stage(number: int) -> Any:
    """One half of the network, the same in every process."""
    torch.manual_seed(number)
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH), nn.Tanh())


def batch(step: int, copy: int) -> tuple[Any, Any]:
    """Seeded rows of one copy, and what is to be learned from them: their reverse, halved."""
    rows = torch.randn(BATCH, WIDTH, generator=torch.Generator().manual_seed(1000 * step + copy))
    return rows, rows.flip(1).tanh() / 2


def descend(model: Any) -> None:
    """One step of gradient descent, and gradients of zero after it."""
    with torch.no_grad():
        for weights in model.parameters():
            weights.subtract_(RATE * weights.grad)
            weights.grad = None


def flat(model: Any) -> Any:
    return torch.cat([part.detach().ravel() for part in model.parameters()]).numpy()


if __name__ == "__main__":
    play(main, ("torch",), steps=(30, 5))
