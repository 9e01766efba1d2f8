"""The aggregator: folds what is published into one state and publishes it as frames. Any number may run, one leads.

    stand by ──> lease taken ──> load ──> term ──> lease lost, server gone ──> stand by
                                           └──> told to stop ──> lease given up

All state is saved in the commit of the entries that changed it, and every write asks for the lease. Whoever has lost it
drops its state: a stalled former leader can write nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress

from headrace.bus import Bus
from headrace.channels import LABELS, WORKERS
from headrace.ending import end
from headrace.errors import BusError, GroupLostError, LeaseLostError, UnavailableError
from headrace.events import new_id, stamped
from headrace.heartbeat import Heartbeat, Tally, alive, reading
from headrace.settings import Settings
from headrace.subscriber.aggregation import saved
from headrace.subscriber.aggregation.cards import CardShelf
from headrace.subscriber.aggregation.quality import Cards, ModelCard
from headrace.subscriber.aggregation.servertime import ServerTime
from headrace.subscriber.aggregation.term import LEASE, LEASE_S, Term
from headrace.subscriber.aggregation.webhook import Webhook

RENEW_S = LEASE_S / 4
RETRY_S = 0.5
"""How long a cancelled task may take to hand back what it holds before it is cancelled again."""

log = logging.getLogger(__name__)


def no_cards(model: str, version: int) -> ModelCard | None:
    """For aggregators that have no registry: class names are then unknown."""
    return None


async def run_aggregator(
    settings: Settings,
    bus: Bus,
    *,
    stop: asyncio.Event,
    cards: Cards = no_cards,
    champions: Callable[[], Mapping[str, int]] = dict,
    interval_s: float = 0.25,
    clock: Callable[[], float] = time.time,
    burst: bool = False,
    worker: str = "",
) -> None:
    """Lead or stand by until `stop` is set. `burst` folds what is there, publishes one frame and returns.

    `cards` tells what is known of a model version, `champions` which versions are in service at the start. Goes on
    when the server goes away and comes back. Raises LeaseLostError only in `burst`, when another leads.
    """
    tally = Tally()
    heartbeat = Heartbeat(bus, "aggregator", lambda: tally, worker=worker)
    async with AsyncExitStack() as stack:
        webhook = None
        if settings.alert_webhook:
            webhook = await stack.enter_async_context(Webhook(settings.alert_webhook, settings.prefix))
        aggregator = Aggregator(bus, CardShelf(cards), champions, heartbeat.worker, tally, clock, webhook)
        if burst:
            await aggregator.burst()
            return
        await stack.enter_async_context(heartbeat)
        await aggregator.run(stop, interval_s)


class Aggregator:
    """Leads or stands by. `worker` is unique to this process."""

    def __init__(
        self,
        bus: Bus,
        cards: Cards,
        champions: Callable[[], Mapping[str, int]],
        worker: str,
        tally: Tally,
        clock: Callable[[], float],
        webhook: Webhook | None = None,
    ) -> None:
        self.bus, self.cards, self.champions, self.worker, self.tally = bus, cards, champions, worker, tally
        self._clock = clock
        self._webhook = webhook
        self._token = ""

    async def run(self, stop: asyncio.Event, interval_s: float) -> None:
        """Lead whenever nobody else does, until `stop` is set."""
        while not stop.is_set():
            self._token = f"{self.worker}.{new_id()}"  # a call of an earlier term may still be on its way
            pause_s = RENEW_S
            try:
                if await self._hold():
                    log.info("%s leads", self.worker)
                    await self._lead(stop, interval_s)
            except (LeaseLostError, GroupLostError) as error:
                log.warning("%s stands by: %s", self.worker, error)
            except UnavailableError as error:
                log.warning("%s waits: %s", self.worker, error)
                pause_s = RETRY_S
            finally:
                await self._give_up()
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause_s)

    async def burst(self) -> None:
        """Fold what is there, publish one frame, and return.

        A lease that ran out while this process stood still is taken again: what was folded before is saved.
        """
        while True:
            self._token = f"{self.worker}.{new_id()}"
            try:
                if not await self._hold():
                    raise LeaseLostError(LEASE)
                with suppress(LeaseLostError):
                    await self._catch_up()
                    return
            finally:
                await self._give_up()

    async def _catch_up(self) -> None:
        renewal = asyncio.create_task(self._renew(), name="renew lease")
        try:
            term = await self._begin()
            for place in term.followed:
                await term.catch_up(place)
            await term.publish_frame()
        finally:
            await end(renewal)

    async def _begin(self) -> Term:
        """Load what was saved. The first sign of life tells the server's time, which dates everything."""
        moment = reading(self.tally, time.monotonic(), 0.0)
        sign = alive(self.worker, "aggregator", self._clock(), self.tally, moment, moment)
        receipt = await self.bus.publish(WORKERS, [stamped(sign, self.worker)])
        now = ServerTime(self._clock)
        now.observe(receipt.positions[-1].ms)
        known = await saved.load(self.bus, await asyncio.to_thread(self.champions), now())
        return Term(
            self.bus,
            known,
            self.cards,
            worker=self.worker,
            token=self._token,
            tally=self.tally,
            now=now,
            webhook=self._webhook,
        )

    async def _lead(self, stop: asyncio.Event, interval_s: float) -> None:
        renewal = asyncio.create_task(self._renew(), name="renew lease")
        try:
            term = await self._begin()
            await _until(
                stop,
                renewal,
                *(asyncio.create_task(term.follow(place), name=f"follow {place}") for place in term.followed),
                asyncio.create_task(term.publish_frames(interval_s), name="publish frames"),
                asyncio.create_task(term.keep_house(), name="keep house"),
                asyncio.create_task(term.take_in(), name="take in"),
            )
        finally:
            await end(renewal)

    async def _hold(self) -> bool:
        """Take or renew the lease in every partition: a commit can only ask for the one in its own."""
        ttl_ms = int(LEASE_S * 1000)
        for partition in self.bus.names.partitions_of(LABELS):
            if not await self.bus.lease(LEASE, self._token, ttl_ms, partition):
                return False
        return True

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            if not await self._hold():
                raise LeaseLostError(LEASE)

    async def _give_up(self) -> None:
        with suppress(BusError):
            for partition in self.bus.names.partitions_of(LABELS):
                await self.bus.release(LEASE, self._token, partition)


async def _until(stop: asyncio.Event, *tasks: asyncio.Task[None]) -> None:
    """Run tasks until `stop` is set or one of them ends, then end all. Raises what the first to fail raised."""
    stopping = asyncio.create_task(_wait(stop), name="wait for the end")
    try:
        done, _ = await asyncio.wait({stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end(stopping, *tasks)
    for task in done:
        task.result()


async def _wait(stop: asyncio.Event) -> None:
    await stop.wait()
