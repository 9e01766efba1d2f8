"""What each part of it keeps in memory: the publisher's side, a scorer, and the server for each waiting request."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from benchmarks.actor import ONE_THREAD, ROOT
from benchmarks.program import program
from benchmarks.samples import Result, way
from benchmarks.stage import Stage, digits, fill, request
from headrace.codec import encode

REFERENCE = "python, doing nothing"
TELL = "print(open('/proc/self/statm').read().split()[1])"
PUBLISH = """
from headrace import Publisher, Run
with Publisher(url={url!r}, prefix={prefix!r}) as publisher, Run("memory", publisher=publisher) as run:
    run.log(step=1, loss=0.5)
    publisher.flush()
    """
SIZES = (1, 16, 256)
"""Rows in a request."""

Round = dict[str, float]


@dataclass(frozen=True, slots=True)
class Size:
    """`requests` that wait in the server, of a single row; fewer where they are larger."""

    requests: int
    rounds: int


FULL = Size(50_000, 3)
QUICK = Size(10_000, 1)
TINY = Size(300, 1)


def run(stage: Stage, size: Size) -> Result:
    """Resident memory of whole processes, and what the server needs more with a backlog."""
    ways: dict[str, list[Round]] = {
        name: [] for name in (REFERENCE, "publisher and run", "scorer, ready", "scorer, after a backlog")
    }
    notes = []
    for _ in range(size.rounds):
        settings = stage.fresh()
        found = {
            REFERENCE: _told(TELL),
            "publisher and run": _told(PUBLISH.format(url=settings.redis_url, prefix=settings.prefix) + TELL),
        }
        with program(settings, "scorer", ready="scorer ready") as scorer:
            found["scorer, ready"] = _resident(scorer.pid)
            fill(settings, size.requests)
            stage.until_scored(settings, size.requests)
            found["scorer, after a backlog"] = _resident(scorer.pid)
        for name, mb in found.items():
            ways[name].append({"MB": mb, "MB over python": mb - found[REFERENCE]})
    for rows in SIZES:
        each, payload = _queued(stage, max(20, size.requests // rows), rows)
        notes.append(
            f"server memory for each waiting request of {rows} rows: {each:,.0f} bytes, {each / payload:.2f} times "
            f"its {payload:,} bytes"
        )
    return Result(
        "memory",
        f"Resident memory of whole processes. The publisher has sent, the scorer has scored {size.requests:,} requests "
        f"(digits, logistic regression). {size.rounds} rounds.",
        REFERENCE,
        [way(name, rounds, ways[REFERENCE]) for name, rounds in ways.items()],
        notes,
    )


def _told(code: str) -> float:
    """Resident memory of a program at its end, MB."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **ONE_THREAD},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _resident(pid: int) -> float:
    import psutil

    size: int = psutil.Process(pid).memory_info().rss
    return size / 1e6


def _queued(stage: Stage, requests: int, rows: int) -> tuple[float, int]:
    """What the server needs for each request that waits, and what its event alone has, bytes."""
    settings = stage.fresh()
    fill(settings, 1, rows)
    before = _used(stage)
    fill(settings.with_(prefix=f"{settings.prefix}x"), requests, rows)
    payload = encode(request(digits(rows).tobytes(), (rows, 64)))
    return (_used(stage) - before) / requests, len(payload)


def _used(stage: Stage) -> int:
    told: dict[str, Any] = stage.client.info("memory")
    return int(told["used_memory"])
