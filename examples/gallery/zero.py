"""DeepSpeed's ZeRO, stage by stage: who keeps what, in bytes a rank, for the same training.

Without ZeRO each rank keeps all optimizer state, gradients and weights. Stage 1 parts the optimizer state among the
ranks, stage 2 the gradients as well, stage 3 the weights themselves. Then the same network as a pipeline of two stages,
each rank with half of its layers. On CPU ranks with gloo.

From: Rajbhandari and others, ZeRO, 2019.
Look at: `state_mb 0` to `state_mb 3` and `weights_mb` by stage, over the ranks, beside losses that are the same.
Checked: stages 1 to 3 have half of the optimizer state a rank that stage 0 has, stage 3 half of the weights; losses are
those of stage 0; the stages of the pipeline part the layers, and its loss falls.
Needs: torch
Weight: heavy
"""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("DS_ACCELERATOR", "cpu")
os.environ.setdefault("DS_BUILD_OPS", "0")

import deepspeed
import numpy as np
import torch
from deepspeed.pipe import PipelineModule
from torch import nn

from headrace import Run
from ranks import together
from stage import Show, play

# DeepSpeed's own sum over shared memory would first be compiled, for minutes; gloo's does the same here.
deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False

WORLD = 2
WIDTH = 256
BATCH = 32
MICRO = 4


def main(show: Show) -> str:
    steps = show.sizes["steps"]
    run, ranks = together(show, WORLD, "deepspeed", {"steps": steps}, arrangements, steps)
    show.expect(run, metrics=WORLD * steps * 5)
    stages = {stage: [found[f"zero {stage}"] for found in ranks] for stage in range(4)}
    losses = {stage: np.mean([found for found, _, _ in each], axis=0) for stage, each in stages.items()}
    held = {stage: (max(each[1] for each in found), max(each[2] for each in found)) for stage, found in stages.items()}
    for stage in (1, 2, 3):
        gap = float(np.abs(losses[stage] - losses[0]).max())
        show.check(gap < 1e-3, f"stage {stage} has other losses than stage 0, by {gap:.1e}")
        parted = held[stage][0] / held[0][0]
        show.check(0.45 < parted < 0.6, f"stage {stage} keeps {parted:.0%} of the optimizer state on a rank")
    show.check(held[3][1] / held[0][1] < 0.6, f"stage 3 keeps {held[3][1] / held[0][1]:.0%} of the weights on a rank")
    learned, _, _ = ranks[0]["pipeline"]
    parts = [found["pipeline"][2] for found in ranks]
    show.check(0.3 < parts[0] / sum(parts) < 0.7, f"the stages of the pipeline hold {parts} MB of weights")
    show.check(learned[-1] < learned[0], "the loss of the pipeline does not fall")
    said = ", ".join(f"{stage}: {state:.2f} and {weights:.2f}" for stage, (state, weights) in held.items())
    return f"MB of optimizer state and weights a rank by stage: {said}; losses the same; a pipeline of 2 learns too"


def arrangements(run: Run, steps: int) -> dict[str, tuple[list[float], float, float]]:
    """One rank under one arrangement after the other: its losses, and the megabytes of state and weights it keeps."""
    return {f"zero {stage}": train(run, stage, steps) for stage in range(4)} | {"pipeline": pipeline(run, steps)}


def train(run: Run, stage: int, steps: int) -> tuple[list[float], float, float]:
    model = network()
    engine, optimizer, _, _ = deepspeed.initialize(
        model=model,
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-3),
        config=settings(MICRO * 2) | {"zero_optimization": {"stage": stage}},
    )
    losses = []
    for step in range(1, steps + 1):
        rows, truth = batch(step, run.rank)
        loss = nn.functional.mse_loss(engine(rows), truth)
        engine.backward(loss)
        engine.step()
        losses.append(float(loss.detach()))
        state = sum(bytes_of(value) for each in inner(optimizer).state.values() for value in each.values()) / 1e6
        weights = sum(bytes_of(getattr(each, "ds_tensor", each)) for each in model.parameters()) / 1e6
        values = {"loss": losses[-1], "state_mb": state, "weights_mb": weights}
        run.log({f"{name} {stage}": value for name, value in values.items()}, step=step)
    return losses, state, weights


def pipeline(run: Run, steps: int) -> tuple[list[float], float, float]:
    model = PipelineModule(layers=list(network()), num_stages=WORLD, loss_fn=nn.functional.mse_loss)
    engine, _, _, _ = deepspeed.initialize(
        model=model,
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-3),
        config=settings(MICRO) | {"train_batch_size": 4 * MICRO},
    )
    losses = []
    weights = sum(bytes_of(each) for each in model.parameters()) / 1e6
    for step in range(1, steps + 1):
        # The same rows at every step, so that the loss must fall.
        pieces = iter([tuple(part[:MICRO] for part in batch(1, piece)) for piece in range(4)])
        losses.append(float(engine.train_batch(data_iter=pieces)))
        run.log({"loss pipeline": losses[-1], "weights_mb pipeline": weights}, step=step)
    return losses, 0.0, weights


def settings(micro: int) -> dict[str, Any]:
    return {"train_micro_batch_size_per_gpu": micro, "zero_allow_untested_optimizer": True, "steps_per_print": 10**9}


def inner(optimizer: Any) -> Any:
    """The optimizer that holds the state, inside of the wrapper that parts it."""
    return getattr(optimizer, "optimizer", optimizer)


def bytes_of(value: Any) -> int:
    return value.numel() * value.element_size() if isinstance(value, torch.Tensor) else 0


def network() -> Any:
    torch.manual_seed(8)
    return nn.Sequential(
        nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH), nn.Tanh(),
        nn.Linear(WIDTH, WIDTH),
    )  # fmt: skip


def batch(step: int, part: int) -> tuple[Any, Any]:
    """Seeded rows and what is to be learned from them: their reverse."""
    rows = torch.randn(MICRO * 2, WIDTH, generator=torch.Generator().manual_seed(1000 * step + part))
    return rows, rows.flip(1)


if __name__ == "__main__":
    play(main, ("deepspeed", "torch"), steps=(20, 5))
