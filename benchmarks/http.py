"""The way in for everybody who is not Python: one gateway process under a steady load, and as much as it takes."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from benchmarks import contest, latency
from benchmarks.actor import Actor
from benchmarks.environment import python_of
from benchmarks.program import program
from benchmarks.samples import Result, way
from benchmarks.stage import MODEL, AbsentError, Stage

CALLERS = 64
PATH = f"/v1/models/{MODEL}/predict"
BENTO = "BentoML, 64 callers"

Round = dict[str, float]


@dataclass(frozen=True, slots=True)
class Size:
    """`rate` requests a second for `seconds`; `requests` by 64 callers who wait."""

    rate: float
    seconds: float
    requests: int
    rounds: int


FULL = Size(1_000, 10, 8_000, 3)
QUICK = Size(1_000, 3, 2_000, 1)
TINY = Size(50, 0.4, 100, 1)


def run(stage: Stage, size: Size) -> Result:
    """The gateway with one scorer behind it, open loop and closed; BentoML closed, where its environment exists."""
    steady, ours = f"headrace, {size.rate:,.0f} a second", f"headrace, {CALLERS} callers"
    ways: dict[str, list[Round]] = {ours: [], steady: []}
    notes: list[str] = []
    with Actor("caller") as caller:
        for turn in range(size.rounds):
            settings = stage.fresh()
            with (
                program(settings, "scorer", ready="scorer ready"),
                program(settings, "gateway", "--port", "0", "--rate", "0", ready="http://") as gateway,
            ):
                port = urlsplit(gateway.url).port
                times = latency.schedule(int(size.rate * size.seconds), seed=turn, rate=size.rate)
                caller.ask(do="closed", port=port, path=PATH, requests=CALLERS, callers=CALLERS)
                found = caller.ask(do="open", port=port, path=PATH, times=times)
                ways[steady].append(_measures(found))
                notes += _unanswered(found)
                found = caller.ask(do="closed", port=port, path=PATH, requests=size.requests, callers=CALLERS)
                ways[ours].append(_measures(found))
                notes += _unanswered(found)
            if size != TINY:
                try:
                    ways.setdefault(BENTO, []).append(_bento(stage, caller, size))
                except AbsentError as absent:
                    ways.pop(BENTO, None)
                    if str(absent) not in notes:
                        notes.append(str(absent))
    return Result(
        "http",
        f"One gateway process, one scorer. {size.rate:,.0f} single-row requests a second for {size.seconds:g} s, open "
        f"loop with random gaps; then {size.requests:,} requests by {CALLERS} callers who each wait for their answer, "
        "which is how BentoML is asked, too (one worker, adaptive batches). All by the same program, on the same two "
        f"cores. {size.rounds} rounds.",
        ours,
        [way(name, rounds, ways[ours]) for name, rounds in ways.items()],
        notes,
    )


def _bento(stage: Stage, caller: Actor, size: Size) -> Round:
    with ExitStack() as stack:
        rival = stack.enter_context(Actor("peers.bentoml", python_of("bentoml", make=size == FULL)))
        [name] = rival.ask(do="describe")["ways"]
        port = contest.start(stage, rival, name)
        found = caller.ask(do="closed", port=port, path="/score", requests=size.requests // 2, callers=CALLERS)
        rival.ask(do="finish")
    return _measures(found)


def _unanswered(found: dict[str, Any]) -> list[str]:
    return [f"not answered in one of the rounds: {n} requests, {why}" for why, n in found["errors"].items()]


def _measures(found: Round) -> Round:
    return {
        "requests/s": found["rate"],
        "p50 ms": found["p50"],
        "p99 ms": found["p99"],
        "lost": found["lost"],
    }
