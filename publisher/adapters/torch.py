"""PyTorch: a loop needs `headrace.Run` alone; what stands here are the ranks of one run, however they were launched.

    with ranked("ddp", params) as run:  # after init_process_group, in every rank
        for step, batch in enumerate(loader):
            run.log(step=step, loss=learn(batch).item())

https://docs.pytorch.org/docs/stable/distributed.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import distributed

from headrace.events import new_id
from headrace.publisher.publisher import Publisher
from headrace.publisher.run import Run


def ranked(
    name: str,
    params: Mapping[str, Any] | None = None,
    *,
    publisher: Publisher | None = None,
    total_steps: int = 0,
) -> Run:
    """One run for all ranks of the process group, of which each logs its own curves; without a group, a run.

    The ranks agree on the run's id by one broadcast: all of them must call this.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return Run(name, params, publisher=publisher, total_steps=total_steps)
    ids = [new_id()]
    distributed.broadcast_object_list(ids, src=0)
    rank, size = distributed.get_rank(), distributed.get_world_size()
    return Run(name, params, publisher=publisher, id=ids[0], rank=rank, world_size=size, total_steps=total_steps)
