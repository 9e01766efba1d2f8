"""Data times pipeline parallelism by hand: four ranks, two copies of a network that is cut into two stages.

A batch is cut into microbatches. The first stage sends its activations on and takes gradients back; while it waits for
the first of them, and the second stage for the first activations, they idle: the bubble. It is counted in ticks of a
logical clock that travels with what is sent, where each pass of a microbatch through a stage takes one; beside it
stands what the clock on the wall says, which on a busy machine is another matter. Copies average their gradients.

From: Huang and others, GPipe, 2018; Lamport, Time, clocks, and the ordering of events, 1978.
Look at: `bubble` of the runs with few and many microbatches, and `waited` of each rank; `weights_kb`.
Checked: the bubble is (p-1)/(m+p-1) for p stages and m microbatches, exactly; the weights are those of one process with
the whole network, to rounding; each rank holds one stage only.
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
    steps, shares = show.sizes["steps"], {}
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
        for rank, (weights, _, _) in enumerate(found):
            own = whole[rank // COPIES]
            show.check(len(weights) == len(own), f"rank {rank} holds {len(weights)} weights, its stage has {len(own)}")
            error = float(np.abs(weights - own).max())
            show.check(error < 1e-4, f"with {microbatches} microbatches rank {rank} is off by {error:.1e}")
        least = (STAGES - 1) / (microbatches + STAGES - 1)
        bubbles = {round(bubble, 9) for _, bubble, _ in found}
        show.check(bubbles == {round(least, 9)}, f"the bubble is {bubbles} instead of {least:.3f}")
        shares[microbatches] = (least, float(np.mean([waited for _, _, waited in found])))
    said = ", ".join(f"{bubble:.0%} with {count} (waited {waited:.0%})" for count, (bubble, waited) in shares.items())
    return f"2 x 2 ranks, weights equal to one process's; bubble by microbatches: {said}"


def train(run: Run, microbatches: int, steps: int) -> tuple[Any, float, float]:
    """One rank, one stage of one copy: its weights, the share of ticks that it idled and of time that it waited."""
    number, copy = divmod(run.rank, COPIES)
    peer = run.rank + COPIES if number == 0 else run.rank - COPIES
    siblings = [dist.new_group([which * COPIES + each for each in range(COPIES)]) for which in range(STAGES)]
    model, micro = stage(number), BATCH // microbatches
    waited_s = total_s = 0.0
    for step in range(1, steps + 1):
        rows, truth = (part.split(micro) for part in batch(step, copy))
        dist.barrier()
        line, began_s, loss = Line(peer, micro), time.monotonic(), 0.0
        if number == 0:
            sent = []
            for piece in rows:
                sent.append(model(piece))
                line.send(sent[-1].detach())
            for activation in sent:
                activation.backward(line.receive())
                line.clock += 1
        else:
            for wanted in truth:
                came = line.receive().requires_grad_()
                part = nn.functional.mse_loss(model(came), wanted) / microbatches
                line.clock += 1
                part.backward()
                line.send(came.grad)
                loss += float(part.detach())
        line.finish()
        waited_s, total_s = waited_s + line.waited_s, total_s + time.monotonic() - began_s
        span = torch.tensor(line.clock)
        dist.all_reduce(span, dist.ReduceOp.MAX)
        bubble = 1 - 2 * microbatches / int(span)
        for weights in model.parameters():
            dist.all_reduce(weights.grad, group=siblings[number])
            weights.grad /= COPIES
        descend(model)
        values = {"loss": loss} if number else {}
        run.log(step=step, bubble=bubble, waited=waited_s / total_s, weights_kb=4 * len(flat(model)) / 1e3, **values)
    return flat(model), bubble, waited_s / total_s


class Line:
    """The way to the other stage. What is sent carries the sender's clock in a row of its own."""

    def __init__(self, peer: int, micro: int) -> None:
        self.peer, self.micro = peer, micro
        self.clock = 0
        """Ticks: a pass of a microbatch through a stage takes one, and what is received cannot be from the future."""
        self.waited_s = 0.0
        self._sends: list[Any] = []

    def send(self, values: Any) -> None:
        """Send what a pass has made; the pass took a tick."""
        self.clock += 1
        whole = torch.cat([values, torch.full((1, WIDTH), float(self.clock))])
        self._sends.append((dist.isend(whole, self.peer), whole))

    def receive(self) -> Any:
        """Wait for what the other stage sends next."""
        whole = torch.empty(self.micro + 1, WIDTH)
        began_s = time.monotonic()
        dist.recv(whole, self.peer)
        self.waited_s += time.monotonic() - began_s
        self.clock = max(self.clock, int(whole[-1, 0]))
        return whole[:-1].clone()

    def finish(self) -> None:
        """Return once everything that was sent has gone."""
        for work, _ in self._sends:
            work.wait()


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
