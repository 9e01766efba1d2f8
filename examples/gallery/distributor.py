"""Spark starts the ranks: TorchDistributor runs the DDP exhibit's training on executors, and each rank logs live.

A barrier stage gives each rank its place and its peers; what runs there is plain PyTorch. HorovodRunner and pipelines
with Keras on Spark did this before; Horovod no longer builds against current PyTorch.

From: Databricks' HorovodRunner; TorchDistributor is its successor in PySpark.
Look at: one run with two ranks, as if torchrun had started them.
Checked: both ranks end with the same network to the last bit, and it is the network that `ddp` trains.
Needs: spark
Weight: heavy
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pyspark.ml.torch.distributor import TorchDistributor

from ddp import fit, flat, network, train
from headrace.events import new_id
from sparkapp.session import spark_session
from sparkapp.settings import AppSettings
from stage import Show, play

WORLD = 2


def rank(environ: dict[str, str], run: str, epochs: int) -> tuple[Any, int]:
    """What each rank does: join the others, train, and say so. Returns its weights and its steps."""
    import os

    import torch
    import torch.distributed as dist

    from headrace import Publisher, Run, Settings

    os.environ.update(environ)
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    settings = Settings.load()
    with (
        Publisher(settings) as publisher,
        Run("torch on spark", {"epochs": epochs}, publisher=publisher, id=run) as logged,
    ):
        weights, losses = train(logged, epochs)
    gathered = [torch.empty(len(weights)) for _ in range(WORLD)]
    dist.all_gather(gathered, torch.tensor(weights))
    dist.destroy_process_group()
    return np.stack([each.numpy() for each in gathered]), len(losses)


def main(show: Show) -> str:
    epochs, run = show.sizes["epochs"], new_id()
    with spark_session(AppSettings(master=f"local[{WORLD}]")):
        distributor = TorchDistributor(num_processes=WORLD, local_mode=True, use_gpu=False)
        weights, steps = distributor.run(rank, show.environ, run, epochs)
    show.expect(run, metrics=WORLD * steps, ranks=WORLD)
    show.check(np.array_equal(*weights), "the ranks ended with different networks")
    alone = network()
    for _ in fit(alone, epochs, 0, 1):
        pass
    error = float(np.abs(flat(alone) - weights[0]).max())
    show.check(error < 1e-3, f"the network differs from a single process's by {error:.1e}")
    return f"{epochs} epochs on {WORLD} ranks that Spark started: equal, and within {error:.0e} of a single process"


if __name__ == "__main__":
    play(main, ("pyspark", "torch"), epochs=(4, 1))
