"""From the batch of a scorer and the alert of anybody to the frame, and to the webhook."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np

from headrace.arrays import pack
from headrace.bus import Bus
from headrace.channels import ALERTS, FRAMES, REQUESTS, WORKERS
from headrace.codec import decode
from headrace.events import Alert, BatchSample, Frame, PredictionRequested, WorkerAlive, new_id
from headrace.models.registry import Registry
from headrace.models.training import train
from headrace.subscriber.aggregation.aggregator import run_aggregator
from headrace.subscriber.scoring.scorer import Scorer
from headrace.subscriber.scoring.shelf import Shelf
from tests.unit.test_webhook import receiver


async def newest_frame(bus: Bus) -> Frame:
    [entry] = await bus.read(FRAMES, count=1, newest_first=True)
    frame = decode(entry.payload)
    assert isinstance(frame, Frame)
    return frame


async def test_a_scorer_says_why_it_released_its_batches(bus: Bus, tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    trained = train("digits")
    registry.promote("digits", registry.save(trained.estimator, trained.card).version)
    row = pack(np.zeros((1, 64), "<f4"))
    await bus.publish(REQUESTS, [PredictionRequested(id=new_id(), model="digits", inputs=row) for _ in range(600)])
    made = Scorer(bus, Shelf(registry), "one")
    await made.run(asyncio.Event(), burst=True)
    samples = list(made._read().batch_samples)
    for entry in await bus.read(WORKERS):
        event = decode(entry.payload)
        samples += event.batch_samples if isinstance(event, WorkerAlive) else []
    assert sorted((sample.size, sample.reason) for sample in samples) == [
        (88, "all that waited"),
        (512, "entries bound"),
    ]
    assert all(sample.wait_ms > 0 and sample.model_ms > 0 for sample in samples)


async def test_batches_and_capacity_are_in_the_frame(bus: Bus) -> None:
    sample = BatchSample(5.0, 7, 1.5, 0.2, "retry")
    await bus.publish(WORKERS, [WorkerAlive(worker="w", kind="scorer", batch_samples=[sample])])
    async with bus.consume(REQUESTS, "scorers", worker="w"):
        await bus.publish(REQUESTS, [PredictionRequested(model="m", inputs=[[1.0]]) for _ in range(3)])
        await run_aggregator(bus.settings, bus, stop=asyncio.Event(), burst=True)
    frame = await newest_frame(bus)
    assert frame.batches == {"w": [sample]}
    [requests] = [channel for channel in frame.channels if channel.name == REQUESTS]
    assert (requests.needed, requests.limit, requests.full_s) == (3, bus.settings.depth_limit, None)


async def test_alerts_of_anybody_reach_the_webhook_once(bus: Bus) -> None:
    with receiver() as there:
        settings = bus.settings.with_(alert_webhook=there.url + "secret")
        await bus.publish(ALERTS, [Alert(source="backup", name="disk full", subject="db", state="raised", text="t")])
        for _ in range(2):
            await run_aggregator(settings, bus, stop=asyncio.Event(), burst=True)
    assert [(one["name"], one["state"], one["prefix"]) for one in there.got] == [
        ("disk full", "raised", bus.settings.prefix)
    ]
    frame = await newest_frame(bus)
    assert frame.webhook is not None
    assert "secret" not in frame.webhook.place
    assert [alert.name for alert in frame.alerts] == ["disk full"]
