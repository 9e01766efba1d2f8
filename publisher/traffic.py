"""The demo's publishers, doing real work: models train side by side, and held-out rows arrive as requests.

Trainings: every round, candidates for digits learn on the shipped data with other seeds, epoch by epoch; the best of a
round goes into service if it beats what is there. Requests: Poisson arrivals of rows that no model has seen, now and
then a rush hour and a backfill that comes at once, so that a queue builds up and drains; the truth follows seconds
later. One client has a bug: it forgets a pixel, and its requests end as dead letters.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from headrace.arrays import pack
from headrace.channels import MODELS, REQUESTS
from headrace.ending import end
from headrace.errors import ModelError, PredictionError
from headrace.events import ModelPromoted, PredictionRequested, new_id
from headrace.models.datasets import Dataset, load
from headrace.models.registry import Registry
from headrace.models.training import CANDIDATES, Candidate, Trainer
from headrace.publisher.aio import AsyncPublisher
from headrace.publisher.publisher import Publisher
from headrace.publisher.run import Run
from headrace.settings import Settings

TICK_S = 0.02
ROUND_S = 16.0
"""Time that a round of trainings takes, whatever the machine: the page shall show curves that grow."""
SIDE_BY_SIDE = 4
RUSH_EVERY_S = 90.0
FIRST_RUSH_S = 45.0
RUSH_S = 6.0
RUSH_TIMES = 10.0
"""How much more arrives in a rush hour."""
BACKFILL_TIMES = 200.0
"""Seconds' worth of requests that come at once when a rush hour begins."""
MIX = (("digits", 0.85), ("breast_cancer", 0.1), ("diabetes", 0.05))
LABEL_DELAY_S = (2.0, 6.0)
LABELLED = 500
"""Most requests whose truth is on its way."""
BUG_SHARE = 0.003


@dataclass(slots=True)
class Report:
    """What the traffic did."""

    requests: int = 0
    backfilled: int = 0
    answered: int = 0
    rejected: int = 0
    unanswered: int = 0
    labels: int = 0
    runs: int = 0
    promoted: list[str] = field(default_factory=list)


class Arrivals:
    """When requests arrive: Poisson, with a rush hour now and then that begins with a backfill. Pure; in seconds."""

    def __init__(self, rate: float, seed: int) -> None:
        self._rate = rate
        self._rng = np.random.default_rng(seed)
        self._at_s = 0.0

    def until(self, now_s: float) -> tuple[int, int]:
        """Requests and backfilled ones that arrive between the last call and `now_s`, counted from the start."""
        span_s, before_s, self._at_s = now_s - self._at_s, self._at_s, now_s
        in_rush = _in_rush(now_s)
        begins = in_rush and not _in_rush(before_s)
        mean = self._rate * (RUSH_TIMES if in_rush else 1.0) * max(0.0, span_s)
        return int(self._rng.poisson(mean)), int(self._rate * BACKFILL_TIMES) if begins else 0


def _in_rush(at_s: float) -> bool:
    return at_s >= FIRST_RUSH_S and (at_s - FIRST_RUSH_S) % RUSH_EVERY_S < RUSH_S


