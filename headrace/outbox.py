"""What a publisher holds for one partition of one channel: what waits, what is on its way, what may be needed again.

    offer ──> lanes ──> numbered ──> kept ──> forgotten
              (new)    (being sent)  (accepted less than `resend_s` ago)

Rules:

1. An event gets its sequence number when it first joins a batch and never another one, so the server can tell a repeat
   from news by number alone. An event that has a number is never dropped.
2. One batch is under way at a time. Whatever befalls it, the same events go again under the same numbers.
3. The server says up to which number it holds this producer's events. If that is less than it held before (a power cut
   took the end of its log), the events after it come back from the kept part and are sent again; what the kept part
   no longer has is counted as lost.
4. What waits is bounded in events and in bytes, and what is kept is bounded in bytes and in time.

Pure: times and answers come in, publish calls come out. Times are seconds of a monotonic clock. Not thread-safe.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Sequence
from itertools import accumulate, islice
from typing import TYPE_CHECKING, NamedTuple

from headrace.channels import RUNS
from headrace.events import new_id
from headrace.positions import Position
from headrace.retry import Backoff
from headrace.settings import Settings

if TYPE_CHECKING:
    from headrace.bus.scripts import Accepted, PublishCall

Ticket = object
"""Given with an event by whoever wants to know where it went; handed back with its position."""

_Item = tuple[int, bytes, str, Ticket | None, bool]
"""Order of arrival, payload, event type, ticket, whether it may be dropped."""


class Leftover(NamedTuple):
    """An event that was not accepted. With a `number` it was sent: the server may hold it under `producer`."""

    producer: str
    number: int
    payload: bytes
    kind: str
    droppable: bool


BATCH_BYTES = 1024 * 1024
"""Aim for the size of a batch; a larger event goes alone."""
OVERHEAD_BYTES = 100
"""What an event costs in memory beside its payload."""
FAILED = Backoff(50, 2_000)
FULL = Backoff(50, 1_000)
PACE = 40
"""Batches of runs follow each other no sooner than so many times `linger_ms`: each takes time from the training in its
process, and nobody looks at runs more often than a few times a second."""


def _fitting(payloads: Sequence[bytes]) -> int:
    """How many of the first ones make a batch: as many as the aim for its size allows, and one at least."""
    if sum(map(len, payloads)) <= BATCH_BYTES:
        return len(payloads)
    return max(1, bisect_right(list(accumulate(map(len, payloads))), BATCH_BYTES))


class Outbox:
    """When `waiting` is 0, every event that `offer` took is in the log once, in order, or counted as dropped or lost.

    `waiting` counts events the server has not accepted, `accepted` those it took, `lost` those of them that it lost
    beyond the reach of the kept part, and `dropped` those given up before, by type.
    """

    def __init__(
        self,
        channel: str,
        partition: int,
        settings: Settings,
        *,
        new_producer: Callable[[], str] = new_id,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.channel, self.partition = channel, partition
        self._settings, self._new_producer, self._draw = settings, new_producer, draw
        self._linger_s = settings.linger_ms / 1000
        self._pace_s = PACE * self._linger_s if channel == RUNS else 0.0
        self._limit_events, self._limit_bytes = settings.buffer_events, settings.buffer_bytes
        self._batch_events = settings.batch_events

        self.producer = new_producer()
        self.waiting = 0
        self.accepted = 0
        self.lost = 0
        self.dropped: Counter[str] = Counter()

        self._order = 0
        self._firm: deque[_Item] = deque()
        self._spare: deque[_Item] = deque()
        self._numbered: deque[_Item] = deque()
        self._first = 1  # the number of _numbered[0]
        self._waiting_bytes = 0

        self._kept: deque[tuple[float, list[_Item], int]] = deque()  # kept until, events, their bytes
        self._kept_bytes = 0

        self._under_way: PublishCall | None = None
        self._following: PublishCall | None = None  # what `upcoming` said
        self._due_at = 0.0  # when what waits should go
        self._not_before = 0.0  # backoff after a failure, pacing of a full channel
        self._failures = 0
        self._refusals = 0
        self._answered_at: float | None = None
        self._probe_at: float | None = None

    @property
    def refusals(self) -> int:
        """How often in a row the server said that the channel is full."""
        return self._refusals

    def offer(
        self, payload: bytes, kind: str, now: float, *, droppable: bool = False, ticket: Ticket | None = None
    ) -> bool:
        """Take an event, or answer False for want of room; a droppable one is then counted as dropped.

        A full outbox makes room by dropping the oldest droppable events that were never sent.
        """
        size = len(payload) + OVERHEAD_BYTES
        full = self.waiting >= self._limit_events or self._waiting_bytes + size > self._limit_bytes
        if full and not self._make_room(size):
            if droppable:
                self.dropped[kind] += 1
            return False
        self._linger(now)
        self._order += 1
        (self._spare if droppable else self._firm).append((self._order, payload, kind, ticket, droppable))
        self._waiting_bytes += size
        self.waiting += 1
        return True

    def offer_all(self, payloads: Sequence[bytes], kind: str, now: float) -> None:
        """Take droppable events of one type; as `offer` does with each."""
        size = sum(map(len, payloads)) + len(payloads) * OVERHEAD_BYTES
        if self.waiting + len(payloads) > self._limit_events or self._waiting_bytes + size > self._limit_bytes:
            for payload in payloads:
                self.offer(payload, kind, now, droppable=True)
            return
        self._linger(now)
        self._spare.extend(
            [(order, payload, kind, None, True) for order, payload in enumerate(payloads, self._order + 1)]
        )
        self._order += len(payloads)
        self._waiting_bytes += size
        self.waiting += len(payloads)

    def hurry(self, now: float) -> None:
        """Send what waits without lingering."""
        self._due_at = min(self._due_at, now)

    def next_batch(self, now: float) -> PublishCall | None:
        """The batch to send now, if one is due; then call `on_accepted` or `on_failed`, whichever came of it.

        A batch without events asks, once after the last ones, whether the server still holds them.
        """
        if self._under_way is not None or now < self._not_before:
            return None
        if not self._numbered and not self._is_due(now):
            if self._probe_at is None or now < self._probe_at:
                return None
            return self._call(())
        silent_s = now - (now if self._answered_at is None else self._answered_at)
        if not self._numbered and silent_s > self._settings.fence_ttl_s / 2:
            self._change_producer()  # its fence may expire before the answer
        following = self._following
        if following is not None and (following.producer, following.first) == (self.producer, self._first):
            self._under_way, self._following = following, None
            return following
        return self._call(self._batch(0))

    def upcoming(self) -> PublishCall | None:
        """The batch that `next_batch` will answer if the server takes all of the one under way; None unless it is full.

        Whoever carries the calls can prepare it while the server is busy. Its events have their numbers from now on.
        """
        under_way = self._under_way
        if under_way is None or not under_way.events:
            return None
        sent = len(under_way.events)
        if len(self._numbered) + len(self._firm) + len(self._spare) - sent < self._batch_events:
            return None
        self._following = self._new_call(self._first + sent, self._batch(sent))
        return self._following

    def on_accepted(self, answer: Accepted, now: float) -> list[tuple[Ticket, Position]]:
        """The server answered: the tickets of events that are now in the log, with where they are."""
        self._under_way = None
        self._failures = 0
        self._answered_at = now
        if answer.taken < self._first - 1:
            self._go_back(answer.taken)
            return []
        placed = self._settle(answer, now)
        if answer.status == "full":
            self._refusals += 1
            self._not_before = now + FULL.delay_ms(self._refusals, self._draw()) / 1000
        else:
            self._refusals = 0
            self._forget(now)
        self._probe_at = self._kept[-1][0] if self._kept else None
        return placed

    def on_failed(self, now: float) -> None:
        """No answer, or a refusal: the same batch goes again after a growing delay."""
        self._under_way = None
        self._failures += 1
        self._not_before = now + FAILED.delay_ms(self._failures, self._draw()) / 1000

    def wake_at(self) -> float | None:
        """When `next_batch` should be asked again; None: not before another offer or answer."""
        if self._under_way is not None:
            return None
        if self._numbered:
            return self._not_before
        if self._firm or self._spare:
            return max(self._not_before, float("-inf") if self._is_full_batch() else self._due_at)
        return None if self._probe_at is None else max(self._not_before, self._probe_at)

    def take_back(self) -> list[Leftover]:
        """Give up what the server has not accepted, in order; the outbox is empty then."""
        numbered = [
            Leftover(self.producer, number, item[1], item[2], item[4])
            for number, item in enumerate(self._numbered, self._first)
        ]
        fresh = sorted((*self._firm, *self._spare), key=lambda item: item[0])
        self._change_producer()
        for lane in (self._numbered, self._firm, self._spare):
            lane.clear()
        self.waiting = self._waiting_bytes = 0
        self._under_way = None
        return numbered + [Leftover("", 0, item[1], item[2], item[4]) for item in fresh]

    def _linger(self, now: float) -> None:
        """An event comes: the first one begins to wait for company."""
        if not self._firm and not self._spare:
            self._due_at = now + self._linger_s
            if self._answered_at is not None:
                self._due_at = max(self._due_at, self._answered_at + self._pace_s)

    def _make_room(self, size: int) -> bool:
        while self.waiting >= self._limit_events or self._waiting_bytes + size > self._limit_bytes:
            if self._spare:
                _, payload, kind, _, _ = self._spare.popleft()
                self._waiting_bytes -= len(payload) + OVERHEAD_BYTES
                self.waiting -= 1
                self.dropped[kind] += 1
            else:
                return self.waiting == 0
        return True

    def _is_full_batch(self) -> bool:
        return len(self._firm) + len(self._spare) >= self._batch_events or self._waiting_bytes >= BATCH_BYTES

    def _is_due(self, now: float) -> bool:
        return bool(self._firm or self._spare) and (now >= self._due_at or self._is_full_batch())

    def _batch(self, skip: int) -> list[bytes]:
        """A batch of the numbered events behind the first `skip`; waiting ones join them, in order of arrival."""
        numbered = self._numbered
        events = [item[1] for item in islice(numbered, skip, skip + self._batch_events)]
        fresh = self._oldest(self._batch_events - len(events))
        events += [item[1] for item in fresh]
        fits = _fitting(events)
        for item in reversed(fresh[max(0, fits - len(events) + len(fresh)) :]):
            (self._spare if item[4] else self._firm).appendleft(item)
            fresh.pop()
        numbered.extend(fresh)
        return events[:fits]

    def _oldest(self, most: int) -> list[_Item]:
        """Take up to so many events that have no number yet, in order of arrival."""
        firm, spare = self._firm, self._spare
        found: list[_Item] = []
        while firm and spare and len(found) < most:
            found.append((firm if firm[0][0] < spare[0][0] else spare).popleft())
        lane = firm or spare
        found += [lane.popleft() for _ in range(min(most - len(found), len(lane)))]
        return found

    def _call(self, events: Sequence[bytes]) -> PublishCall:
        self._under_way = self._new_call(self._first, events)
        return self._under_way

    def _new_call(self, first: int, events: Sequence[bytes]) -> PublishCall:
        from headrace.bus.scripts import PublishCall

        return PublishCall(self.channel, self.partition, self.producer, first, events)

    def _settle(self, answer: Accepted, now: float) -> list[tuple[Ticket, Position]]:
        """Move what the server holds from the numbered part to the kept part."""
        count = min(answer.taken - self._first + 1, len(self._numbered))
        if count <= 0:
            return []
        items = [self._numbered.popleft() for _ in range(count)]
        placed = [
            (item[3], position)
            for number, item in enumerate(items, self._first)
            if item[3] is not None and (position := answer.positions.get(number)) is not None
        ]
        size = sum(len(item[1]) for item in items) + count * OVERHEAD_BYTES
        self._first += count
        self.accepted += count
        self.waiting -= count
        self._waiting_bytes -= size
        self._kept.append((now + self._settings.resend_s, items, size))
        self._kept_bytes += size
        while self._kept_bytes > self._limit_bytes:
            self._forget_oldest()
        return placed

    def _forget(self, now: float) -> None:
        while self._kept and self._kept[0][0] <= now:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        self._kept_bytes -= self._kept.popleft()[2]

    def _go_back(self, taken: int) -> None:
        """The server holds less than it did: number `taken` is its last. Send again what follows it."""
        while self._kept and self._first - 1 > taken:
            until, items, size = self._kept.pop()
            stay = max(0, taken - (self._first - len(items)) + 1)
            again = items[stay:]
            moved = sum(len(item[1]) + OVERHEAD_BYTES for item in again)
            self._numbered.extendleft(reversed(again))
            self._first -= len(again)
            self.accepted -= len(again)
            self.waiting += len(again)
            self._waiting_bytes += moved
            self._kept_bytes -= moved
            if stay:
                self._kept.append((until, items[:stay], size - moved))
        missing = self._first - 1 - taken
        if missing > 0:
            self.lost += missing
            self._change_producer()

    def _change_producer(self) -> None:
        """Begin a new sequence: the server knows nothing of it, so nothing can be missing."""
        self.producer = self._new_producer()
        self._first = 1
        self._kept.clear()
        self._kept_bytes = 0
        self._probe_at = None
