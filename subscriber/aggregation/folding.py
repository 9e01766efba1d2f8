"""One batch of a channel into the state, and what its commit writes. No I/O but the questions that labels ask."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from headrace.bus import Batch, Bus, Decision
from headrace.channels import ALERTS, JOINED, MODELS, REQUESTS, RUNS, SCORERS, WORKERS
from headrace.codec import decode
from headrace.errors import CodecError, EventError, UnknownTypeError
from headrace.events import Alert, AnyEvent, PredictionLabelled, stamped
from headrace.heartbeat import Tally
from headrace.positions import Position
from headrace.subscriber.aggregation import saved
from headrace.subscriber.aggregation.alerts import SOURCE
from headrace.subscriber.aggregation.frame import Known
from headrace.subscriber.aggregation.quality import Cards, Label, addressed, join

_EARLY_ATTEMPTS = 1_000_000
"""A label that waits for its prediction is not at fault: time bounds it, not attempts."""


def fold(work: Decision, batch: Batch, known: Known, tally: Tally, now: float) -> None:
    """Fold a batch of runs, workers, models or alerts; `work` saves what that changed. `now` is the server's time."""
    for position, event in _decoded(work, batch, tally):
        at = position.ms / 1000
        match work.channel:
            case "runs":
                known.runs.fold(event, at)
            case "workers":
                known.workers.fold(event, at)
            case "models":
                known.serving.fold(event, position)
            case "alerts" if isinstance(event, Alert):
                known.alerts.fold(event, at)
    if work.channel == RUNS:
        saved.save_runs(work, known.runs, now)
    elif work.channel == WORKERS:
        saved.save_workers(work, known.workers)
    elif work.channel == MODELS:
        work.save("serving", known.serving.take_changes())
    elif work.channel == ALERTS:
        saved.save_alerts(work, known.alerts)


async def fold_labels(
    work: Decision, batch: Batch, bus: Bus, known: Known, cards: Cards, tally: Tally, now: float
) -> None:
    """Join a batch of labels to the predictions that wait for them; `work` writes each verdict."""
    labels: list[Label] = []
    for position, event in _decoded(work, batch, tally):
        try:
            if not isinstance(event, PredictionLabelled):
                raise EventError(f"{type(event).__name__} is no label")
            labels.append(addressed(position, event, work.partition))
        except EventError as error:
            work.dead(position, str(error))
            tally.failed += 1
    # Asked in this order: what is decided by now either waits already or never will.
    undecided = await _undecided(bus, work.partition)
    requests = [label.request for label in labels]
    waiting = {
        request: payload
        for request, payload in zip(requests, await bus.waiting(work.partition, requests), strict=True)
        if payload is not None
    }
    oldest_ms = (now - bus.settings.join_ttl_s) * 1000
    verdict = join(labels, waiting, lambda p: p.ms >= oldest_ms and undecided(p), cards, work.partition)

    quality = known.quality[work.partition]
    events = [stamped(event, SOURCE) for event in verdict.events]
    for joined in events:
        quality.fold(joined, batch.entries[-1].position.ms / 1000)
    work.append(JOINED, events)
    work.save("quality", quality.take_changes())
    for request in verdict.requests:
        work.joined(request)
    for position, reason in verdict.dead:
        work.dead(position, reason)
    tally.failed += len(verdict.dead)
    work.count("unmatched", len(verdict.unmatched))
    work.max_attempts = _EARLY_ATTEMPTS
    for position in verdict.early:
        work.retry(position, "its prediction is not made yet")


async def _undecided(bus: Bus, partition: int) -> Callable[[Position], bool]:
    """Whether a request may still get its prediction: it is there, and the scorers have not passed it."""
    _, newest = await bus.last(REQUESTS, partition)
    scorers = next((g for g in await bus.groups(REQUESTS, partition) if g.name == SCORERS), None)
    if scorers is None:  # no scorer has ever run: nothing is decided
        return lambda position: position <= newest
    oldest = scorers.oldest
    return lambda position: oldest is not None and oldest <= position <= newest


def _decoded(work: Decision, batch: Batch, tally: Tally) -> Iterator[tuple[Position, AnyEvent]]:
    """The events of a batch; what is no event, or of an unknown type, becomes a dead letter."""
    for position, payload in batch.entries:
        try:
            event = decode(payload)
        except CodecError as error:
            work.dead(position, str(error))
            tally.failed += 1
            tally.unknown += isinstance(error, UnknownTypeError)
            continue
        yield position, event
    tally.events += len(batch)
    tally.batches += 1
