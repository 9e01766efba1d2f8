"""When requests are sent: seconds from the start, in order. Pure; the same seed is the same schedule."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

Times = Iterator[float]


def uniform(rate: float, seed: int = 0) -> Times:
    """One every 1/rate seconds."""
    turn = 0
    while True:
        yield turn / rate
        turn += 1


def poisson(rate: float, seed: int = 0) -> Times:
    """Independent of each other, as those of many callers are: gaps are exponential with mean 1/rate."""
    draw = random.Random(seed).expovariate
    at = 0.0
    while True:
        at += draw(rate)
        yield at


def bursts(rate: float, seed: int = 0) -> Times:
    """The requests of each second at once, at its beginning. Below one a second they come alone, evenly spaced."""
    second, sent = 0, 0
    while True:
        due = int(rate * (second + 1)) - sent
        for _ in range(due):
            yield float(second)
        sent += due
        second += 1


ARRIVALS: dict[str, Callable[[float, int], Times]] = {"poisson": poisson, "uniform": uniform, "bursts": bursts}
"""By name."""


def until(times: Times, end_s: float) -> Times:
    """Those before `end_s`."""
    for at in times:
        if at >= end_s:
            return
        yield at
