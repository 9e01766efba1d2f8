"""How fast one aggregator folds training metrics, beside a loop that only reads them into lists."""

from __future__ import annotations

import time
from dataclasses import dataclass

from benchmarks.actor import Actor
from benchmarks.samples import Result, way
from benchmarks.stage import BATCH, Stage, append
from headrace.bus.sync import Link
from headrace.channels import RUNS, Names
from headrace.codec import encode
from headrace.events import RunMetrics, RunStarted, new_id
from headrace.settings import Settings

COUNT = 512
METRICS = {"loss": 0.5, "val_loss": 0.625, "accuracy": 0.9, "rate": 1234.5}
SEVERAL = 8
"""Runs that log at the same time."""

Round = dict[str, float]


@dataclass(frozen=True, slots=True)
class Size:
    """`events` of four metrics in each backlog, `rounds` times."""

    events: int
    rounds: int


FULL = Size(100_000, 5)
QUICK = Size(20_000, 2)
TINY = Size(600, 1)


def run(stage: Stage, size: Size) -> Result:
    """A backlog of metrics, folded by the aggregator and read by the bare loop."""
    ways: dict[str, list[Round]] = {"bare loop": [], "headrace": []}
    memory: list[int] = []
    with Actor("worker") as worker, Actor("bare") as bare:
        for events in (SEVERAL * 4, *[size.events] * size.rounds):
            settings = stage.fresh()
            points = _fill(settings, events)
            stage.settle()
            log = Names(settings.prefix).log(RUNS)
            found = bare.ask(do="fold", port=stage.server.port, log=log, count=COUNT)
            if found["points"] != points:
                raise RuntimeError(f"the bare loop read {found['points']} of {points} points")
            settings = stage.fresh()
            _fill(settings, events)
            stage.settle()
            folded = worker.ask(do="fold", url=settings.redis_url, prefix=settings.prefix)
            if events == size.events:
                memory.append(folded["memory_bytes"])
                for name, answer in (("bare loop", found), ("headrace", folded)):
                    cpu_us = 1e6 * answer["cpu_s"] / points
                    ways[name].append({"points/s": points / answer["wall_s"], "CPU us/point": cpu_us})
    return Result(
        "metrics",
        f"One aggregator empties a backlog of {size.events:,} run.metrics events of four values each, from {SEVERAL} "
        "runs in turn: checks, curves thinned to a bound, summaries, state saved in each commit, four frames a second. "
        f"The bare loop decodes, appends to lists and acknowledges. {size.rounds} rounds, taking turns.",
        "bare loop",
        [way(name, rounds, ways["bare loop"]) for name, rounds in ways.items()],
        [f"memory of the aggregator's process after the first and the last round, MB: {_mb(memory)}"],
    )


def _fill(settings: Settings, events: int) -> int:
    """Publish metrics of several runs: the points in them."""
    runs = [new_id() for _ in range(SEVERAL)]
    source, now_s = "bench", time.time()
    started = [RunStarted(id=new_id(), source=source, time=now_s, run=run, name=f"run {run}") for run in runs]
    link = Link(settings)
    try:
        append(link, [encode(event) for event in started], 1, RUNS)
        for first in range(0, events, BATCH):
            batch = [
                RunMetrics(
                    id=new_id(),
                    source=source,
                    time=now_s,
                    run=runs[at % SEVERAL],
                    step=1 + at // SEVERAL,
                    metrics={**METRICS, "loss": 1 / (1 + at)},
                )
                for at in range(first, min(events, first + BATCH))
            ]
            append(link, [encode(event) for event in batch], SEVERAL + 1 + first, RUNS)
    finally:
        link.close()
    return events * len(METRICS)


def _mb(memory: list[int]) -> str:
    return f"{memory[0] / 1e6:.0f} and {memory[-1] / 1e6:.0f}"
