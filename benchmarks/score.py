"""How fast one scorer empties a backlog, beside the barest loop that could."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.actor import Actor
from benchmarks.bare import RAW
from benchmarks.samples import Result, way
from benchmarks.stage import BATCH, MODEL, Stage, digits, fill
from headrace.channels import REQUESTS, RESULTS, Names
from headrace.settings import Settings

COUNT = 512


@dataclass(frozen=True, slots=True)
class Size:
    """`requests` of `rows` rows in each backlog, `rounds` times; `count` entries are read at once by the bare loop."""

    requests: int
    rounds: int
    rows: int = 1
    count: int = COUNT


FULL = Size(100_000, 7)
QUICK = Size(30_000, 3)
TINY = Size(600, 1)

Round = dict[str, float]


def run(stage: Stage, size: Size) -> Result:
    """Single-row requests: headrace, the bare loop with the same bytes and with raw structs, the model alone."""
    ways: dict[str, list[Round]] = {
        name: [] for name in ("bare loop", "headrace", "bare loop, raw structs", "model alone")
    }
    with Actor("worker") as worker, Actor("bare") as bare:
        prepare(stage, worker, bare)
        for _ in range(size.rounds):
            ways["bare loop"].append(bare_round(stage, bare, size))
            ways["headrace"].append(headrace_round(stage, worker, size))
            ways["bare loop, raw structs"].append(raw_round(stage, bare, size))
            ways["model alone"].append(model_round(bare, COUNT, max(1, size.requests // COUNT)))
    return Result(
        "score",
        f"One scorer process empties a backlog of {size.requests:,} single-row requests (digits, logistic regression, "
        "msgpack with float32 bytes), everything included from the first read to the last commit. "
        f"The bare loop reads {size.count} at once and commits with one script. {size.rounds} rounds, taking turns.",
        "bare loop",
        [way(name, rounds, ways["bare loop"]) for name, rounds in ways.items()],
    )


def prepare(stage: Stage, worker: Actor, bare: Actor) -> None:
    """Have both processes do all of it once, so that nothing is loaded late."""
    bare.ask(do="open", models=str(stage.models), model=MODEL)
    small = Size(COUNT, 1)
    bare_round(stage, bare, small)
    headrace_round(stage, worker, small)


def headrace_round(stage: Stage, worker: Actor, size: Size, model: str = MODEL) -> Round:
    """One backlog, scored by headrace."""
    settings = stage.fresh()
    fill(settings, size.requests, size.rows, model)
    stage.settle()
    before_s = stage.server_cpu_s()
    answer = worker.ask(do="score", url=settings.redis_url, prefix=settings.prefix, models=str(stage.models))
    if answer["failed"]:
        raise RuntimeError(f"{answer['failed']} requests were not scored")
    return _measured(stage, answer, before_s, size)


def bare_round(stage: Stage, bare: Actor, size: Size) -> Round:
    """The same backlog, scored by the bare loop."""
    settings = stage.fresh()
    fill(settings, size.requests, size.rows)
    return _bare(stage, bare, size, settings, raw=False)


def raw_round(stage: Stage, bare: Actor, size: Size) -> Round:
    """A backlog of structs without any codec, scored by the bare loop."""
    settings = stage.fresh()
    matrix = digits(size.requests)
    log = Names(settings.prefix).log(REQUESTS)
    for at in range(0, size.requests, BATCH):
        events = _structs(matrix[at : at + BATCH])
        pipeline = stage.client.pipeline(transaction=False)
        for event in events:
            pipeline.xadd(log, {"e": event})
        pipeline.execute()
    return _bare(stage, bare, size, settings, raw=True)


def model_round(bare: Actor, rows: int, calls: int) -> Round:
    """Only predict_proba, at the same batch size."""
    answer = bare.ask(do="predict", rows=rows, calls=calls)
    rate = answer["events"] / answer["wall_s"]
    return {"rows/s": rate, "worker CPU us/row": 1e6 / rate, "server CPU us/row": 0.0}


def _bare(stage: Stage, bare: Actor, size: Size, settings: Settings, *, raw: bool) -> Round:
    names = Names(settings.prefix)
    stage.settle()
    before_s = stage.server_cpu_s()
    answer = bare.ask(
        do="score",
        port=stage.server.port,
        log=names.log(REQUESTS),
        results=names.log(RESULTS),
        count=size.count,
        raw=raw,
    )
    return _measured(stage, answer, before_s, size)


def _measured(stage: Stage, answer: dict[str, Any], server_before_s: float, size: Size) -> Round:
    server_s = stage.server_cpu_s() - server_before_s
    if answer["events"] != size.requests:
        raise RuntimeError(f"{answer['events']} of {size.requests} requests were scored")
    rows = size.requests * size.rows
    return {
        "rows/s": rows / answer["wall_s"],
        "worker CPU us/row": 1e6 * answer["cpu_s"] / rows,
        "server CPU us/row": 1e6 * server_s / rows,
    }


def _structs(rows: Any) -> list[bytes]:
    packed = np.zeros(len(rows), RAW)
    packed["id"] = [secrets.token_hex(8).encode() for _ in rows]
    packed["x"] = rows
    return [packed[at].tobytes() for at in range(len(packed))]
