"""headrace beside what a user would pick instead, each in an environment of its own: see `benchmarks/entrant.py`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import latency, score
from benchmarks.actor import Actor
from benchmarks.environment import python_of
from benchmarks.samples import Result, percentile, way
from benchmarks.stage import MODEL, Stage, digits
from headrace.embedded.probe import free_port
from headrace.models.registry import Registry

DISTINCT = 500
"""Rows that take turns, and whose labels are known."""
HEADRACE = "headrace"
LOST = math.nan
"""What a peer without a queue cannot be asked."""

Round = dict[str, float]


@dataclass(frozen=True, slots=True)
class Size:
    """`requests` of headrace's own backlog, the share of a peer's that is used, `asked` one by one at a rate."""

    requests: int
    share: float
    asked: int
    rounds: int


FULL = Size(50_000, 1.0, 800, 3)
QUICK = Size(20_000, 0.2, 100, 1)
TINY = Size(300, 0.01, 10, 1)


def run(stage: Stage, size: Size, peer: str) -> Result:
    """One peer: each of its ways in turn with headrace, round by round."""
    # At full size a missing environment is made; the quick sizes leave the peer out.
    python = python_of(peer, make=size == FULL)
    ways: dict[str, list[Round]] = {HEADRACE: []}
    with Actor(f"peers.{peer}", python) as rival, Actor("worker") as worker, Actor("client") as client:
        described = rival.ask(do="describe")
        stage.fresh()
        score.headrace_round(stage, worker, score.Size(score.COUNT, 1))
        for turn in range(size.rounds):
            for name, speed in described["ways"].items():
                own = _own(stage, worker, client, size, turn)
                ways[HEADRACE].append(own)
                start(stage, rival, name)
                count = max(20, int(speed["backlog"] * size.share))
                found = rival.ask(do="round", count=count)
                asked = min(size.asked, max(10, int(speed["rate"] * 8)))
                times = latency.schedule(asked, seed=turn, rate=speed["rate"])
                heard = rival.ask(do="latency", times=times)["latencies_s"]
                rival.ask(do="finish")
                ways.setdefault(name, []).append(_measures(found, count, heard, speed["rate"], own))
    return Result(
        "peers",
        "Single-row requests (digits, logistic regression, the same model file), labels compared with the model's own. "
        f"A backlog: {size.requests:,} requests for headrace, some seconds' worth for the others, from the moment that "
        "the warm worker is let go to the last result; services without a queue are asked by 64 callers at once. "
        "Enqueued: how fast one process leaves that backlog. Latency: open loop with random gaps (Poisson) at the rate "
        "in the last column, from the scheduled moment to the result in the caller's hands. The factors say how many "
        f"times as fast headrace was in the same round. {size.rounds} rounds.",
        "",
        [way(name, found) for name, found in ways.items()],
        [f"{peer}: {described['versions']}"],
    )


def start(stage: Stage, rival: Actor, way: str) -> int:
    """Have a peer's worker started, on clean ground: the port that it may listen on."""
    settings, port = stage.fresh(), free_port()
    rows, labels = _rows(stage)
    rival.ask(
        do="start",
        way=way,
        url=settings.redis_url,
        model=str(stage.models / "files" / f"{Registry(stage.models).champion(MODEL).sha256}.skops"),
        rows=str(rows),
        labels=str(labels),
        port=port,
    )
    return port


def _own(stage: Stage, worker: Actor, client: Actor, size: Size, turn: int) -> Round:
    """headrace's turn."""
    scored = score.headrace_round(stage, worker, score.Size(size.requests, 1))
    settings = stage.fresh()
    sent = client.ask(
        do="publish",
        how="headrace",
        url=settings.redis_url,
        port=stage.server.port,
        prefix=settings.prefix,
        count=size.requests,
    )
    times = latency.schedule(size.asked, seed=turn, rate=latency.RATE)
    heard = latency.predict(stage, client, worker, stage.fresh(), times, "predict_async")
    return {
        "requests/s": scored["rows/s"],
        "headrace is faster by": 1.0,
        "worker CPU us": scored["worker CPU us/row"],
        "enqueued/s": size.requests / sent["wall_s"],
        "faster by": 1.0,
        "p50 ms": heard["p50"],
        "p99 ms": heard["p99"],
        "p50 lower by": 1.0,
        "asked/s": latency.RATE,
    }


def _measures(found: dict[str, Any], count: int, heard: list[float], rate: float, own: Round) -> Round:
    speed = count / found["wall_s"]
    enqueued = LOST if found["enqueue_s"] is None else count / found["enqueue_s"]
    p50, p99 = (1000 * percentile(heard, rank) for rank in (0.5, 0.99))
    return {
        "requests/s": speed,
        "headrace is faster by": own["requests/s"] / speed,
        "worker CPU us": 1e6 * found["cpu_s"] / count,
        "enqueued/s": enqueued,
        "faster by": own["enqueued/s"] / enqueued,
        "p50 ms": p50,
        "p99 ms": p99,
        "p50 lower by": p50 / own["p50 ms"],
        "asked/s": rate,
    }


def _rows(stage: Stage) -> tuple[Path, Path]:
    """Files with some rows and the model's own labels for them."""
    rows, labels = stage.folder / "rows.npy", stage.folder / "labels.npy"
    if not rows.exists():
        matrix = digits(DISTINCT)
        estimator = Registry(stage.models).open(MODEL).estimator
        np.save(rows, matrix)
        np.save(labels, estimator.predict_proba(matrix).argmax(axis=1))
    return rows, labels
