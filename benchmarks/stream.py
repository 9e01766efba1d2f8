"""Rows without end through `partial_fit`: what live events cost a loop that only wants to learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.actor import Actor
from benchmarks.loop import Round
from benchmarks.samples import Result, way
from benchmarks.stage import Stage

REFERENCE = "partial_fit alone"
WAYS = {REFERENCE: "bare", "headrace": "alive"}
ROWS_A_STEP = 10_000


@dataclass(frozen=True, slots=True)
class Size:
    """`steps` of 10,000 rows in each round."""

    steps: int
    rounds: int

    @staticmethod
    def of(rows: int) -> Size:
        """Rounds that come to so many rows each way."""
        rounds = 10
        return Size(max(1, rows // (ROWS_A_STEP * rounds)), rounds)


FULL = Size.of(50_000_000)
QUICK = Size(50, 3)
TINY = Size(2, 1)


def run(stage: Stage, size: Size) -> Result:
    """The same loop with and without headrace."""
    ways: dict[str, list[Round]] = {name: [] for name in WAYS}
    rows = size.steps * ROWS_A_STEP
    with Actor("learner") as learner:
        for turn in range(size.rounds):
            for name, how in list(WAYS.items())[:: -1 if turn % 2 else 1]:
                found = _trained(stage, learner, how, ROWS_A_STEP, size.steps)
                ways[name].append({"rows/s": rows / found["wall_s"], "CPU us/row": 1e6 * found["cpu_s"] / rows})
    return Result(
        "stream",
        f"{rows * size.rounds:,} rows of digits (64 values) each way through partial_fit of a logistic regression, "
        f"{ROWS_A_STEP:,} a step, with two live metrics a step and without. {size.rounds} rounds, taking turns.",
        REFERENCE,
        [way(name, rounds, ways[REFERENCE]) for name, rounds in ways.items()],
    )


def _trained(stage: Stage, learner: Actor, how: str, rows: int, steps: int) -> dict[str, Any]:
    """One round of training on clean ground, timed as a whole: `bare`, or `alive` with a run that logs each step."""
    settings = stage.fresh()
    spill = str(stage.folder / settings.prefix)
    return learner.ask(
        do="train", how=how, url=settings.redis_url, prefix=settings.prefix, spill=spill, rows=rows, steps=steps
    )
