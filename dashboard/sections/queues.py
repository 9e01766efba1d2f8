"""The sections of the page of queues and workers. Pure.

`queues` is what waits, who works and how much room is left, at this moment. `batches` are the batches of the last
minute that scorers gave as samples; it changes with every sign of life of a scorer and not with every frame.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

from headrace.dashboard.sections.rows import short
from headrace.dashboard.series import HOUSEKEEPING
from headrace.dashboard.state import Moment, State
from headrace.events import AlertView, BatchSample, ChannelView, GroupView, WebhookView, WorkerView

GROUPS_SHOWN = 24
CHANNELS_SHOWN = 24
WORKERS_SHOWN = 40
LITTLE_S = 30.0
"""The window that the mean wait is of."""
FEW = 1.0
"""Entries; where fewer than this wait and are expected to, their ratio says nothing."""
FAR = 1.5
"""A depth that is so many times what is expected, or so much less, is off."""
BATCHES_S = 60.0
BATCHES_SHOWN = 400
"""About so many batches are drawn."""
RARE = 30
"""All batches of a reason that has no more are drawn."""


class Little(msgspec.Struct, frozen=True, kw_only=True):
    """Little's law: the mean depth against arrivals x mean wait, all over 30 s.

    `verdict`: few (too little waits to tell), balanced, more or less (waits than the law explains).
    Little, "A proof for the queuing formula L = λW", Operations Research 9(3), 1961.
    """

    depth: float
    arrivals_s: float
    wait_ms: float
    expected: float
    ratio: float | None
    verdict: str


class GroupLine(msgspec.Struct, frozen=True, kw_only=True):
    """One group, and what comes in on its channel; rates are a second over 5 s, those of dead letters over 30 s."""

    key: str
    channel: str
    group: str
    lag: int
    in_flight: int
    oldest_ms: float
    arriving_s: float
    committed_s: float
    retried_s: float
    dead_s: float
    dead_total: int
    total: int
    drain_s: float | None
    little: Little | None


class ChannelLine(msgspec.Struct, frozen=True, kw_only=True):
    """One channel. `limit` bounds `needed`, which some group still needs; `own`: headrace tells of itself on it."""

    name: str
    own: bool
    rate_s: float
    bytes_s: float
    total: int
    length: int
    memory_bytes: int
    needed: int
    limit: int
    full_s: float | None


class WorkerLine(msgspec.Struct, frozen=True, kw_only=True):
    """One living process; `seen` is when it last said so, Unix seconds."""

    worker: str
    kind: str
    host: str
    pid: int
    started: float
    seen: float
    state: str
    rate: float
    batch_mean: float
    busy: float
    memory_bytes: int
    events: int
    failed: int
    models: dict[str, int]


class Room(msgspec.Struct, frozen=True):
    """The server's memory."""

    memory_bytes: int
    limit_bytes: int
    full_s: float | None


class Cut(msgspec.Struct, frozen=True):
    """How many lines of each list are not shown."""

    groups: int
    channels: int
    workers: int


class Queues(msgspec.Struct, frozen=True, kw_only=True):
    """The section of the page."""

    number: int
    time: float
    groups: list[GroupLine]
    channels: list[ChannelLine]
    workers: list[WorkerLine]
    server: Room
    alerts: list[AlertView]
    webhook: WebhookView | None
    cut: Cut


class Released(msgspec.Struct, frozen=True, kw_only=True):
    """The batches of one reason: how many of the sample, and their means."""

    reason: str
    count: int
    size: float
    wait_ms: float
    model_ms: float


class BatchPicture(msgspec.Struct, frozen=True, kw_only=True):
    """Batches of the last minute up to `until`, Unix seconds.

    `points` are (seconds before `until`, size, mean wait ms, model ms, place of the reason in `reasons`, place of the
    worker in `workers`); `reasons` come by count. `left_out` counts those that are not among the points.
    """

    until: float
    workers: list[str]
    reasons: list[Released]
    points: list[tuple[float, int, float, float, int, int]]
    left_out: int


def queues(state: State) -> Queues | None:
    """The page; None before the first frame."""
    frame = state.frame
    if frame is None:
        return None
    channels = {channel.name: channel for channel in frame.channels}
    deepest = sorted(frame.groups, key=lambda group: (group.channel in HOUSEKEEPING, -(group.lag + group.in_flight)))
    shown = {id(group) for group in deepest[:GROUPS_SHOWN]}
    groups = sorted(frame.groups, key=lambda group: group.channel in HOUSEKEEPING)  # lines that keep their places
    listed = sorted(frame.channels, key=lambda channel: channel.name in HOUSEKEEPING)
    return Queues(
        number=state.number,
        time=frame.time,
        groups=[_group(group, channels.get(group.channel), state) for group in groups if id(group) in shown],
        channels=[_channel(channel) for channel in listed[:CHANNELS_SHOWN]],
        workers=[_worker(worker, frame.time) for worker in frame.workers[:WORKERS_SHOWN]],
        server=Room(frame.server.memory_bytes, frame.server.memory_limit_bytes, _brief(frame.server.full_s)),
        alerts=list(state.alerts.values()),
        webhook=frame.webhook,
        cut=Cut(
            groups=max(0, len(groups) - GROUPS_SHOWN),
            channels=max(0, len(listed) - CHANNELS_SHOWN),
            workers=max(0, len(frame.workers) - WORKERS_SHOWN),
        ),
    )


