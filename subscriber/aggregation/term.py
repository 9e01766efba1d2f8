"""One term of leadership: from loading what was saved until the lease is lost, the server goes away, or the end.

    consume ──> folding ──> commit          (runs, workers, models, alerts; labels of each partition)
    every 250 ms: counters, heads, groups ──> statistics ──> frame ──> commit
    every few seconds: trim and tidy        plain PUBLISH ──> intake

Whatever goes wrong ends the term. The next one loads what was saved, which is what the logs say.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from typing import Final

import msgspec

from headrace.bus import Batch, Bus, Commit, Consumer, Left
from headrace.channels import (
    AGGREGATORS,
    ALERTS,
    BUILT_IN,
    FRAMES,
    FRAMES_LONG,
    LABELS,
    MODELS,
    REQUESTS,
    RESULTS,
    RUNS,
    WORKERS,
)
from headrace.errors import LeaseLostError
from headrace.events import Frame, ServerView, new_id
from headrace.heartbeat import Tally
from headrace.positions import START, Position
from headrace.subscriber.aggregation import housekeeping, saved
from headrace.subscriber.aggregation.alerts import LossWatch, conditions
from headrace.subscriber.aggregation.filling import Filling
from headrace.subscriber.aggregation.folding import fold, fold_labels
from headrace.subscriber.aggregation.frame import Known, Place, Readings, compose, group_views
from headrace.subscriber.aggregation.intake import Intake
from headrace.subscriber.aggregation.quality import Cards
from headrace.subscriber.aggregation.servertime import ServerTime
from headrace.subscriber.aggregation.statistics import summed
from headrace.subscriber.aggregation.webhook import Webhook

LEASE: Final = "aggregator"
LEASE_S: Final = 2.0
CLAIM_MS: Final = 4000
"""Only the leader consumes, so what a dead one left is free as soon as its lease has surely ended."""
PACE_S: Final = 0.2
"""Rest between two batches that were not full: as fresh as frames are, and few commits."""
SLOW_S: Final = 1.0
SIZES_S: Final = 2.0
MEMORY_S: Final = 60.0
"""Window in which the pace of the server's memory is measured."""
LONG_S: Final = 10.0
TIDY_S: Final = 5.0
OWN_CHANNELS: Final = 50

log = logging.getLogger(__name__)


class StaleError(LeaseLostError):
    """The state in memory may differ from what is saved; load it again."""


