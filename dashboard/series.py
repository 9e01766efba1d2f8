"""What is drawn over time: names and values taken from one frame. Pure.

    in, scored, depth, p50, p95, p99, errors, accuracy      the tiles
    in:CHANNEL                                              events published a second
    out:CHANNEL/GROUP                                       entries committed a second
    depth:CHANNEL/GROUP                                     entries a group still has to commit
    flight:CHANNEL/GROUP, oldest:CHANNEL/GROUP              those handed out; age of the oldest, milliseconds
    retry:CHANNEL/GROUP, dead:CHANNEL/GROUP                 retries and dead letters a second
    pub:CHANNEL, memory:CHANNEL                             events a second and bytes held, of every fourth frame
    rate:WORKER, busy:WORKER                                entries a second and busy share, of every fourth frame
    memory                                                  bytes that the server uses, of every fourth frame

A value that is not known is left out: a line has a hole there, never a zero that nobody measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from headrace.channels import (
    ACTIONS,
    ALERTS,
    DEAD,
    FRAMES,
    FRAMES_LONG,
    JOINED,
    MODELS,
    RESULTS,
    TAIL,
    WORKERS,
)
from headrace.events import Frame, ModelView

HOUSEKEEPING = frozenset({TAIL, MODELS, WORKERS, ALERTS, ACTIONS, FRAMES, FRAMES_LONG})
"""Channels that tell headrace of itself; their groups are nobody's queue."""

DERIVED = HOUSEKEEPING | {RESULTS, JOINED, DEAD}
"""Channels that headrace itself fills; what comes in from outside is on all the others."""

PEAKS = ("depth", "flight", "oldest", "p50", "p95", "p99")
"""Beginnings of the names whose largest value stands for a span of time; the others are averaged."""

LIVE_ACCURACY_S = 300
SELDOM = 4
"""What changes once a second is taken from one frame of so many."""
CLOSELY = 24
"""Groups and channels of which more is kept than depth and rates."""
DRAWN = 16
"""Workers whose work is drawn over time."""


def is_peak(name: str) -> bool:
    return name.startswith(PEAKS)


def values(frame: Frame) -> dict[str, float]:
    """The points that this frame adds, six digits of each."""
    found: dict[str, float] = {
        "in": 0.0,
        "scored": sum(model.requests.s5 for model in frame.models),
        "depth": 0.0,
        "errors": sum(group.dead.s5 for group in frame.groups),
    }
    for channel in frame.channels:
        if channel.name not in DERIVED:
            found[f"in:{channel.name}"] = channel.rate.s5
            found["in"] += channel.rate.s5
    for place, group in enumerate(frame.groups):
        if group.channel not in HOUSEKEEPING:
            depth = float(group.lag + group.in_flight)
            found[f"out:{group.channel}/{group.group}"] = group.committed.s5
            found[f"depth:{group.channel}/{group.group}"] = depth
            if place < CLOSELY:
                found[f"flight:{group.channel}/{group.group}"] = float(group.in_flight)
                found[f"oldest:{group.channel}/{group.group}"] = group.oldest_ms
                found[f"retry:{group.channel}/{group.group}"] = group.retried.s5
                found[f"dead:{group.channel}/{group.group}"] = group.dead.s5
            found["depth"] += depth
    for stage in frame.latency:
        if stage.stage == "total" and stage.count:
            found["p50"], found["p95"], found["p99"] = stage.p50_ms, stage.p95_ms, stage.p99_ms
    joined, correct = recent_labels(frame.models, frame.time)
    if joined:
        found["accuracy"] = correct / joined
    if frame.number % SELDOM == 0:
        found |= _seldom(frame)
    return {name: float(f"{value:.6g}") for name, value in found.items() if math.isfinite(value)}


def _seldom(frame: Frame) -> dict[str, float]:
    """What is told by signs of life and by sizes of logs."""
    found = {"memory": float(frame.server.memory_bytes)} if frame.server.memory_bytes else {}
    for channel in frame.channels[:CLOSELY]:
        if channel.name not in HOUSEKEEPING:
            found[f"pub:{channel.name}"] = channel.rate.s5
            found[f"memory:{channel.name}"] = float(channel.memory_bytes)
    for worker in sorted(frame.workers, key=lambda worker: worker.kind != "scorer")[:DRAWN]:
        found[f"rate:{worker.worker}"] = worker.rate
        found[f"busy:{worker.worker}"] = worker.busy
    return found


def recent_labels(models: Iterable[ModelView], now: float) -> tuple[int, int]:
    """Labels joined over the last minutes for all classifiers, and how many predictions were right."""
    joined = correct = 0
    for model in models:
        if model.kind == "classification":
            for at, count, right in model.quality.recent:
                if now - at <= LIVE_ACCURACY_S:
                    joined += count
                    correct += right
    return joined, correct


def wilson(correct: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share; (0, 1) for a count of 0.

    Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    if count <= 0:
        return 0.0, 1.0
    z = 1.959964
    share = correct / count
    middle = share + z * z / (2 * count)
    spread = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)
