"""What adapters of training frameworks cost the training thread a step, beside putting the same values into a deque."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.actor import Actor
from benchmarks.samples import Result, way
from benchmarks.stage import Stage

REFERENCE = "append to a deque"
RATE = 1000.0
WAYS = {
    REFERENCE: "append",
    "run.log": "alive",
    "hook of a framework": "hook",
    "iteration of track": "track",
    "log record, its text read": "record",
}


@dataclass(frozen=True, slots=True)
class Size:
    """`calls` timed in each round."""

    calls: int
    rounds: int


FULL = Size(1_000, 7)
QUICK = Size(200, 2)
TINY = Size(50, 1)


def run(stage: Stage, size: Size) -> Result:
    """Steps of a loop that learns in between, as `log` times them."""
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    with Actor("client") as client:
        for _ in range(size.rounds):
            for name, how in WAYS.items():
                settings = stage.fresh()
                spill = str(stage.folder / settings.prefix)
                found = client.ask(
                    do="log",
                    how=how,
                    url=settings.redis_url,
                    prefix=settings.prefix,
                    spill=spill,
                    calls=size.calls,
                    rate=RATE,
                )
                rounds[name].append({"p50 us": found["p50"], "p99 us": found["p99"]})
    return Result(
        "steps",
        f"{size.calls:,} steps, {RATE:g} a second, with real learning in between (partial_fit, one BLAS thread); each "
        "call of an adapter timed in the training thread, less what reading the clock takes. The hook is LightGBM's, "
        f"with two evaluations. {size.rounds} rounds, taking turns.",
        REFERENCE,
        [way(name, found, rounds[REFERENCE]) for name, found in rounds.items()],
    )
