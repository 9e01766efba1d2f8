"""How fast one process publishes in bulk, beside the barest ways to get the same events into a stream."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.actor import Actor
from benchmarks.samples import Result, way
from benchmarks.stage import Stage

WAYS = {
    "script of 500, bare": "script",
    "headrace": "headrace",
    "redis-py pipeline of 500": "pipeline",
    "redis-py one by one": "one by one",
}
REFERENCE = "script of 500, bare"
SLOW = "one by one"


@dataclass(frozen=True, slots=True)
class Size:
    """`events` in each round; a tenth of them where each waits for its answer."""

    events: int
    rounds: int


FULL = Size(200_000, 7)
QUICK = Size(40_000, 3)
TINY = Size(1_000, 1)


def run(stage: Stage, size: Size) -> Result:
    """Requests of one digit each: headrace's publisher, a script call a batch, a pipeline, one call an event."""
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    with Actor("client") as client:
        for count in (100, *[size.events] * size.rounds):
            for name, how in WAYS.items():
                events = count // 10 if how == SLOW else count
                settings = stage.fresh()
                before_s = stage.server_cpu_s()
                answer = client.ask(
                    do="publish",
                    how=how,
                    url=settings.redis_url,
                    port=stage.server.port,
                    prefix=settings.prefix,
                    count=events,
                )
                if count == size.events:
                    rounds[name].append(
                        {
                            "events/s": events / answer["wall_s"],
                            "client CPU us/event": 1e6 * answer["cpu_s"] / events,
                            "server CPU us/event": 1e6 * (stage.server_cpu_s() - before_s) / events,
                        }
                    )
    return Result(
        "publish",
        f"One process publishes {size.events:,} requests of one digit each (msgpack) as fast as it goes, until the "
        "server has accepted all of them. Every way encodes the same event objects; headrace gives ids and times "
        "besides, numbers the events for its fence, pushes to the live side and counts. "
        f"{size.rounds} rounds, taking turns.",
        REFERENCE,
        [way(name, found, rounds[REFERENCE]) for name, found in rounds.items()],
    )
