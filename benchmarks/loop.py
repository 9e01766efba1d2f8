"""What a training loop that logs 1,000 times a second loses of its speed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.actor import Actor
from benchmarks.samples import Result, way
from benchmarks.stage import Stage
from headrace.embedded.probe import free_port

REFERENCE = "partial_fit alone"
WAYS = {REFERENCE: "bare", "with run.log each step": "alive", "with run.log each step, no server": "dead"}
STEP_S = 0.001

Round = dict[str, float]


@dataclass(frozen=True, slots=True)
class Size:
    """`steps` in each round."""

    steps: int
    rounds: int


FULL = Size(2_000, 15)
QUICK = Size(500, 3)
TINY = Size(20, 1)


def run(stage: Stage, size: Size) -> Result:
    """Steps of a millisecond: alone, logged, and logged with nobody there."""
    ways: dict[str, list[Round]] = {name: [] for name in WAYS}
    with Actor("learner") as learner:
        rows = learner.ask(do="calibrate", step_s=STEP_S)["rows"]
        for turn in range(size.rounds):
            # The order turns round, so that whatever the loop before left to do falls on each in turn.
            for name, how in _turned(WAYS, turn):
                found = trained(stage, learner, how, rows, size.steps)
                ways[name].append(
                    {"steps/s": size.steps / found["wall_s"], "CPU us": 1e6 * found["cpu_s"] / size.steps}
                )
    return Result(
        "loop",
        f"{size.steps:,} steps of partial_fit that take about a millisecond each ({rows:,} rows of digits, one BLAS "
        "thread), and the same with one run.log of two metrics a step. A ratio of 0.99 is a loss of 1 %. CPU is that "
        f"of the whole process, the sending thread included. {size.rounds} rounds, taking turns.",
        REFERENCE,
        [way(name, rounds, ways[REFERENCE]) for name, rounds in ways.items()],
    )


def trained(stage: Stage, learner: Actor, how: str, rows: int, steps: int) -> dict[str, Any]:
    """One round of training, on clean ground."""
    settings = stage.fresh()
    url = f"redis://127.0.0.1:{free_port()}/0" if how == "dead" else settings.redis_url
    spill = str(stage.folder / settings.prefix)
    return learner.ask(do="train", how=how, url=url, prefix=settings.prefix, spill=spill, rows=rows, steps=steps)


def _turned(ways: dict[str, str], turn: int) -> list[tuple[str, str]]:
    listed = list(ways.items())
    at = turn % len(listed)
    return listed[at:] + listed[:at]
