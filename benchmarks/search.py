"""What a grid search of short fits loses when each fold and candidate is published.

As in `loop`, two searches on a machine that others use differ by more than the loss: so it is told from its parts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from benchmarks.actor import Actor
from benchmarks.samples import Result, way
from benchmarks.stage import Stage

REFERENCE = "GridSearchCV"
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
    """Watched searches; the first is not counted, as it loads modules."""
    rounds: list[dict[str, float]] = []
    with Actor("client") as client:
        for _ in range(size.rounds + 1):
            settings = stage.fresh()
            found = client.ask(
                do="search", url=settings.redis_url, prefix=settings.prefix, candidates=size.candidates, folds=FOLDS
            )
            speed = 100 * (1 - (found["hook"] + found["sending"]) / found["fit"])
            rounds.append(
                {"speed %": speed, "fit us": found["fit"], "hook us": found["hook"], "sending us": found["sending"]}
            )
    del rounds[0]
    bare = {"speed %": 100.0, "fit us": math.nan, "hook us": math.nan, "sending us": math.nan}
    reference = [bare] * len(rounds)
    return Result(
        "search",
        f"A grid search of {size.candidates * FOLDS} fits of a logistic regression to 333 digits, ten iterations each, "
        "in one process with one BLAS thread. Speed is what is left of a fit's time after that of the callback, all "
        "calls timed, and the processor time of the sending thread, as if no other core could take it. "
        f"{size.rounds} rounds.",
        REFERENCE,
        [way(REFERENCE, reference, reference), way("GridSearchCV, watched", rounds, reference)],
    )