def batches(state: State) -> BatchPicture | None:
    """The picture of batching; None while nobody gave a sample."""
    if not state.batches:
        return None
    until = max(sample.at for _, sample in state.batches)
    lately = [(worker, sample) for worker, sample in state.batches if sample.at > until - BATCHES_S]
    reasons = _released(lately)
    places = {released.reason: place for place, released in enumerate(reasons)}
    rare = {released.reason for released in reasons if released.count <= RARE}
    step = max(1, math.ceil(len(lately) / BATCHES_SHOWN))  # by the milliseconds, so that a point stays once it is shown
    shown = [one for one in lately if one[1].reason in rare or int(one[1].at * 1000) % step == 0]
    workers = sorted({worker for worker, _ in shown})
    owners = {worker: place for place, worker in enumerate(workers)}
    return BatchPicture(
        until=until,
        workers=workers,
        reasons=reasons,
        points=[
            (
                round(until - sample.at, 2),
                sample.size,
                short(sample.wait_ms),
                short(sample.model_ms),
                places[sample.reason],
                owners[worker],
            )
            for worker, sample in shown
        ],
        left_out=len(lately) - len(shown),
    )


def little(group: GroupView, channel: ChannelView | None, moments: Iterable[Moment], now: float) -> Little | None:
    """The check of one group; None where the wait is not measured, or nothing came to an end lately."""
    if group.wait_ms is None or channel is None:
        return None
    name = f"depth:{group.channel}/{group.group}"
    depths = [moment.values[name] for moment in moments if now - moment.time < LITTLE_S and name in moment.values]
    depth = sum(depths) / len(depths) if depths else float(group.lag + group.in_flight)
    expected = channel.rate.s30 * group.wait_ms / 1000
    ratio = depth / expected if expected > 0 else None
    if max(depth, expected) < FEW:
        verdict = "few"
    elif ratio is None or ratio > FAR:
        verdict = "more"
    else:
        verdict = "less" if ratio < 1 / FAR else "balanced"
    return Little(
        depth=short(depth),
        arrivals_s=short(channel.rate.s30),
        wait_ms=short(group.wait_ms),
        expected=short(expected),
        ratio=None if ratio is None else short(ratio),
        verdict=verdict,
    )


def _released(samples: list[tuple[str, BatchSample]]) -> list[Released]:
    by_reason: dict[str, list[tuple[int, float, float]]] = {}
    for _, sample in samples:
        by_reason.setdefault(sample.reason, []).append((sample.size, sample.wait_ms, sample.model_ms))
    found = []
    for reason, rows in by_reason.items():
        size, wait_ms, model_ms = (short(sum(column) / len(rows)) for column in zip(*rows, strict=True))
        found.append(Released(reason=reason, count=len(rows), size=size, wait_ms=wait_ms, model_ms=model_ms))
    return sorted(found, key=lambda released: (-released.count, released.reason))


def _group(group: GroupView, channel: ChannelView | None, state: State) -> GroupLine:
    return GroupLine(
        key=f"{group.channel}/{group.group}",
        channel=group.channel,
        group=group.group,
        lag=group.lag,
        in_flight=group.in_flight,
        oldest_ms=short(group.oldest_ms),
        arriving_s=short(channel.rate.s5) if channel else 0.0,
        committed_s=short(group.committed.s5),
        retried_s=short(group.retried.s5),
        dead_s=short(group.dead.s30),
        dead_total=group.dead_total,
        total=group.total,
        drain_s=_brief(group.drain_s),
        little=little(group, channel, state.moments, state.frame.time if state.frame else 0.0),
    )


def _channel(channel: ChannelView) -> ChannelLine:
    return ChannelLine(
        name=channel.name,
        own=channel.name in HOUSEKEEPING,
        rate_s=short(channel.rate.s5),
        bytes_s=short(channel.byte_rate.s5),
        total=channel.total,
        length=channel.length,
        memory_bytes=channel.memory_bytes,
        needed=channel.needed,
        limit=channel.limit,
        full_s=_brief(channel.full_s),
    )


def _worker(worker: WorkerView, now: float) -> WorkerLine:
    return WorkerLine(
        worker=worker.worker,
        kind=worker.kind,
        host=worker.host,
        pid=worker.pid,
        started=worker.started,
        seen=round(now - worker.age_s, 1),
        state=worker.state,
        rate=short(worker.rate),
        batch_mean=short(worker.batch_mean),
        busy=short(worker.busy),
        memory_bytes=worker.memory_bytes,
        events=worker.events,
        failed=worker.failed,
        models=dict(list(worker.models.items())[:8]),
    )


def _brief(seconds: float | None) -> float | None:
    return None if seconds is None else short(seconds)
