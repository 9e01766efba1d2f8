"""Plain PUBLISH of an event to `PREFIX:in:CHANNEL`, from any client in any language: checked, then taken into the log.

At most once until taken; after that the event is like any other. What is no event, or is not for its channel, is
refused with a reason that is counted and logged; nothing that anybody sends ends the loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from headrace.bus import Bus
from headrace.channels import (
    ALERTS,
    BUILT_IN,
    LABELS,
    MODELS,
    REQUESTS,
    RUNS,
    WORKERS,
    Names,
    checked,
)
from headrace.codec import codec_of, decode, encode
from headrace.errors import BusError, EventError, HeadraceError
from headrace.events import (
    Alert,
    Event,
    ModelPromoted,
    PredictionLabelled,
    PredictionRequested,
    PublisherReport,
    RunAlive,
    RunCandidate,
    RunFinished,
    RunMetrics,
    RunStarted,
    WorkerAlive,
    WorkerStopped,
    stamped,
)
from headrace.positions import Handle
from headrace.settings import Settings
from headrace.subscriber.aggregation.frame import IntakeCounts, Place

log = logging.getLogger(__name__)

TAKES: Final[dict[str, tuple[type[Event], ...]]] = {
    REQUESTS: (PredictionRequested,),
    LABELS: (PredictionLabelled,),
    RUNS: (RunStarted, RunMetrics, RunAlive, RunCandidate, RunFinished),
    WORKERS: (WorkerAlive, WorkerStopped, PublisherReport),
    MODELS: (ModelPromoted,),
    ALERTS: (Alert,),
}
"""What others may publish on headrace's own channels. Channels of their own take every event."""
ATTEMPTS: Final = 3
_ID: Final = 200
_LOGGED: Final = 5
"""Refusals of one kind that are logged in full; of the others every thousandth."""


@dataclass(slots=True)
class Checked:
    """A list of pushes, sorted out: (id, bytes) to take by place, and what was refused as (channel, reason)."""

    taken: dict[Place, list[tuple[str, bytes]]] = field(default_factory=dict)
    refused: list[tuple[str, str]] = field(default_factory=list)


def check(pushes: Iterable[tuple[str, bytes]], names: Names, settings: Settings) -> Checked:
    """Check pushes one by one; one bad event spoils no other. An event without an id is given one. Pure."""
    found = Checked()
    for channel, payload in pushes:
        try:
            place, identity, ready = _checked(channel, payload, names, settings)
        except HeadraceError as error:
            found.refused.append((channel[:100], str(error)))
        else:
            found.taken.setdefault(place, []).append((identity, ready))
    return found


def _checked(channel: str, payload: bytes, names: Names, settings: Settings) -> tuple[Place, str, bytes]:
    checked(channel)
    if len(payload) > settings.event_limit_bytes:
        raise EventError(f"an event of {len(payload)} bytes is over the limit of {settings.event_limit_bytes}")
    event = decode(payload)
    accepted = TAKES.get(channel)
    if accepted is None and channel in BUILT_IN:
        raise EventError(f"channel {channel!r} is written by headrace alone; publish to one of {', '.join(TAKES)}")
    if accepted is not None and not isinstance(event, accepted):
        kinds = ", ".join(str(kind.__struct_config__.tag) for kind in accepted)
        raise EventError(f"channel {channel!r} takes {kinds}, not {event.__struct_config__.tag}")
    if len(event.id) > _ID:
        raise EventError(f"an id of {len(event.id)} characters is too long; use at most {_ID}")
    if not event.id:
        event = stamped(event)
        payload = encode(event, codec_of(payload))
    if isinstance(event, PredictionLabelled):
        partition = Handle.parse(event.prediction).partition
        if partition not in names.partitions_of(channel):
            raise EventError(f"prediction {event.prediction} is of partition {partition}, which there is not")
        return Place(channel, partition), event.id, payload
    return Place(channel, names.partition_for(channel, event.id)), event.id, payload


class Intake:
    """Takes events in for as long as it runs, and counts what became of them."""

    def __init__(self, bus: Bus, counts: IntakeCounts) -> None:
        self.bus = bus
        self.counts = counts
        self.reasons: Counter[str] = Counter()

    async def run(self) -> None:
        """Take in for ever. Raises UnavailableError only if it cannot listen."""
        async for pushes in self.bus.intake():
            await self.take(pushes)

    async def take(self, pushes: list[tuple[str, bytes]]) -> None:
        """Check and take one list of pushes. A call that failed is made again: ids make that safe."""
        found = check(pushes, self.bus.names, self.bus.settings)
        for channel, reason in found.refused:
            self._refuse(channel, reason, 1)
        for place, events in found.taken.items():
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    taken, duplicates = await self.bus.take(place.channel, place.partition, events)
                except BusError as error:
                    if not error.retryable or attempt == ATTEMPTS:
                        self._refuse(place.channel, str(error), len(events))
                        break
                    await asyncio.sleep(0.2 * attempt)
                    continue
                self.counts.taken += taken
                self.counts.duplicates += duplicates
                break

    def _refuse(self, channel: str, reason: str, count: int) -> None:
        self.counts.refused += count
        kind = f"{channel}: {reason[:40]}"
        if kind not in self.reasons and len(self.reasons) >= 1000:
            kind = "others"
        self.reasons[kind] += count
        if self.reasons[kind] <= _LOGGED or self.reasons[kind] % 1000 == 0:
            log.warning("refused plain PUBLISH to %r: %s (%d like this)", channel, reason, self.reasons[kind])
