"""How long a lone request takes, from the moment it should be sent to its result in the requester's hands."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import accumulate

from benchmarks.actor import Actor
from benchmarks.samples import Result, way
from benchmarks.stage import Stage
from headrace.settings import Settings

RATE = 200.0
REFERENCE = "ping-pong over two streams, bare"
WAYS = {REFERENCE: "ping", "headrace, threads": "predict", "headrace, asyncio": "predict_async"}


@dataclass(frozen=True, slots=True)
class Size:
    """`requests` in each round, at 200 a second."""

    requests: int
    rounds: int


FULL = Size(2_000, 5)
QUICK = Size(200, 2)
TINY = Size(20, 1)


def run(stage: Stage, size: Size) -> Result:
    """A bare ping-pong, the publisher for plain code and the one for asyncio, at the same send times."""
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    with Actor("client") as client, Actor("worker") as worker, Actor("bare") as bare:
        for turn in range(size.rounds + 1):
            times = schedule(size.requests if turn else 20, seed=turn)
            for name, how in WAYS.items():
                settings = stage.fresh()
                ask = _ping if how == "ping" else predict
                found = ask(stage, client, bare if how == "ping" else worker, settings, times, how)
                if turn:
                    rounds[name].append({"p50 ms": found["p50"], "p99 ms": found["p99"]})
    return Result(
        "latency",
        f"{size.requests:,} single-row requests at {RATE:.0f} a second with random gaps (Poisson), open loop: the "
        "clock of each starts when it was scheduled, however late the ones before it are. One client process, one "
        "scorer process. The ping-pong sends 256 bytes through one stream and gets them back through another. "
        f"{size.rounds} rounds, taking turns.",
        REFERENCE,
        [way(name, found, rounds[REFERENCE]) for name, found in rounds.items()],
    )


def schedule(requests: int, seed: int, rate: float = RATE) -> list[float]:
    """When to send, seconds from the start; the same for the same seed."""
    draw = random.Random(seed)
    return list(accumulate(draw.expovariate(rate) for _ in range(requests)))


def _ping(
    stage: Stage, client: Actor, bare: Actor, settings: Settings, times: list[float], how: str
) -> dict[str, float]:
    there, back = f"{settings.prefix}:there", f"{settings.prefix}:back"
    bare.tell(do="echo", port=stage.server.port, there=there, back=back, count=len(times))
    found: dict[str, float] = client.ask(do=how, port=stage.server.port, there=there, back=back, times=times)
    bare.answer()
    return found


def predict(
    stage: Stage, client: Actor, worker: Actor, settings: Settings, times: list[float], how: str
) -> dict[str, float]:
    """One round of headrace: `how` is the client's."""
    worker.ask(do="start", url=settings.redis_url, prefix=settings.prefix, models=str(stage.models))
    found: dict[str, float] = client.ask(do=how, url=settings.redis_url, prefix=settings.prefix, times=times)
    worker.ask(do="finish")
    return found
