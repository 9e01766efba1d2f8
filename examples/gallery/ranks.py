"""Processes that know their rank: what exhibits of distributed training share. Each has a run's events of its own."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.distributed as dist

from headrace import Settings
from headrace.embedded.probe import free_port
from headrace.events import new_id
from stage import Show, ranked

Body = Callable[..., Any]


def together(
    show: Show, world: int, name: str, params: Mapping[str, Any], body: Body, *args: Any
) -> tuple[str, list[Any]]:
    """Call `body(run, *args)` in so many processes that can reach each other: the run's id, and each one's result.

    The ranks begin and finish one run; what they log is for the caller to `expect`.
    """
    context = multiprocessing.get_context("spawn")
    run, port = new_id(), free_port()
    pipes = [context.Pipe(duplex=False) for _ in range(world)]
    ranks = [
        context.Process(target=_be, args=(show.settings, rank, world, port, run, name, params, pipe, body, args))
        for rank, (_, pipe) in enumerate(pipes)
    ]
    try:
        for process, (_, pipe) in zip(ranks, pipes, strict=True):
            process.start()
            pipe.close()
        found = [receive(show, name, pipe) for pipe, _ in pipes]
        for process in ranks:
            process.join()
    finally:
        for process in ranks:
            process.terminate()  # the others wait for ever for one that failed
            process.join()
    show.expect(run, ranks=world)
    return run, found


def receive(show: Show, name: str, pipe: Any) -> Any:
    """What a rank says at its end; the exhibit fails if it ends without a word."""
    try:
        return pipe.recv()
    except EOFError:
        show.check(False, f"{name}: a rank ended without a result")


def _be(
    settings: Settings,
    rank: int,
    world: int,
    port: int,
    run: str,
    name: str,
    params: Mapping[str, Any],
    pipe: Any,
    body: Body,
    args: tuple[Any, ...],
) -> None:
    """One rank, from its start to its end."""
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(world),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
    )
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    with ranked(settings, run, name, rank, world, **params) as logged:
        pipe.send(body(logged, *args))
    dist.barrier()
    dist.destroy_process_group()
