"""What a second scorer adds: the same backlog for one and for two."""

from __future__ import annotations

import time
from contextlib import ExitStack

from benchmarks import score
from benchmarks.actor import Actor
from benchmarks.samples import Result, way
from benchmarks.score import Round, Size
from benchmarks.stage import Stage, fill

FULL = Size(100_000, 7)
QUICK = Size(30_000, 3)
TINY = Size(1_200, 1)

LOAD_S = 3.0
"""Time for all of them to load their models: they begin together."""


def run(stage: Stage, size: Size) -> Result:
    """One scorer process, and two."""
    ways: dict[str, list[Round]] = {"1 scorer": [], "2 scorers": []}
    with ExitStack() as stack:
        workers = [stack.enter_context(Actor("worker")) for _ in range(len(ways))]
        for worker in workers:
            score.headrace_round(stage, worker, Size(score.COUNT, 1))
        for _ in range(size.rounds):
            for count, rounds in enumerate(ways.values(), 1):
                rounds.append(together(stage, workers[:count], size))
    return Result(
        "scorers",
        f"Scorer processes empty a backlog of {size.requests:,} single-row requests together (digits, logistic "
        f"regression), from the first one's first read to the last one's last commit. The server needs a core, too. "
        f"{size.rounds} rounds, taking turns.",
        "1 scorer",
        [way(name, rounds, ways["1 scorer"]) for name, rounds in ways.items()],
    )


def together(stage: Stage, workers: list[Actor], size: Size) -> Round:
    """One backlog for all of these."""
    settings = stage.fresh()
    fill(settings, size.requests, size.rows)
    stage.settle()
    before_s = stage.server_cpu_s()
    begin_s = time.perf_counter() + LOAD_S
    where = {"url": settings.redis_url, "prefix": settings.prefix, "models": str(stage.models)}
    for worker in workers:
        worker.tell(do="score", **where, begin_s=begin_s)
    answers = [worker.answer() for worker in workers]
    server_s = stage.server_cpu_s() - before_s
    scored = sum(answer["events"] for answer in answers)
    if scored != size.requests:
        raise RuntimeError(f"{scored} of {size.requests} requests were scored")
    took_s = max(answer["ended_s"] for answer in answers) - min(answer["began_s"] for answer in answers)
    rows = size.requests * size.rows
    return {
        "rows/s": rows / took_s,
        "worker CPU us/row": 1e6 * sum(answer["cpu_s"] for answer in answers) / rows,
        "server CPU us/row": 1e6 * server_s / rows,
    }