class Term:
    """Everything that the leader does, on the state `known`. `token` holds the lease in every partition."""

    def __init__(
        self,
        bus: Bus,
        known: Known,
        cards: Cards,
        *,
        worker: str,
        token: str,
        tally: Tally,
        now: ServerTime,
        webhook: Webhook | None = None,
    ) -> None:
        self.bus, self.known, self.cards = bus, known, cards
        self.worker, self.token, self.tally, self.now = worker, token, tally, now
        self.number = 0
        self.readings = Readings()
        self._webhook = webhook
        self._memory: Filling[str] = Filling(MEMORY_S)
        self._brisk = copy.copy(bus)
        self._brisk.settings = bus.settings.with_(claim_ms=min(CLAIM_MS, bus.settings.claim_ms))
        self._silence = housekeeping.Silence()
        self._silent_s: dict[tuple[str, str], float] = {}
        self._losses = LossWatch()
        self._due: dict[str, float] = {}
        self._newest: dict[Place, Position] = {}
        self._left_out = 0

    @property
    def followed(self) -> list[Place]:
        """The partitions that are consumed."""
        labels = [Place(LABELS, partition) for partition in self.bus.names.partitions_of(LABELS)]
        return [Place(RUNS, 0), Place(WORKERS, 0), Place(MODELS, 0), Place(ALERTS, 0), *labels]

    # consume

    async def follow(self, place: Place) -> None:
        """Consume one partition for ever."""
        async with self._consumer(place) as consumer:
            async for batch in consumer:
                await self._decide(consumer, batch)
                if len(batch) < self.bus.settings.consume_entries:
                    await asyncio.sleep(PACE_S)

    async def catch_up(self, place: Place) -> None:
        """Consume what is there."""
        async with self._consumer(place) as consumer:
            while batch := await consumer.next():
                await self._decide(consumer, batch)

    def _consumer(self, place: Place) -> Consumer:
        async def decided(bus: Bus, partition: int, group: str) -> tuple[Position, list[Position]]:
            return await saved.cursor(bus, place.channel, partition), []

        return self._brisk.consume(
            place.channel, AGGREGATORS, worker=self.worker, partition=place.partition, decided=decided
        )

    async def _decide(self, consumer: Consumer, batch: Batch) -> None:
        work = consumer.commit(batch)
        work.under_lease(LEASE, self.token)
        if work.channel == LABELS:
            await fold_labels(work, batch, self.bus, self.known, self.cards, self.tally, self.now())
        else:
            fold(work, batch, self.known, self.tally, self.now())
        place = Place(work.channel, work.partition)
        self._newest[place] = max(batch.entries[-1].position, self._newest.get(place, START))
        saved.save_cursor(work, self._newest[place])
        if isinstance(await consumer.finish(work), Left):
            raise StaleError(LEASE)  # folded here, but committed by nobody knows whom

    # frame

    async def publish_frames(self, interval_s: float) -> None:
        """Publish a frame every `interval_s`, for ever; one that took longer delays the next and adds none."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            await self.publish_frame()
            due = max(due + interval_s, loop.time())
            await asyncio.sleep(due - loop.time())

    async def publish_frame(self) -> Frame:
        """Read what the server counts, and publish the frame of this moment."""
        now = self.now()
        await self._read(now)
        frame, work = self.compose(now)
        positions = await self.bus.commit(work)
        if isinstance(positions, list) and positions:
            self.now.observe(positions[0].ms)
        news = self.known.alerts.take_news()
        if self._webhook:
            self._webhook.put(news)
        return frame

    def compose(self, now: float) -> tuple[Frame, Commit]:
        """The frame of this moment, and the commit that publishes it. No I/O."""
        known, settings = self.known, self.bus.settings
        groups = group_views(self.readings, known.statistics, now)
        self.number += 1
        frame = compose(
            known,
            self.readings,
            groups,
            number=self.number,
            aggregator=self.worker,
            settings=settings,
            cards=self.cards,
            now=now,
            webhook=self._webhook.view() if self._webhook else None,
        )
        holding = conditions(
            frame,
            self._silent_s,
            known.workers.missing(now),
            known.serving.refusals({view.worker: view.models for view in frame.workers}),
            frame.live.lost if self._losses.step(frame.live.lost, now) else 0,
            known.alerts.raised,
            settings,
        )
        events = known.alerts.step(holding, now)
        if events:
            frame = msgspec.structs.replace(frame, alerts=known.alerts.views())
        work = Commit(partition=0)
        work.under_lease(LEASE, self.token)
        work.append(FRAMES, [frame])
        if self._is_due("long", LONG_S, now):
            work.append(FRAMES_LONG, [msgspec.structs.replace(frame, id=new_id(), points={}, batches={})])
        work.append(ALERTS, events)
        saved.save_alerts(work, known.alerts)
        saved.save_workers(work, known.workers)
        if self._is_due("totals", SLOW_S, now):
            saved.save_totals(work, known)
        return frame, work

    async def _read(self, now: float) -> None:
        bus, readings, statistics = self.bus, self.readings, self.known.statistics
        slow, sizes = self._is_due("slow", SLOW_S, now), self._is_due("sizes", SIZES_S, now)
        for place in self.places():
            if slow or place.channel in (REQUESTS, RESULTS, LABELS, RUNS):
                epoch, readings.heads[place] = await bus.last(place.channel, place.partition)
                if readings.epochs.setdefault(place, epoch) != epoch and readings.epochs[place]:
                    raise StaleError(LEASE)  # the log was replaced, and what is known is of the old one
                readings.epochs[place] = epoch
            if readings.heads[place] == START:
                continue
            if slow or place.channel in (REQUESTS, LABELS):
                readings.groups[place] = await bus.groups(place.channel, place.partition)
                readings.filling.step(place, readings.needed(place), now)
            if sizes:
                readings.lengths[place] = await bus.length(place.channel, place.partition)
                readings.memory[place] = await bus.memory(place.channel, place.partition) or 0
        if slow:
            self._silent_s = self._silence.step(readings.groups.items(), now)
        if sizes:
            readings.server = await self._health(now)
        seconds = statistics.wanted(now, bus.settings.bucket_ttl_s)
        partitions = bus.names.partitions_of(REQUESTS)
        statistics.take(
            now, {second: summed([await bus.counters(p, second) for p in partitions]) for second in seconds}
        )

    async def _health(self, now: float) -> ServerView:
        server = await self.bus.health()
        self._memory.step("server", server.memory_bytes, now)
        return msgspec.structs.replace(server, full_s=self._memory.full_s("server", server.memory_limit_bytes))

    def places(self) -> list[Place]:
        """All partitions there are: headrace's own channels, then those of the user that had events lately."""
        own = sorted(self.known.statistics.published() - set(BUILT_IN))[:OWN_CHANNELS]
        names = self.bus.names
        return [Place(channel, p) for channel in (*BUILT_IN, *own) for p in names.partitions_of(channel)]

    def _is_due(self, name: str, every_s: float, now: float) -> bool:
        if now < self._due.get(name, 0.0):
            return False
        self._due[name] = now + every_s
        return True

    # the rest

    async def keep_house(self) -> None:
        """Trim and tidy every few seconds, for ever."""
        while True:
            await asyncio.sleep(TIDY_S)
            await self.tidy()

    async def tidy(self) -> None:
        """Trim logs by their retention, remove left-over names, and groups that nobody has worked for in ages."""
        share = housekeeping.room(self.readings.server)
        await housekeeping.tidy(self.bus, self.places(), self.readings.groups, self.now(), share)
        for channel, group in housekeeping.outdated(self._silent_s, self.bus.settings):
            log.warning("removing group %r of channel %r: nobody has worked for it in ages", group, channel)
            for partition in self.bus.names.partitions_of(channel):
                await self.bus.remove_group(channel, partition, group)
        if self.known.runs.left_out > self._left_out:
            self._left_out = self.known.runs.left_out
            log.warning("%d values of runs were left out so far: a run keeps 20 metrics", self._left_out)

    async def take_in(self) -> None:
        """Take in plain PUBLISH, for ever."""
        await Intake(self.bus, self.known.intake).run()
