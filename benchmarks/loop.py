"""What a training loop loses of its speed by logging each step.

Two runs of one loop on a machine that others use differ by more than the loss in question. So it is told from the steps
themselves: what `run.log` took in each, and how much longer those steps took during which the thread that sends was at
work than their neighbours a few milliseconds away.
"""

from __future__ import annotations

import math
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks.actor import Actor
from benchmarks.samples import Result, way
from benchmarks.stage import Stage
from headrace.embedded import EmbeddedServer, EmbeddedSettings
from headrace.embedded.probe import free_port

REFERENCE = "partial_fit alone"
SERVERS = {"alive": "a server", "dead": "no server", "back": "a server that dies and comes back"}
STEPS_S = (0.001, 0.005)
BESIDE = 6
"""So many steps before and after are neighbours."""
SPARED = 0.05
"""The share of the shortest and of the longest that a mean leaves out: a step that something else held up for long."""

Round = dict[str, float]


@dataclass(frozen=True, slots=True)
class Size:
    """Each way learns for so long in each round."""

    seconds: float
    rounds: int


FULL = Size(16.0, 3)
QUICK = Size(3.0, 1)
TINY = Size(0.5, 1)


def run(stage: Stage, size: Size) -> Result:
    """Short and longer steps: alone, logged, logged with nobody there, and with a server that is killed meanwhile."""
    ways: dict[str, list[Round]] = {REFERENCE: []}
    with Actor("learner") as learner:
        for _ in range(size.rounds):
            for step_s in STEPS_S:
                rows = learner.ask(do="calibrate", step_s=step_s)["rows"]
                for server, shown in SERVERS.items():
                    paid = _paying(stage, learner, server, rows, size.seconds)
                    ways.setdefault(f"run.log after {1000 * step_s:g} ms, {shown}", []).append(paid)
            ways[REFERENCE].append(
                {"speed %": 100.0, "step us": math.nan, "run.log us": math.nan, "sending us": math.nan}
            )
    return Result(
        "loop",
        "Steps of partial_fit (digits, one BLAS thread) with one run.log of two metrics after each, for "
        f"{size.seconds:g} s; the server that dies is away for half of that. Speed is what is left of a step's time "
        "after that of run.log and of sending. Sending: how much longer steps took during which the sending thread was "
        f"at work than the median of their neighbours. Means leave out the {SPARED:.0%} of least and of most. "
        f"{size.rounds} rounds, taking turns.",
        REFERENCE,
        [way(name, rounds, ways[REFERENCE]) for name, rounds in ways.items()],
    )


def _paying(stage: Stage, learner: Actor, server: str, rows: int, seconds: float) -> Round:
    settings = stage.fresh()
    words = {"prefix": settings.prefix, "spill": str(stage.folder / settings.prefix), "rows": rows, "seconds": seconds}
    if server != "back":
        url = f"redis://127.0.0.1:{free_port()}/0" if server == "dead" else settings.redis_url
        return learner.ask(do="pay", url=url, **words)
    with EmbeddedServer(EmbeddedSettings(appendfsync="everysec")) as own:
        learner.tell(do="pay", url=own.url, **words)
        for _ in range(2):
            time.sleep(seconds / 8)
            own.kill()
            time.sleep(seconds / 4)
            own.restart()
        return learner.answer()


def lost(fits: Sequence[float], logs: Sequence[float], busy: Sequence[bool]) -> Round:
    """What steps lose, from the time of each, that of its `run.log`, and whether the sending thread was at work in it.

    All times in one unit; `run.log` and `sending` are per step.
    """
    extra: list[float] = []
    at = 0
    while at < len(fits):
        if not busy[at]:
            at += 1
            continue
        begin = at
        while at < len(fits) and busy[at]:
            at += 1
        around = (*range(max(0, begin - BESIDE), begin), *range(at, min(len(fits), at + BESIDE)))
        beside = [fits[one] for one in around if not busy[one]]
        if len(beside) >= BESIDE:
            extra.append(sum(fits[begin:at]) - (at - begin) * statistics.median(beside))
    step, log = statistics.median(fits), _mean(logs)
    sending = _mean(extra) * len(extra) / len(fits) if extra else 0.0
    return {"speed %": 100 * (1 - (log + sending) / step), "step us": step, "run.log us": log, "sending us": sending}


def sending() -> Callable[[], int]:
    """Tells the processor time, in ns, of the thread that sends for the publisher of this process."""
    thread = next(one for one in threading.enumerate() if one.name == "headrace-publisher")
    assert thread.ident is not None
    return partial(time.clock_gettime_ns, time.pthread_getcpuclockid(thread.ident))


def _mean(samples: Sequence[float]) -> float:
    spared = int(SPARED * len(samples))
    return statistics.fmean(sorted(samples)[spared : len(samples) - spared])
