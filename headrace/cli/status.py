"""`headrace status`: the pipeline on one screen of text."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from headrace.cli.options import connection
from headrace.cli.table import Cell, table

if TYPE_CHECKING:
    from headrace.bus import Bus
    from headrace.events import Frame, ServerView
    from headrace.settings import Settings

FRESH_S = 5.0
MEBIBYTE = 1024 * 1024
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400


@click.command()
@connection
def command(settings: Settings) -> None:
    """Show the server, what is queued, models, workers and alerts, as of now and the newest frame."""
    from headrace.cli.ask import ask

    click.echo(ask(settings, screen))


async def screen(bus: Bus) -> str:
    """The whole screen. Depths are asked from the server; rates come from the newest frame."""
    frame = await _newest_frame(bus)
    now = time.time()
    parts = [_head(bus, await bus.health()), _frame_text(frame, now), await _depths(bus, frame)]
    if frame is not None:
        parts += [_latency(frame), _models(frame), _workers(frame, now), _alerts(frame)]
    return "\n\n".join(part for part in parts if part)


async def _newest_frame(bus: Bus) -> Frame | None:
    from headrace.channels import FRAMES
    from headrace.codec import decode
    from headrace.errors import CodecError
    from headrace.events import Frame

    for entry in await bus.read(FRAMES, count=1, newest_first=True):
        try:
            event = decode(entry.payload)
        except CodecError:
            continue
        if isinstance(event, Frame):
            return event
    return None


def _head(bus: Bus, server: ServerView) -> str:
    limit = f" of {server.memory_limit_bytes / MEBIBYTE:,.0f}" if server.memory_limit_bytes else ""
    facts = [
        f"{server.product} {server.version}".strip() or "server",
        f"up {span(server.uptime_s)}",
        f"{server.memory_bytes / MEBIBYTE:,.1f}{limit} MiB",
        f"{server.clients} clients",
        f"{server.operations:,.0f} commands/s",
        f"appendfsync {server.durability}",
    ]
    return f"{bus.settings.shown_url}, prefix {bus.settings.prefix!r}\n{', '.join(facts)}"


def _frame_text(frame: Frame | None, now: float) -> str:
    if frame is None:
        return "no frame yet: start an aggregator with `headrace aggregator`"
    age_s = now - frame.time
    text = f"frame {frame.number:,} of {frame.aggregator}, {span(age_s)} old"
    return text if age_s < FRESH_S else f"{text}: no aggregator is at work, so rates and workers below are old"


async def _depths(bus: Bus, frame: Frame | None) -> str:
    from headrace.channels import BUILT_IN

    rates = {} if frame is None else {view.name: view.rate.s5 for view in frame.channels}
    committed = {} if frame is None else {(view.channel, view.group): view for view in frame.groups}
    rows: list[tuple[Cell, ...]] = []
    for channel in BUILT_IN:
        states = [(p, state) for p in bus.names.partitions_of(channel) for state in await bus.groups(channel, p)]
        total = sum([(await bus.last(channel, p))[1].number for p in bus.names.partitions_of(channel)])
        for group in sorted({state.name for _, state in states}) or [""]:
            ours = [state for _, state in states if state.name == group]
            view = committed.get((channel, group))
            rows.append(
                (
                    channel,
                    total,
                    rates.get(channel),
                    group,
                    sum(state.lag for state in ours) if ours else None,
                    sum(state.in_flight for state in ours) if ours else None,
                    view.committed.s5 if view else None,
                    view.dead_total if view else None,
                )
            )
    return table(("CHANNEL", "TOTAL", "IN/S", "GROUP", "LAG", "IN FLIGHT", "DONE/S", "DEAD"), rows)


def _latency(frame: Frame) -> str:
    rows = [(view.stage, view.count, view.p50_ms, view.p95_ms, view.p99_ms) for view in frame.latency]
    return table(("LATENCY, 30 s", "COUNT", "P50 ms", "P95 ms", "P99 ms"), rows) if rows else ""


def _models(frame: Frame) -> str:
    rows: list[tuple[Cell, ...]] = [
        (
            f"{view.name}@{view.version}",
            "in service" if view.champion else "",
            view.requests_total,
            view.requests.s5,
            f"{view.quality.correct / view.quality.joined:.1%} of {view.quality.joined:,}"
            if view.quality.joined and view.kind == "classification"
            else "",
        )
        for view in frame.models
    ]
    return table(("MODEL", "STATE", "REQUESTS", "IN/S", "RIGHT"), rows) if rows else ""


def _workers(frame: Frame, now: float) -> str:
    rows: list[tuple[Cell, ...]] = [
        (
            view.worker,
            view.kind,
            str(view.pid),
            view.state,
            span(now - view.started),
            view.events,
            view.rate,
            f"{view.busy:.0%}",
            f"{view.memory_bytes / MEBIBYTE:,.0f} MiB",
        )
        for view in sorted(frame.workers, key=lambda view: (view.kind, view.worker))
    ]
    return table(("WORKER", "KIND", "PID", "STATE", "UP", "EVENTS", "PER S", "BUSY", "MEMORY"), rows) if rows else ""


def _alerts(frame: Frame) -> str:
    return "\n".join(f"! {view.severity}: {view.text or view.name}" for view in frame.alerts)


def span(seconds: float) -> str:
    """A length of time in its two largest units: `2 h 3 min`."""
    if seconds < 10:
        return f"{max(0.0, seconds):.1f} s"
    whole = int(seconds)
    if whole < MINUTE_S:
        return f"{whole} s"
    if whole < HOUR_S:
        return f"{whole // MINUTE_S} min {whole % MINUTE_S} s"
    if whole < DAY_S:
        return f"{whole // HOUR_S} h {whole % HOUR_S // MINUTE_S} min"
    return f"{whole // DAY_S} d {whole % DAY_S // HOUR_S} h"
