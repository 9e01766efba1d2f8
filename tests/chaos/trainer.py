"""A process that trains, so to speak: a loop of steps that take some time, each one logged.

Reads one JSON line: {"steps": how many, "step_ms": how long each takes at first, "name": of the run}. Prints, ten times
a second and at its end, {"run", "step", "dropped", "slowdown", "done"}. `slowdown` is the time of a step that is logged
over that of one that is not, each the median of blocks that alternate.
"""

from __future__ import annotations

import json
import sys
import time
from statistics import median
from typing import Any

from headrace.publisher import Publisher, Run
from headrace.settings import Settings

BLOCK = 20
CALIBRATION = 100_000
CLOSE_S = 1.0
SPEAK_S = 0.1


def main() -> None:
    asked: dict[str, Any] = json.loads(sys.stdin.readline())
    steps, turns = int(asked["steps"]), turns_of(asked["step_ms"] / 1000)
    logged: list[float] = []
    plain: list[float] = []
    publisher = Publisher(Settings.load())
    spoke_at = 0.0
    with Run(asked["name"], publisher=publisher, total_steps=steps) as run:
        step = 0
        while step < steps:
            plain.append(block(turns))
            began = time.perf_counter()
            for _ in range(BLOCK):
                step += 1
                work(turns)
                run.log(step=step, loss=1.0 / step)
            logged.append(time.perf_counter() - began)
            if time.monotonic() - spoke_at > SPEAK_S:
                spoke_at = time.monotonic()
                say(publisher, run, step, 0.0)
    publisher.close(CLOSE_S)  # raises nothing: only events of a run are in it
    say(publisher, run, step, median(logged) / median(plain), done=True)


def block(turns: int) -> float:
    """The time of a block of steps that are not logged."""
    began = time.perf_counter()
    for _ in range(BLOCK):
        work(turns)
    return time.perf_counter() - began


def turns_of(seconds: float) -> int:
    """How much work takes so long. A step is always the same work, so that one who takes the processor away shows."""
    began = time.perf_counter()
    work(CALIBRATION)
    return max(1, int(CALIBRATION * seconds / (time.perf_counter() - began)))


def work(turns: int) -> None:
    """A step of training."""
    for _ in range(turns):
        sum(range(50))


def say(publisher: Publisher, run: Run, step: int, slowdown: float, **more: Any) -> None:
    told = {
        "run": run.id,
        "step": step,
        "dropped": publisher.dropped.get("run.metrics", 0),
        "slowdown": slowdown,
        **more,
    }
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
