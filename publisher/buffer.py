"""All that a publisher holds, for plain and for asyncio code: events become bytes here, and bytes publish calls.

Pure: the drivers (`sender.py`, `aio.py`) bring times and answers and carry the calls. Not thread-safe. Each partition
of a channel has an outbox with bounds of its own, so a full channel does not hold up the others.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from headrace.channels import LABELS, RUNS, WORKERS, Names, checked
from headrace.clocks import AGREES, Estimate, ServerClock
from headrace.codec import decode, encode
from headrace.errors import BusError, EventError, FullError, HeadraceError, UnavailableError
from headrace.events import Event, PredictionLabelled, PublisherReport, new_id, stamped
from headrace.outbox import Leftover, Outbox, Ticket
from headrace.positions import Handle
from headrace.settings import Settings

if TYPE_CHECKING:
    from headrace.bus.scripts import Accepted, PublishCall

METRICS = "run.metrics"
REPORT_S = 1.0
"""Shortest time between two reports of dropped events."""


class Sealed(msgspec.Struct, frozen=True, gc=False):
    """An event ready to be buffered."""

    channel: str
    partition: int
    payload: bytes
    kind: str


class Buffer:
    """The outboxes of one publisher, served in turn; `producer` names the publisher in reports and reply channels."""

    def __init__(self, settings: Settings, source: str = "") -> None:
        self.settings = settings
        self.names = Names(settings.prefix, settings.partitions)
        self.source = source or default_source()
        self.producer = new_id()
        self.spilled = 0
        self.clock = ServerClock()
        self.trouble: HeadraceError | None = None
        """Why the last call failed; None after one that did not."""
        self._outboxes: dict[tuple[str, int], Outbox] = {}
        self._turn: list[Outbox] = []
        self._serving: Outbox | None = None
        self._dropped: Counter[str] = Counter()
        self._reported: tuple[object, ...] = (Counter(), 0, 0)
        self._reported_at = float("-inf")
        self._told: Estimate | None = None
        """What the last report said of our clock."""

    def seal(self, channel: str, event: Event | bytes) -> Sealed:
        """Give the event an id and a time if it has none, and encode it; bytes must hold an event and stay as they are.

        Raises EventError or CodecError for what cannot be sent, SettingsError for a name that cannot be a channel.
        """
        given = decode(event) if isinstance(event, bytes) else event
        whole = stamped(given, self.source)
        payload = self.pack(whole, event if isinstance(event, bytes) and whole is given else None)
        kind: str = whole.__struct_config__.tag  # type: ignore[assignment]
        if self.names.partitions == 1:
            return Sealed(channel, 0, payload, kind)
        return Sealed(channel, self._partition(channel, whole), payload, kind)

    def pack(self, event: Event, payload: bytes | None = None) -> bytes:
        """The bytes of a stamped event, those given if any. Raises EventError or CodecError for what cannot be sent."""
        payload = payload or encode(event, self.settings.codec)
        if len(payload) > self.settings.event_limit_bytes:
            raise EventError(
                f"this {event.__struct_config__.tag} of {len(payload)} bytes cannot be published: the limit is "
                f"{self.settings.event_limit_bytes} (HEADRACE_EVENT_LIMIT_BYTES). Send fewer rows an event"
            )
        return payload

    def offer(self, sealed: Sealed, now: float, *, droppable: bool = False, ticket: Ticket | None = None) -> bool:
        """Take an event, or answer False for want of room."""
        outbox = self._outboxes.get((sealed.channel, sealed.partition)) or self._open(sealed.channel, sealed.partition)
        return outbox.offer(sealed.payload, sealed.kind, now, droppable=droppable, ticket=ticket)

    def offer_metrics(self, payloads: Sequence[bytes], now: float) -> None:
        """Take packed metrics of runs; without room the oldest are dropped and counted."""
        outbox = self._outboxes.get((RUNS, 0)) or self._open(RUNS, 0)
        outbox.offer_all(payloads, METRICS, now)

    def drop(self, kind: str, count: int = 1) -> None:
        """Count events that were given up before they came here."""
        if count:
            self._dropped[kind] += count

    def hurry(self, now: float) -> None:
        """Send all that waits without lingering."""
        for outbox in self._turn:
            outbox.hurry(now)

    def next_call(self, now: float) -> PublishCall | None:
        """The next batch to send, if one is due; then call `accepted` or `failed`."""
        if self._serving is not None:
            return None
        for at, outbox in enumerate(self._turn):
            call = outbox.next_batch(now)
            if call is not None:
                self._serving = outbox
                self._turn.append(self._turn.pop(at))
                return call
        return None

    def upcoming(self) -> PublishCall | None:
        """The full batch that will follow the call under way, if the server takes that; to be prepared meanwhile."""
        return None if self._serving is None else self._serving.upcoming()

    def accepted(self, answer: Accepted, now: float) -> list[tuple[Ticket, Handle]]:
        """The server answered the call: tickets of events that are now in their log, with their handles."""
        outbox, self._serving = self._serving, None
        if outbox is None:
            return []
        self.trouble = FullError(outbox.channel) if answer.status == "full" else None
        placed = outbox.on_accepted(answer, now)
        return [(ticket, Handle(outbox.partition, position)) for ticket, position in placed]

    def failed(self, error: HeadraceError, now: float) -> None:
        """The call had no answer, or was refused; it will be tried again."""
        outbox, self._serving = self._serving, None
        self.trouble = error
        if outbox is not None:
            outbox.on_failed(now)

    def wake_at(self) -> float | None:
        """When `next_call` should be asked again; None: not before another offer or answer."""
        if self._serving is not None:
            return None
        times = [at for at in (outbox.wake_at() for outbox in self._turn) if at is not None]
        return min(times, default=None)

    @property
    def waiting(self) -> int:
        """Events that the server has not accepted."""
        return sum(outbox.waiting for outbox in self._turn)

    @property
    def under_way(self) -> bool:
        return self._serving is not None

    @property
    def accepted_total(self) -> int:
        return sum(outbox.accepted for outbox in self._turn)

    @property
    def lost(self) -> int:
        return sum(outbox.lost for outbox in self._turn)

    def dropped(self) -> Counter[str]:
        """Events given up, by type."""
        return sum((outbox.dropped for outbox in self._turn), Counter(self._dropped))

    def report(self, now: float, *, last: bool = False) -> Sealed | None:
        """The publisher's report, if drops, losses or the clock changed and the last one is old enough, or if it is the
        last. A clock that agrees with the server's is no news."""
        dropped, lost, clock = self.dropped(), self.lost, self.clock.estimate
        state = (dropped, lost, self.spilled)
        differs = clock is not None and clock.differs(self._told or AGREES)
        changed = (state != self._reported or differs) and now - self._reported_at >= REPORT_S
        if not changed and not (last and (self.accepted_total or dropped)):
            return None
        self._reported, self._reported_at, self._told = state, now, clock
        return self.seal(
            WORKERS,
            PublisherReport(
                producer=self.producer,
                accepted=self.accepted_total,
                dropped=dict(dropped),
                spilled=self.spilled,
                lost=lost,
                host=os.uname().nodename,
                pid=os.getpid(),
                clock_offset_s=None if clock is None else round(clock.offset_s, 6),
                clock_error_s=0.0 if clock is None else round(clock.error_s, 6),
            ),
        )

    def refused(self, waited_s: float) -> BusError:
        """Why what waits was not accepted in time."""
        if isinstance(self.trouble, BusError):
            return self.trouble
        reason = str(self.trouble or f"{self.waiting} events were not accepted within {waited_s:g} s")
        return UnavailableError(self.settings.shown_url, reason)

    def take_back(self) -> list[tuple[str, int, Leftover]]:
        """Empty all outboxes: channel, partition and event of what the server has not accepted."""
        self._serving = None
        return [(outbox.channel, outbox.partition, item) for outbox in self._turn for item in outbox.take_back()]

    def _open(self, channel: str, partition: int) -> Outbox:
        outbox = Outbox(checked(channel), partition, self.settings)
        self._outboxes[channel, partition] = outbox
        self._turn.append(outbox)
        return outbox

    def _partition(self, channel: str, event: Event) -> int:
        if channel == LABELS and isinstance(event, PredictionLabelled):
            partition = Handle.parse(event.prediction).partition
            if partition not in self.names.partitions_of(channel):
                raise EventError(f"{event.prediction!r} names partition {partition}, which {channel!r} does not have")
            return partition
        return self.names.partition_for(channel, event.id)


def default_source() -> str:
    """Who sends, unless the caller says it: host and process."""
    return f"{os.uname().nodename}:{os.getpid()}"
