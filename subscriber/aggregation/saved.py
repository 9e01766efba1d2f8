"""What the aggregator saves, and where: written with the entries that it acknowledges, loaded by the next leader.

State names (hashes of the partition p), and their fields:

    runs         0    a run               headrace.curves.SavedRun without its curves
    run-RUN      0    a part of a curve   headrace.curves.SavedCurve
    search-RUN   0    a candidate, rung   headrace.curves.SavedCandidate; never loaded again
    workers      0    a process           the last it said, or its counts after its end
    serving      0    a model             what is in service
    alerts       0    an alert            what is raised
    totals       0    statistics, intake  counts since the log began
    quality      p    a model version     what labels said, of one partition
    cursor       p    a channel           the newest position folded
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import msgspec

from headrace.bus import Bus, Commit
from headrace.channels import LABELS, REQUESTS
from headrace.curves import RUNS_STATE, run_state, search_state
from headrace.errors import CodecError
from headrace.positions import START, Position
from headrace.subscriber.aggregation.alerts import Alerts
from headrace.subscriber.aggregation.frame import IntakeCounts, Known
from headrace.subscriber.aggregation.quality import Quality
from headrace.subscriber.aggregation.runs import Runs
from headrace.subscriber.aggregation.serving import Serving
from headrace.subscriber.aggregation.statistics import Statistics, Totals
from headrace.subscriber.aggregation.workers import Workers

_AT_ONCE = 50


async def load(bus: Bus, champions: Mapping[str, int], now: float) -> Known:
    """Everything that was saved; `champions` is what the registry says is in service, `now` the server's Unix time.

    Raises CodecError if something saved cannot be read: a newer version of headrace may have written it.
    """
    totals = await bus.state("totals")
    return Known(
        statistics=Statistics(await _totals(bus, totals, now)),
        runs=await _runs(bus),
        workers=Workers.load(await bus.state("workers")),
        serving=Serving.load(await bus.state("serving"), champions),
        alerts=Alerts.load(await bus.state("alerts")),
        quality={p: Quality.load(await bus.state("quality", p)) for p in bus.names.partitions_of(LABELS)},
        intake=_intake(totals),
    )


async def cursor(bus: Bus, channel: str, partition: int) -> Position:
    """The newest position of a channel that was folded."""
    saved = (await bus.state("cursor", partition)).get(channel)
    return Position.parse(saved) if saved else START


def save_cursor(work: Commit, newest: Position) -> None:
    """Remember how far the channel of a commit is folded, should somebody delete its group."""
    work.save("cursor", {work.channel: str(newest).encode()})


def save_runs(work: Commit, runs: Runs, now: float) -> None:
    """Save what changed of the runs."""
    changes = runs.take_changes(now)
    work.save(RUNS_STATE, changes.runs)
    work.drop(RUNS_STATE, changes.gone)
    for run, parts in changes.parts.items():
        work.save(run_state(run), parts)
    for run, names in changes.gone_parts.items():
        work.drop(run_state(run), names)
    for run, candidates in changes.candidates.items():
        work.save(search_state(run), candidates)
    for run, names in changes.gone_candidates.items():
        work.drop(search_state(run), names)


def save_workers(work: Commit, workers: Workers) -> None:
    """Save what changed of the workers."""
    saves, drops = workers.take_changes()
    work.save("workers", saves)
    work.drop("workers", drops)


def save_alerts(work: Commit, alerts: Alerts) -> None:
    """Save what changed of the alerts."""
    saves, drops = alerts.take_changes()
    work.save("alerts", saves)
    work.drop("alerts", drops)


def save_totals(work: Commit, known: Known) -> None:
    """Save the counts since the log began."""
    counts = known.intake
    work.save(
        "totals",
        {
            "statistics": known.statistics.save().encode(),
            "intake": msgspec.msgpack.encode((counts.taken, counts.refused, counts.duplicates)),
        },
    )


async def _totals(bus: Bus, saved: Mapping[str, bytes], now: float) -> Totals:
    if payload := saved.get("statistics"):
        return Totals.decode(payload)
    heads = [await bus.last(REQUESTS, partition) for partition in bus.names.partitions_of(REQUESTS)]
    # Where there never was a request there is nothing to add up, and an hour of seconds need not be read.
    return Totals() if any(head != START for _, head in heads) else Totals(through=int(now) - 1)


def _intake(saved: Mapping[str, bytes]) -> IntakeCounts:
    payload = saved.get("intake")
    try:
        return IntakeCounts(*msgspec.msgpack.decode(payload, type=tuple[int, int, int])) if payload else IntakeCounts()
    except msgspec.DecodeError as error:
        raise CodecError(f"saved counts of the intake cannot be read: {error}") from None


async def _runs(bus: Bus) -> Runs:
    summaries = await bus.state(RUNS_STATE)
    parts: dict[str, dict[str, bytes]] = {}
    names = list(summaries)
    for at in range(0, len(names), _AT_ONCE):
        some = names[at : at + _AT_ONCE]
        found = await asyncio.gather(*(bus.state(run_state(name)) for name in some))
        parts.update(zip(some, found, strict=True))
    return Runs.load(summaries, parts)