class Traffic:
    """All of it, in one process. `say` gets a line of text for each thing worth telling."""

    def __init__(
        self, settings: Settings, *, rate: float, seed: int = 0, say: Callable[[str], None] = lambda text: None
    ) -> None:
        self.report = Report()
        self._settings, self._rate, self._seed, self._say = settings, rate, seed, say
        self._random = random.Random(seed)
        self._registry = Registry(settings.models)
        self._datasets: dict[str, Dataset] = {name: load(name) for name, _ in MIX}
        self._labelling: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()

    async def run(self, stop: asyncio.Event, duration_s: float | None = None) -> Report:
        """Go on until `stop` is set or the time is over; then everything accepted is in the log."""
        self._stop = stop
        async with AsyncPublisher(self._settings, source="traffic") as publisher:
            train = asyncio.create_task(self._train(publisher))
            try:
                await self._request(publisher, duration_s)
            finally:
                stop.set()
                await end(train, *self._labelling)
            await publisher.flush()
        return self.report

    # requests

    async def _request(self, publisher: AsyncPublisher, duration_s: float | None) -> None:
        arrivals = Arrivals(self._rate, self._seed)
        began = time.monotonic()
        while not self._stop.is_set():
            now_s = time.monotonic() - began
            if duration_s is not None and now_s >= duration_s:
                return
            arrived, backfilled = arrivals.until(now_s)
            for _ in range(arrived):
                await self._send(publisher)
            if backfilled:
                self._say(f"rush hour: {backfilled:,} requests at once, then {RUSH_TIMES:g} times as many as usual")
                await self._backfill(publisher, backfilled)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), TICK_S)

    async def _send(self, publisher: AsyncPublisher) -> None:
        [name] = self._random.choices([name for name, _ in MIX], [share for _, share in MIX])
        dataset = self._datasets[name]
        index = self._random.randrange(len(dataset.held_out_x))
        row = dataset.held_out_x[index : index + 1].astype("<f4")
        if self._random.random() < BUG_SHARE:
            row = row[:, 1:]
        self.report.requests += 1
        labelled = len(self._labelling) < LABELLED
        prediction = await publisher.submit(name, row, label=labelled)
        if labelled:
            truth = dataset.held_out_y[index].item()
            follow = asyncio.create_task(self._label(publisher, prediction, truth))
            self._labelling.add(follow)
            follow.add_done_callback(self._labelling.discard)

    async def _label(self, publisher: AsyncPublisher, prediction: Any, truth: float) -> None:
        try:
            result = await prediction.result(timeout_s=30)
        except PredictionError as error:
            if error.retryable:
                self.report.unanswered += 1
            else:
                self.report.rejected += 1
            return
        self.report.answered += 1
        await asyncio.sleep(self._random.uniform(*LABEL_DELAY_S))
        await publisher.label(result.handle, [truth])
        self.report.labels += 1

    async def _backfill(self, publisher: AsyncPublisher, count: int) -> None:
        """Many requests that nobody waits for, as a nightly export would send them."""
        rows = self._datasets["digits"].held_out_x.astype("<f4")
        for start in range(0, count, 500):
            now = time.time()
            events = [
                PredictionRequested(id=new_id(), time=now, model="digits", inputs=pack(rows[i % len(rows)][None]))
                for i in range(start, min(start + 500, count))
            ]
            await publisher.publish(REQUESTS, events)
            self.report.backfilled += len(events)
            if self._stop.is_set():
                return

    # trainings

    async def _train(self, publisher: AsyncPublisher) -> None:
        for candidates in rounds(self._seed):
            with Publisher(self._settings) as runs:
                trainers = await asyncio.gather(*(self._learn(candidate, runs) for candidate in candidates))
            self.report.runs += len(trainers)
            best = max(trainers, key=lambda trainer: trainer.epochs[-1].val_accuracy)
            await self._promote(publisher, best)
            await asyncio.sleep(3.0)

    async def _learn(self, candidate: Candidate, publisher: Publisher) -> Trainer:
        trainer = Trainer(self._datasets["digits"], candidate)
        pace_s = ROUND_S / candidate.epochs * self._random.uniform(0.8, 1.2)
        params = {
            "algorithm": candidate.algorithm,
            "solver": candidate.solver,
            "learning_rate": candidate.learning_rate,
            "seed": candidate.seed,
        }
        with Run(candidate.name, params=params, total_steps=candidate.epochs, publisher=publisher) as run:
            epochs = iter(trainer)
            while (epoch := await asyncio.to_thread(next, epochs, None)) is not None:
                run.log(
                    step=epoch.number,
                    train_loss=epoch.train_loss,
                    val_loss=epoch.val_loss,
                    val_accuracy=epoch.val_accuracy,
                )
                await asyncio.sleep(pace_s)
        return trainer

    async def _promote(self, publisher: AsyncPublisher, best: Trainer) -> None:
        """Put the best of a round into service if it is better on rows that neither has seen."""
        trained = await asyncio.to_thread(best.trained)
        accuracy = trained.card.metrics["accuracy"]
        serving = self._registry.champion("digits").metrics.get("accuracy", 0.0)
        if accuracy <= serving:
            self._say(f"{best.candidate.name}: accuracy {accuracy:.3f}; what is in service has {serving:.3f} and stays")
            return
        try:
            saved = await asyncio.to_thread(self._registry.save, trained.estimator, trained.card)
            promotion = await asyncio.to_thread(self._registry.promote, "digits", saved.version)
        except ModelError as error:
            self._say(f"not promoted: {error}")
            return
        event = ModelPromoted(
            model="digits",
            version=saved.version,
            sha256=saved.sha256,
            previous=promotion.previous or 0,
            reason=f"accuracy {accuracy:.3f} on held-out rows, before {serving:.3f}",
        )
        await publisher.publish(MODELS, [event])
        self.report.promoted.append(f"digits@{saved.version}")
        self._say(f"digits@{saved.version} is in service: {best.candidate.name}, accuracy {accuracy:.3f}")


def rounds(seed: int) -> Iterator[list[Candidate]]:
    """Candidates to train side by side, round after round, each with a seed of its own."""
    chosen = random.Random(seed)
    number = 0
    while True:
        number += 1
        for_round = chosen.sample(CANDIDATES, SIDE_BY_SIDE) if number > 1 else CANDIDATES[-SIDE_BY_SIDE:]
        yield [
            msgspec.structs.replace(candidate, seed=1000 * number + place, name=f"{candidate.name} {number}")
            for place, candidate in enumerate(for_round)
        ]


async def run_traffic(
    settings: Settings,
    *,
    rate: float,
    stop: asyncio.Event,
    duration_s: float | None = None,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> Report:
    """Send the demo's traffic until `stop` is set or `duration_s` is over. Raises HeadraceError if it cannot go on."""
    return await Traffic(settings, rate=rate, seed=seed, say=say).run(stop, duration_s)
