"""What `run.log` costs the training thread, beside putting the same values into a deque."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.actor import Actor
from benchmarks.samples import Result, way
from benchmarks.stage import Stage
from headrace.embedded.probe import free_port

REFERENCE = "append to a deque, 1,000 a second"
RATE = 1000.0
WAYS = {
    REFERENCE: ("append", RATE),
    "run.log, 1,000 a second": ("alive", RATE),
    "run.log, 1,000 a second, no server": ("dead", RATE),
    "append to a deque, without a pause": ("append", 0.0),
    "run.log, without a pause": ("alive", 0.0),
    "run.log, without a pause, no server": ("dead", 0.0),
}
"""How each way does it, and how many calls a second."""


@dataclass(frozen=True, slots=True)
class Size:
    """`calls` timed in each round."""

    calls: int
    rounds: int


FULL = Size(5_000, 7)
QUICK = Size(300, 2)
TINY = Size(100, 1)


def run(stage: Stage, size: Size) -> Result:
    """Calls from a loop that learns in between, and from one that does nothing else; with a server and without."""
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    with Actor("client") as client:
        for _ in range(size.rounds):
            for name, (how, rate) in WAYS.items():
                settings = stage.fresh()
                url = f"redis://127.0.0.1:{free_port()}/0" if how == "dead" else settings.redis_url
                found = client.ask(
                    do="log",
                    how=how,
                    url=url,
                    prefix=settings.prefix,
                    spill=str(stage.folder / settings.prefix),
                    calls=size.calls,
                    rate=rate,
                )
                rounds[name].append({"p50 us": found["p50"], "p99 us": found["p99"]})
    return Result(
        "log",
        f"{size.calls:,} calls of run.log with a step and two metrics, each timed in the thread that makes it, less "
        "what reading the clock takes. At 1,000 a second the loop does a step of real learning in between "
        f"(partial_fit, one BLAS thread). {size.rounds} rounds, taking turns.",
        REFERENCE,
        [way(name, found, rounds[REFERENCE]) for name, found in rounds.items()],
    )
