"""Dogwild!: each process trains by Hogwild, and processes gossip their weights over headrace itself.

Two processes with half of the rows each. In either, threads update one vector without a lock; now and then the process
publishes its weights on a channel and takes the mean of its own and the last that it heard from the other. No process
waits for another, and none is the leader. Weights travel as the rows of an event, its bytes untouched.

From: Noel and Osindero, Dogwild! Distributed Hogwild for CPU and GPU, 2014.
Look at: `heard` and `age_s` beside the loss, one rank a process: how many gossips came, and how old the last one was.
Checked: both processes end with an accuracy that a single process with all rows reaches, to six points of a hundred,
though each saw half; every gossip that was published is in the log of the channel.
Needs: nothing more
Weight: light
"""

from __future__ import annotations

import asyncio
import multiprocessing
import secrets
import threading
import time
from contextlib import suppress
from typing import Any

import numpy as np

from headrace import Bus, Settings
from headrace.arrays import pack, unpack_rows
from headrace.codec import decode
from headrace.events import PredictionRequested, new_id, stamped
from hogwild import FEATURES, accuracy, descend, sparse
from stage import Show, play, ranked

PROCESSES = 2
THREADS = 2
BLOCK = 20
GAP = 0.06
GOSSIP_EVERY = 20
"""Updates of a process between two gossips."""


def main(show: Show) -> str:
    updates = show.sizes["updates"]
    context = multiprocessing.get_context("spawn")
    channel, scores = f"gossip-{secrets.token_hex(3)}", context.Array("d", PROCESSES)
    run, ready = new_id(), context.Barrier(PROCESSES)
    processes = [
        context.Process(target=live, args=(show.settings, run, channel, rank, updates, ready, scores))
        for rank in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        show.check(process.exitcode == 0, f"a process ended with status {process.exitcode}")
    gossips = PROCESSES * (updates // GOSSIP_EVERY)
    show.expect(run, metrics=gossips, ranks=PROCESSES)
    show.count("gossips", gossips, lambda: sum(1 for _ in show.log(channel)))

    alone = np.zeros(FEATURES)
    rngs = [np.random.default_rng(rank) for rank in range(PROCESSES)]
    for step in range(1, updates + 1):
        for rng in rngs:
            descend(alone, *sparse(rng, BLOCK), step)
    single = accuracy(alone)
    reached = scores[:]
    for rank, score in enumerate(reached):
        show.check(score > single - GAP, f"process {rank} scores {score:.3f}, a single one with all rows {single:.3f}")
    said = " and ".join(f"{score:.3f}" for score in reached)
    return f"accuracy {said} in the two processes, {single:.3f} in one with all rows; {gossips} gossips"


def live(settings: Settings, run: str, channel: str, rank: int, updates: int, ready: Any, scores: Any) -> None:
    """One process: threads that learn, gossip that comes and goes."""
    weights, heard, age_s = np.zeros(FEATURES), 0, np.nan
    rng = np.random.default_rng(rank)
    ear = Ear(settings, channel, str(rank))
    with ranked(settings, run, "dogwild", rank, PROCESSES, threads=THREADS, updates=updates) as logged:
        ready.wait()
        for step in range(GOSSIP_EVERY, updates + 1, GOSSIP_EVERY):
            losses: list[float] = []
            work = [sparse(rng, BLOCK) for _ in range(GOSSIP_EVERY)]
            threads = [
                threading.Thread(target=learn, args=(weights, work[part::THREADS], step, losses))
                for part in range(THREADS)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            # A request is the event that carries a matrix; on a channel of its own nobody scores it.
            mine = PredictionRequested(model="dogwild", subject=str(rank), inputs=pack(weights[None]))
            logged.publisher.publish(channel, stamped(mine, f"dogwild-{rank}"))
            for gossip in ear.take():
                weights += (unpack_rows(gossip.inputs)[0] - weights) / 2
                heard, age_s = heard + 1, time.time() - gossip.time
            logged.log(step=step, loss=np.mean(losses), heard=heard, age_s=age_s)
    ear.close()
    scores[rank] = accuracy(weights)


class Ear:
    """Hears the gossip of others in the background, and keeps the last of each."""

    def __init__(self, settings: Settings, channel: str, own: str) -> None:
        self._newest: dict[str, PredictionRequested] = {}
        self._settings, self._channel, self._own = settings, channel, own
        self._loop = asyncio.new_event_loop()
        self._listening = self._loop.create_task(self._listen())
        self._thread = threading.Thread(target=self._run, name="ear")
        self._thread.start()

    def take(self) -> list[PredictionRequested]:
        """What has come since the last call, the last of each other process."""
        return [self._newest.pop(other) for other in list(self._newest)]

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._listening.cancel)
        self._thread.join()

    def _run(self) -> None:
        with suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._listening)
        self._loop.close()

    async def _listen(self) -> None:
        async with Bus(self._settings) as bus, bus.subscribe(self._channel, since="start") as subscription:
            async for delivery in subscription:
                for entry in delivery.entries:
                    gossip = decode(entry.payload)
                    if isinstance(gossip, PredictionRequested) and gossip.subject != self._own:
                        self._newest[gossip.subject] = gossip


def learn(weights: Any, work: list[Any], step: int, losses: list[float]) -> None:
    """One thread of a process: it updates the vector that the other updates too."""
    for columns, values, truth in work:
        losses.append(descend(weights, columns, values, truth, step))


if __name__ == "__main__":
    play(main, ("numpy",), updates=(2_000, 400))
