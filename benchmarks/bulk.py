"""How fast one scorer goes through requests of many rows each, beside the barest loop and the model alone."""

from __future__ import annotations

from benchmarks import score
from benchmarks.actor import Actor
from benchmarks.samples import Result, way
from benchmarks.score import Round, Size
from benchmarks.stage import Stage

ROWS = 256
AT_ONCE = 16
"""Entries that the bare loop reads at once: 4,096 rows, as many as the scorer gives the model in one call."""

FULL = Size(4_000, 7, ROWS, AT_ONCE)
QUICK = Size(600, 2, ROWS, AT_ONCE)
TINY = Size(20, 1, ROWS, AT_ONCE)


def run(stage: Stage, size: Size) -> Result:
    """Requests of 256 rows: headrace, the bare loop with the same bytes, the model alone."""
    ways: dict[str, list[Round]] = {name: [] for name in ("bare loop", "headrace", "model alone")}
    with Actor("worker") as worker, Actor("bare") as bare:
        score.prepare(stage, worker, bare)
        for _ in range(size.rounds):
            ways["bare loop"].append(score.bare_round(stage, bare, size))
            ways["headrace"].append(score.headrace_round(stage, worker, size))
            rows = size.rows * size.count
            ways["model alone"].append(score.model_round(bare, rows, max(1, size.requests // size.count)))
    return Result(
        "bulk",
        f"One scorer process empties a backlog of {size.requests:,} requests of {size.rows} rows each (digits, "
        f"logistic regression, msgpack with float32 bytes). The bare loop reads {size.count} at once, which is what "
        f"the model alone is given, too. {size.rounds} rounds, taking turns.",
        "bare loop",
        [way(name, rounds, ways["bare loop"]) for name, rounds in ways.items()],
    )
