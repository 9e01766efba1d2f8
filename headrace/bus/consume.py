"""Consuming: a member of a group reads batches and decides each entry exactly once.

Rules that the commit's proof rests on:

1. A consumer name serves one read that brought entries, then no other; commit deletes it. After a read whose reply may
   be lost the name is abandoned: its entries come back to somebody by claim. If only a part of what a name was given is
   left to decide, the name proves nothing, and each entry is looked at: a power cut may have given it the rest again.
2. Whoever holds entries renews its claim on them. Who was silent for `claim_ms` loses them to another worker, and takes
   nothing back; if it wakes up and commits first, it has decided them all the same, and the other's commit says so.
3. An entry that keeps killing its worker is delivered alone from the third time on. After `max_attempts` deliveries
   nobody gets it any more: the consumer makes it a dead letter itself.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, Literal

from headrace.batching import BatchBound
from headrace.bus.batch import Batch, Decision, GivenUp
from headrace.bus.bus import Bus, Decided
from headrace.bus.commit import Left
from headrace.bus.connection import answered
from headrace.bus.making import make_group
from headrace.bus.scripts import Request, script
from headrace.ending import end
from headrace.errors import BusError, FullError, GroupLostError, UnavailableError
from headrace.positions import Position
from headrace.retry import Backoff, Schedule

BLOCK_MS = 500
"""Longest wait of one read, hence for a consumer to notice that it shall stop."""
AHEAD = 64
"""A batch of more entries than this, or of as many as were asked for, says that more is waiting: reading on pays."""
RECONNECT = Backoff(50, 2_000)


class Consumer:
    """A member of a group on one partition. A context manager; `async for` gives batches until `stop` is called."""

    def __init__(
        self,
        bus: Bus,
        channel: str,
        group: str,
        *,
        worker: str,
        partition: int,
        start: Literal["start", "now"],
        decided: Decided | None = None,
        given_up: GivenUp | None = None,
    ) -> None:
        self.bus, self.channel, self.group, self.partition, self.worker = bus, channel, group, partition, worker
        self._start = start
        self._decided = decided
        self._given_up = given_up
        self._settings = bus.settings
        self._client: Any = bus._client
        self._log = bus.names.log(channel, partition)
        self._member = f"{worker}.{secrets.token_hex(3)}"
        self._reads = 0
        self._bound = BatchBound(self._settings.consume_entries, self._settings.consume_bytes)
        self._backoff = Backoff(self._settings.retry_base_ms, self._settings.retry_limit_ms)
        self._schedule = Schedule()
        self._open: dict[str, list[bytes]] = {}
        self._claimed: list[Batch] = []
        self._next_claim_s = 0.0
        self._stopping = False
        self._closing = asyncio.Event()
        self._renewal: asyncio.Task[None] | None = None
        self._ahead: asyncio.Task[Batch | None] | None = None

    async def __aenter__(self) -> Consumer:
        await self._create()
        self._renewal = asyncio.create_task(self._renew_forever(), name=f"renew {self.channel}")
        return self

    async def __aexit__(self, *error: object) -> None:
        self._closing.set()
        if self._ahead:  # what it brings is handed back; only a read that hangs is given up
            await asyncio.wait([self._ahead], timeout=BLOCK_MS / 1000)
            await end(self._ahead)
        if self._renewal:
            await asyncio.wait([self._renewal])
        with suppress(BusError):  # what is not released comes back to others by claim
            await self._hand_back()

    def stop(self) -> None:
        """End the iteration after the batch in hand."""
        self._stopping = True

    def __aiter__(self) -> AsyncIterator[Batch]:
        return self.batches()

    async def batches(self, *, wait: bool = True) -> AsyncIterator[Batch]:
        """Batches until `stop` is called; without `wait`, until nothing is left to do.

        With many entries waiting, the next batch is read while this one is worked on, so that worker and server need
        not wait for each other. After `stop` a batch that was read already still comes.
        """
        block_ms = BLOCK_MS if wait else None
        failures = 0
        while not self._stopping or self._ahead:
            ahead, self._ahead = self._ahead, None
            try:
                batch = await (ahead or self.next(block_ms))
            except UnavailableError:
                failures += 1
                await asyncio.sleep(RECONNECT.delay_ms(failures) / 1000)
                continue
            except GroupLostError:
                if self._decided is None:
                    raise
                await self._begin_again()
                continue
            failures = 0
            if batch:
                if (batch.full or len(batch) > AHEAD) and not self._stopping:
                    self._ahead = asyncio.create_task(self.next(), name=f"read {self.channel}")
                    await asyncio.sleep(0)  # the request goes out before the work begins
                yield batch
            elif not wait and not ahead:
                return

    async def next(self, block_ms: int | None = None) -> Batch | None:
        """The next batch: due retries, then what dead workers left, then new entries; None if nothing came in time.

        `block_ms` None does not wait at all, which makes an endless loop finite for tests.
        """
        try:
            return await self._next(block_ms)
        except BusError as error:
            self._check_lost(error)
            raise

    async def _next(self, block_ms: int | None) -> Batch | None:
        now = time.monotonic()
        due = self._schedule.take(now, self._settings.consume_entries)
        if due and (batch := await self._reclaim(due)):
            return batch
        if not self._claimed and now >= self._next_claim_s:
            self._next_claim_s = now + self._settings.claim_ms / 2000
            await self._claim()
        if self._claimed:
            return self._hand_out(self._claimed.pop(0))
        if block_ms is not None and (next_s := self._schedule.next_s()) is not None:
            block_ms = max(1, min(block_ms, int((next_s - now) * 1000)))
        return await self._read(block_ms)

    def commit(self, batch: Batch) -> Decision:
        """Begin to decide a batch."""
        return Decision(
            partition=self.partition,
            channel=self.channel,
            group=self.group,
            consumer=batch.consumer,
            entries=list(batch.ids),
            whole=batch.whole,
            batch=batch,
            worker=self.worker,
            max_attempts=self._settings.max_attempts,
            limit_bytes=self._settings.event_limit_bytes,
        )

    async def finish(self, work: Decision, rebuild: Callable[[Batch], Decision] | None = None) -> list[Position] | Left:
        """Write a decision, trying for as long as the server is away or full; what others decided is left to them.

        If the group was deleted nothing was written, and the entries come again from the group that is made anew.

        When only part of the batch is still ours, `rebuild` makes the decision for that part and the same goes on with
        it; without `rebuild` the Left is returned and nothing was written. Raises LeaseLostError, GroupLostError.
        """
        failures = 0
        while True:
            try:
                answer = await self._write(work)
            except (UnavailableError, FullError):
                failures += 1
                await asyncio.sleep(RECONNECT.delay_ms(failures) / 1000)
                continue
            except GroupLostError:
                if self._decided is None:
                    raise
                await self._begin_again()
                return Left([])
            if isinstance(answer, Left) and answer.positions and rebuild:
                ours = {str(position).encode() for position in answer.positions}
                work = rebuild(work.batch.part(ours.union(work.retries)))
                continue
            self._settle(work, answer)
            return answer

    async def _write(self, work: Decision) -> list[Position] | Left:
        try:
            return await self.bus.commit(work)
        except BusError as error:
            self._check_lost(error)
            raise

    def _check_lost(self, error: BusError) -> None:
        """Raises GroupLostError if that is what the server says."""
        if "NOGROUP" in str(error):
            raise GroupLostError(self.channel, self.group) from error

    def _settle(self, work: Decision, answer: list[Position] | Left) -> None:
        self._open.pop(work.consumer, None)
        if isinstance(answer, Left):
            return
        now = time.monotonic()
        for spelled in work.retries:
            attempt = work.batch.attempts.get(spelled, 1)
            self._schedule.add(Position.parse(spelled), work.consumer, now + self._backoff.delay_ms(attempt) / 1000)

    async def _begin_again(self) -> None:
        """The group is gone, and with it everything that this consumer held."""
        self._open.clear()
        self._claimed.clear()
        self._schedule = Schedule()
        self._reads += 1
        with suppress(UnavailableError):  # the next read finds the group missing again
            await self._create()

    def _name(self) -> str:
        return f"{self._member}.{self._reads}"

    def _hand_out(self, batch: Batch) -> Batch:
        self._open[batch.consumer] = batch.ids
        return batch

    async def _create(self) -> None:
        await make_group(self.bus, self.channel, self.partition, self.group, self._start, self._decided)

    async def _read(self, block_ms: int | None) -> Batch | None:
        name, count = self._name(), self._bound.next_count()
        try:
            found = await self.bus.read_group(self._log, self.group, name, count, block_ms)
        except BaseException:
            self._reads += 1  # rule 1: the reply may be lost
            raise
        batch = Batch.read(name, found)
        if batch is None:
            return None
        self._reads += 1
        batch.full = len(batch) >= count
        self._bound.observe(len(batch), sum(map(len, batch.payloads)))
        return self._hand_out(batch)

    async def _claim(self) -> None:
        """Take over what workers left that were silent for `claim_ms`, rule 3 applied."""
        name = self._name()
        self._reads += 1
        async with answered(self._settings, self.channel):
            raw = await self._client.xautoclaim(
                self._log, self.group, name, self._settings.claim_ms, "0-0", count=self._bound.next_count()
            )
        if raw[0] not in (b"0-0", "0-0"):
            self._next_claim_s = 0.0  # there was no end of it yet: go on at once
        batch = Batch.read(name, raw[1])
        if batch is None:
            await self._forget([name])
            return
        await self._count_deliveries(batch)
        hard = {i for i in batch.ids if batch.attempts.get(i, 1) > 2}
        if easy := batch.part(set(batch.ids) - hard):
            self._claimed.append(easy)
        for spelled in batch.ids:
            if spelled in hard:
                await self._isolate(batch.part({spelled}))

    async def _isolate(self, alone: Batch) -> None:
        """Give an entry that may have ended its workers a name of its own; after its last attempt, give it up."""
        alone.consumer, alone.whole = self._name(), True
        self._reads += 1
        async with answered(self._settings, self.channel):
            moved = await self._client.xclaim(self._log, self.group, alone.consumer, 0, alone.ids, justid=True)
        if not moved:
            return
        deliveries = alone.attempts[alone.ids[0]] - 1  # without this one
        if deliveries < self._settings.max_attempts:
            self._claimed.append(alone)
            return
        work = self.commit(alone)
        reason = f"delivered {deliveries} times, and no worker lived to decide it"
        work.dead(alone.ids[0], reason)
        if self._given_up:
            self._given_up(work, reason)
        await self.finish(work)

    async def _reclaim(self, due: list[tuple[Position, str]]) -> Batch | None:
        """Deliver entries kept for retry again, under a new name; their old names are given up when empty."""
        name = self._name()
        self._reads += 1
        ids = [str(position).encode() for position in sorted(position for position, _ in due)]
        async with answered(self._settings, self.channel):
            raw = await self._client.xclaim(self._log, self.group, name, 0, ids)
        batch = Batch.read(name, raw)
        if batch:
            await self._count_deliveries(batch)
        waiting = self._schedule.holders()
        await self._forget(sorted({holder for _, holder in due} - set(waiting)))
        return self._hand_out(batch) if batch else None

    async def _count_deliveries(self, batch: Batch) -> None:
        async with answered(self._settings, self.channel):
            rows = await self._client.xpending_range(
                self._log,
                self.group,
                min=batch.ids[0],
                max=batch.ids[-1],
                count=len(batch),
                consumername=batch.consumer,
            )
        for row in rows:
            delivered = int(row["times_delivered"])
            if delivered > 1:
                batch.attempts[bytes(row["message_id"])] = delivered

    async def _renew_forever(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.claim_ms / 3000):
                    await self._closing.wait()
                return
            with suppress(BusError):
                await self._claim_again(idle_ms=0)

    async def _hand_back(self) -> None:
        """Free what is still held for whoever claims first, and give up the names that hold nothing."""
        await self._claim_again(idle_ms=self._settings.claim_ms)
        await self._forget([self._name()])

    async def _claim_again(self, idle_ms: int) -> None:
        """Make all entries that we still hold look as if they were delivered `idle_ms` ago."""
        names = {*self._open, *(batch.consumer for batch in self._claimed), *self._schedule.holders()}
        for name in names:
            after = "-"
            while True:
                async with answered(self._settings, self.channel):
                    rows = await self._client.xpending_range(
                        self._log, self.group, min=after, max="+", count=1000, consumername=name
                    )
                    if not rows:
                        break
                    ids = [bytes(row["message_id"]) for row in rows]
                    await self._client.xclaim(self._log, self.group, name, 0, ids, idle=idle_ms, justid=True)
                after = f"({ids[-1].decode()}"

    async def _forget(self, names: list[str]) -> None:
        """Remove those of the names that hold nothing."""
        if names:
            await self.bus.call(Request(script("forget"), [self._log], [self.group, *names]), self.channel)
