"""How much longer a grid search of short fits takes when each fold and candidate is published."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.actor import Actor
from benchmarks.samples import Result, way
from benchmarks.stage import Stage

REFERENCE = "GridSearchCV"
WAYS = {REFERENCE: "plain", "GridSearchCV, watched": "watched"}
FOLDS = 3


@dataclass(frozen=True, slots=True)
class Size:
    """`candidates` of three fits each."""

    candidates: int
    rounds: int


FULL = Size(100, 15)
QUICK = Size(100, 3)
TINY = Size(3, 1)


def run(stage: Stage, size: Size) -> Result:
    """The same search with and without, taking turns; the first of each is not counted, as it loads modules."""
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    with Actor("client") as client:
        for turn in range(size.rounds + 1):
            # Who begins changes, as a machine that slows down would favour the first.
            for name, how in sorted(WAYS.items(), reverse=bool(turn % 2)):
                settings = stage.fresh()
                found = client.ask(
                    do="search", how=how, url=settings.redis_url, prefix=settings.prefix, candidates=size.candidates
                )
                if turn:
                    rounds[name].append({"s": found["wall_s"], "cpu s": found["cpu_s"]})
    return Result(
        "search",
        f"A grid search of {size.candidates * FOLDS} fits of a logistic regression to 333 digits, ten iterations "
        f"each, in one process with one BLAS thread. {size.rounds} rounds, taking turns.",
        REFERENCE,
        [way(name, found, rounds[REFERENCE]) for name, found in rounds.items()],
    )
