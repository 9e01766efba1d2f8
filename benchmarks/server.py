"""What the server alone does: the ceiling of everything else, asked over one socket by a program that does nothing."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.actor import Actor
from benchmarks.samples import Result, way
from benchmarks.stage import Stage

REFERENCE = "XADD, 64 in flight"
WAYS = {
    "PING, one by one": ("ping", 1),
    "PING, 64 in flight": ("ping", 64),
    "XADD, one by one": ("add", 1),
    REFERENCE: ("add", 64),
    "one script for 500 XADD": ("script", 500),
}
PAYLOAD_BYTES = 300
ALONE = 10
"""Where each waits for its answer, a tenth of the commands will do."""


@dataclass(frozen=True, slots=True)
class Size:
    """`commands` in each round."""

    commands: int
    rounds: int


FULL = Size(200_000, 5)
QUICK = Size(40_000, 2)
TINY = Size(1_000, 1)


def run(stage: Stage, size: Size) -> Result:
    """Each way in turn."""
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    with Actor("bare") as bare:
        for _ in range(size.rounds):
            for name, (how, flight) in WAYS.items():
                settings = stage.fresh()
                count = size.commands // (ALONE if flight == 1 else 1)
                before_s = stage.server_cpu_s()
                found = bare.ask(
                    do="press",
                    port=stage.server.port,
                    log=f"{settings.prefix}:log",
                    how=how,
                    count=count,
                    flight=flight,
                    payload_bytes=PAYLOAD_BYTES,
                )
                used_s = stage.server_cpu_s() - before_s
                rounds[name].append({"per s": count / found["wall_s"], "server CPU us": 1e6 * used_s / count})
    return Result(
        "server",
        f"The server alone: one socket, no library, {PAYLOAD_BYTES} bytes an entry, with its log on the disk as in all "
        f"that follows. {size.rounds} rounds, taking turns.",
        REFERENCE,
        [way(name, found, rounds[REFERENCE]) for name, found in rounds.items()],
    )
