"""The scorer: reads what is waiting, scores it in one go, commits the outcome; again.

    consume ──> scoring.score (a thread) ──> one Decision ──> commit

The event loop only waits; decoding, predicting and packing run in one thread, so that heartbeats and promotions go on
under load. Scale by processes: one BLAS thread each.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import ParamSpec, TypeVar

from headrace.arrays import unpack_rows
from headrace.bus import Batch, Bus, Commit, Consumer, Decision
from headrace.channels import MODELS, REQUESTS, RESULTS, SCORERS, TAIL
from headrace.codec import decode
from headrace.ending import end
from headrace.errors import BusError, CodecError, ModelError
from headrace.events import ModelPromoted, ModelRefused, PredictionRequested, new_id
from headrace.heartbeat import Heartbeat, Tally
from headrace.models.model import Model
from headrace.outcomes import decided
from headrace.positions import Position
from headrace.subscriber.scoring import results
from headrace.subscriber.scoring.batches import Batches
from headrace.subscriber.scoring.latencies import Latencies
from headrace.subscriber.scoring.outcome import Outcome, Scored, score
from headrace.subscriber.scoring.shelf import NotOpenError, Shelf

P = ParamSpec("P")
T = TypeVar("T")

SAMPLES_PER_S = 5.0
"""Predictions a scorer shows on the page each second, at any load: pages show fewer, and each costs every dashboard."""
FEW = 8
INLINE_S = 0.002
"""The event loop may stand still for so long."""
IMAGE_VALUES = 1024
"""Longest row that is shown."""


class Scorer:
    """Scores the requests of all partitions until told to stop. `worker` is unique to this process."""

    def __init__(self, bus: Bus, shelf: Shelf, worker: str) -> None:
        self.bus, self.shelf, self.worker = bus, shelf, worker
        self.tally = Tally(busy_s=0.0)
        self._latencies = Latencies()
        """Known only after their commit; a later commit writes them."""
        self._batches = Batches(bus.settings.consume_entries, bus.settings.consume_bytes)
        self._sampled_s = 0.0
        self._shown_s: dict[str, float] = {}
        """When a prediction of each model was shown last."""
        self._few_s = INLINE_S
        """Time that the last small batch took."""
        self._rows_since_sample = 0
        self._consumers: list[Consumer] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="score")

    async def run(self, stop: asyncio.Event, *, burst: bool = False) -> None:
        """Score until `stop` is set, then finish the batch in hand. `burst` ends when nothing is waiting.

        Raises GroupLostError if somebody deletes the group.
        """
        partitions = self.bus.names.partitions_of(REQUESTS)
        _, known = await self.bus.last(MODELS)  # before loading: what is promoted from now on is followed
        await self._load()
        scoring = {asyncio.create_task(self._consume(partition, stop, burst)) for partition in partitions}
        upkeep = {
            asyncio.create_task(self._follow_promotions(known)),
            asyncio.create_task(self._write_late_forever()),
            asyncio.create_task(self._stop_when(stop)),
        }
        try:
            async with Heartbeat(self.bus, "scorer", self._read, worker=self.worker):
                pending = scoring | upkeep
                while pending & scoring:
                    done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                    for ended in done:
                        ended.result()
        finally:
            await end(*scoring, *upkeep)
            self._thread.shutdown(wait=False)
        with suppress(BusError):
            await self._write_late()

    def _read(self) -> Tally:
        self.tally.models = self.shelf.versions()
        self.tally.batch_samples = self._batches.take()
        return self.tally

    async def _stop_when(self, stop: asyncio.Event) -> None:
        await stop.wait()
        for consumer in self._consumers:
            consumer.stop()

    async def _consume(self, partition: int, stop: asyncio.Event, burst: bool) -> None:
        async with self.bus.consume(
            REQUESTS,
            SCORERS,
            worker=self.worker,
            partition=partition,
            decided=decided,
            given_up=self._given_up,
        ) as consumer:
            self._consumers.append(consumer)
            if stop.is_set():
                consumer.stop()
            async for batch in consumer.batches(wait=not burst):
                await self._decide(consumer, batch)

    async def _decide(self, consumer: Consumer, batch: Batch) -> None:
        started = time.perf_counter()
        outcome, work = await self._scored(consumer, batch)
        self._busy(time.perf_counter() - started)
        committing = time.perf_counter()

        def rebuild(part: Batch) -> Decision:
            nonlocal outcome
            outcome, again = self._score(consumer, part)
            return again

        await consumer.finish(work, rebuild)
        self._observe(batch, outcome, time.perf_counter() - committing)

    async def _scored(self, consumer: Consumer, batch: Batch) -> tuple[Outcome, Decision]:
        """Score in the thread, unless a batch of this size took less than changing threads is worth."""
        if len(batch) <= FEW and self._few_s < INLINE_S:
            with suppress(NotOpenError):
                started = time.perf_counter()
                scored = self._score(consumer, batch, self.shelf.opened)
                self._few_s = time.perf_counter() - started
                return scored
        started = time.perf_counter()
        scored = await self._threaded(self._score, consumer, batch)
        if len(batch) <= FEW:
            self._few_s = time.perf_counter() - started
        return scored

    def _score(
        self, consumer: Consumer, batch: Batch, models: Callable[[str, int], Model] | None = None
    ) -> tuple[Outcome, Decision]:
        """Everything between read and commit; pure work."""
        received = batch.read_at
        outcome = score(batch.payloads, models or self.shelf.get, received, self.bus.settings.event_limit_bytes)
        work = consumer.commit(batch)
        now = time.time()
        partition, ids, payloads = consumer.partition, batch.ids, batch.payloads
        events = []
        for scored in outcome.scored:
            event, replies = results.packed(scored, ids, payloads, partition, self.worker, received, now)
            events.append(event)
            for live, payload in replies:
                self._reply(work, live, payload)
            results.count(work, scored)
            results.wait_for_labels(work, scored, ids)
        work.append(RESULTS, events)
        for place, reason in results.unscored(outcome):
            work.dead(ids[place], reason)
            self._reject(work, batch, outcome, place, reason)
        for place, reason in sorted(outcome.failed.items()):
            if work.retry(ids[place], reason):
                self._batches.keep(ids[place])
            else:
                self._reject(work, batch, outcome, place, reason)
        self._sample(work, outcome, batch, partition)
        self._count(work, self._latencies.take_due(received))
        return outcome, work

    def _observe(self, batch: Batch, outcome: Outcome, commit_s: float) -> None:
        tally = self.tally
        tally.events += len(batch)
        tally.batches += 1
        tally.failed += len(outcome.rejected) + len(outcome.failed)
        self._busy(commit_s)
        end = time.time()
        made, model_s = [], 0.0
        for scored in outcome.scored:
            created = results.created(scored, batch.ids)
            made.append(created)
            model_s += scored.model_s
            self._latencies.each("wait", batch.read_at - created)
            self._latencies.each("total", end - created)
            self._latencies.each(f"{scored.model.name}:{scored.model.version}", end - created)
            self._latencies.same("model", scored.model_s, len(created))
            # All the rest, so that the parts add up: decoding, making results, the commit itself.
            self._latencies.same("commit", max(0.0, end - batch.read_at - scored.model_s), len(created))
        self._batches.add(batch, made, model_s, end)

    def _busy(self, seconds: float) -> None:
        self.tally.busy_s = (self.tally.busy_s or 0.0) + seconds

    def _reply(self, work: Decision, live: str, payload: bytes) -> None:
        if live.startswith(self.bus.names.reply("")):  # nobody can make a scorer push anywhere else
            work.reply(live, payload)

    def _reject(self, work: Decision, batch: Batch, outcome: Outcome, place: int, reason: str) -> None:
        request = outcome.requests.get(place)
        if request is not None and request.reply_to:
            live, payload = results.rejection(
                request, batch.ids[place], batch.payloads[place], work.partition, reason, time.time()
            )
            self._reply(work, live, payload)

    def _given_up(self, work: Decision, reason: str) -> None:
        """Tell who asked that the request killed its workers and will not be tried again."""
        with suppress(CodecError):
            request = decode(work.batch.payloads[0])
            if isinstance(request, PredictionRequested) and request.reply_to:
                spelled, payload = work.batch.ids[0], work.batch.payloads[0]
                self._reply(work, *results.rejection(request, spelled, payload, work.partition, reason, time.time()))

    def _count(self, work: Decision, counters: Mapping[str, int]) -> None:
        for name, n in counters.items():
            work.count(name, n)

    def _sample(self, work: Decision, outcome: Outcome, batch: Batch, partition: int) -> None:
        """Show one prediction of this batch, unless enough were shown in the last second; models take turns."""
        self._rows_since_sample += sum(sum(scored.rows) for scored in outcome.scored)
        now = time.monotonic()
        if not outcome.scored or now - self._sampled_s < 1 / SAMPLES_PER_S:
            return
        for scored in sorted(outcome.scored, key=lambda one: self._shown_s.get(one.model.name, 0.0)):
            row = first_row(scored)
            if len(row) <= IMAGE_VALUES:
                self._sampled_s = self._shown_s[scored.model.name] = now
                rows, self._rows_since_sample = self._rows_since_sample, 0
                stamps = batch.read_at, rows, time.time()
                work.append(TAIL, [results.sample(scored, batch.ids, row, partition, self.worker, *stamps)])
                return

    async def _write_late_forever(self) -> None:
        """Write the latencies that wait for a next commit, should none come."""
        while True:
            await asyncio.sleep(1.0)
            with suppress(BusError):
                await self._write_late()

    async def _write_late(self) -> None:
        late = self._latencies.take()
        if late:
            work = Commit(partition=0)
            for name, n in late.items():
                work.count(name, n)
            await self.bus.commit(work)

    async def _follow_promotions(self, since: Position) -> None:
        async with self.bus.subscribe(MODELS, since={MODELS: since}) as subscription:
            async for delivery in subscription:
                counts = subscription.counts
                self.tally.live, self.tally.healed, self.tally.lost = counts.live, counts.healed, counts.lost
                if delivery.notice is not None:  # promotions may have been missed: the registry knows
                    await self._load()
                for entry in delivery.entries:
                    with suppress(CodecError):
                        event = decode(entry.payload)
                        if isinstance(event, ModelPromoted):
                            await self._promote(event)

    async def _promote(self, event: ModelPromoted) -> None:
        try:
            await asyncio.to_thread(self.shelf.promote, event.model, event.version)
        except ModelError as error:
            refusal = ModelRefused(
                id=new_id(),
                time=time.time(),
                model=event.model,
                version=event.version,
                worker=self.worker,
                reason=str(error),
            )
            with suppress(BusError):
                await self.bus.publish(MODELS, [refusal])

    async def _load(self) -> None:
        for error in await asyncio.to_thread(self.shelf.load):
            event = ModelRefused(
                id=new_id(), time=time.time(), model="", version=0, worker=self.worker, reason=str(error)
            )
            with suppress(BusError):
                await self.bus.publish(MODELS, [event])

    async def _threaded(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(function, *args, **kwargs))


def first_row(scored: Scored) -> list[float]:
    """The first row of the last request, as a list."""
    request: PredictionRequested = scored.requests[-1]
    row: list[float] = unpack_rows(request.inputs)[0].tolist()
    return row
