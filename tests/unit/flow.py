"""What queues, workers and batches look like in the story of `frames.py`: the same second always gives the same."""

from __future__ import annotations

import math
import random

from msgspec.structs import replace

from headrace.bus import Entry
from headrace.codec import encode
from headrace.events import Alert, BatchSample, ChannelView, Frame, GroupView, Rate, WebhookView
from headrace.positions import Position

LIMIT = 1_000_000
BYTES = {"requests": 410, "results": 2_300, "labels": 96, "joined": 1_400, "runs": 220, "workers": 420, "frames": 9_000}
"""Bytes of an event."""


def completed(frame: Frame, depth: int, age_s: float) -> Frame:
    """The frame with all that the page of queues shows, `age_s` into its two minutes."""
    t = frame.time
    scorers = [worker for worker in frame.workers if worker.kind == "scorer"]
    return replace(
        frame,
        channels=[_channel(channel, depth if channel.name == "requests" else 20) for channel in frame.channels],
        groups=[_group(group, depth, frame, age_s) for group in frame.groups],
        workers=[
            replace(worker, events=int((t % 100_000) * 160 / (n + 1)), failed=3 if worker in scorers else 0)
            for n, worker in enumerate(frame.workers)
        ],
        server=replace(frame.server, full_s=5_400.0 if age_s > 60 else None),
        batches={worker.worker: batches(t, worker.rate, depth, n) for n, worker in enumerate(scorers)}
        if frame.number % 4 == 0
        else {},
        webhook=WebhookView(place="https://alerts.example.org", sent=int(t // 60) % 100, failed=1),
    )


def batches(t: float, rate: float, depth: int, lane: int) -> list[BatchSample]:
    """Twelve batches of the second before `t`."""
    chance = random.Random(f"{t:.2f}/{lane}")
    found = []
    for n in range(12):
        at = t - 1 + (n + chance.random()) / 12
        reason = "entries bound" if depth > 700 and chance.random() < 0.7 else "all that waited"
        size = 512 if reason == "entries bound" else max(1, round(chance.lognormvariate(math.log(1 + depth / 24), 0.6)))
        if chance.random() < 0.012:
            reason, size = "retry", 1 + chance.randrange(3)
        elif chance.random() < 0.006:
            reason, size = "claimed", 4 + chance.randrange(40)
        wait_ms = (0.4 + depth / 2.2) * chance.lognormvariate(0, 0.35) * (40 if reason in ("retry", "claimed") else 1)
        size = min(size, 512)
        found.append(BatchSample(round(at, 3), size, round(wait_ms, 3), round(0.09 + size * 0.0021, 3), reason))
    return found


def cleared(now: float) -> list[Entry]:
    """The log of alerts: two that came and went."""
    told = [
        (now - 5_000, "group growing", "requests/scorers", "scorers is slower than the publishers of requests", 140.0),
        (now - 900, "worker gone", "scorer-7", "scorer scorer-7 on vault fell silent without saying goodbye", 31.0),
    ]
    events = []
    for since, name, subject, text, lasted in told:
        for state, at in (("raised", since), ("cleared", since + lasted)):
            event = Alert(time=at, subject=subject, name=name, state="raised", text=text, since=since)
            events.append((at, event if state == "raised" else replace(event, state="cleared")))
    return [Entry(Position(int(at * 1000), n + 1), encode(event)) for n, (at, event) in enumerate(events)]


def _channel(channel: ChannelView, needed: int) -> ChannelView:
    size = BYTES.get(channel.name, 200)
    fills = channel.name == "requests" and needed > 600
    return replace(
        channel,
        byte_rate=Rate(s5=channel.rate.s5 * size, s30=channel.rate.s30 * size, m5=channel.rate.m5 * size),
        memory_bytes=channel.memory_bytes or int(channel.length * size * 1.15),
        needed=needed,
        limit=LIMIT,
        full_s=4_200.0 if fills else None,
    )


def _group(group: GroupView, depth: int, frame: Frame, age_s: float) -> GroupView:
    if group.group != "scorers":
        return replace(group, oldest_ms=180 + 60 * math.sin(frame.time / 3), drain_s=0.2, dead_total=0)
    arrivals = next(channel.rate.s30 for channel in frame.channels if channel.name == group.channel)
    wait_ms = 1000 * depth / arrivals * (1 + 0.1 * math.sin(frame.time / 7))
    return replace(group, wait_ms=wait_ms, retried=Rate(s5=0.6 if age_s < 12 else 0.0))
