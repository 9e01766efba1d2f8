"""The demo's traffic: arrivals at the rate asked for, rush hours on time, and rounds of trainings that differ."""

from __future__ import annotations

import asyncio
from itertools import islice
from pathlib import Path

import pytest

from headrace.bus import Bus
from headrace.channels import MODELS, REQUESTS, RUNS
from headrace.codec import decode
from headrace.events import PredictionRequested, RunMetrics, RunStarted
from headrace.publisher.traffic import (
    BACKFILL_TIMES,
    FIRST_RUSH_S,
    RUSH_EVERY_S,
    RUSH_S,
    RUSH_TIMES,
    SIDE_BY_SIDE,
    Arrivals,
    Traffic,
    rounds,
)
from headrace.settings import Settings


def played(rate: float, until_s: float, seed: int = 1) -> list[tuple[float, int, int]]:
    arrivals = Arrivals(rate, seed)
    times = [i / 50 for i in range(1, int(until_s * 50) + 1)]
    return [(at_s, *arrivals.until(at_s)) for at_s in times]


def test_requests_arrive_at_the_mean_rate_and_not_evenly() -> None:
    counts = [arrived for at_s, arrived, _ in played(200, FIRST_RUSH_S) if at_s < FIRST_RUSH_S]
    assert sum(counts) == pytest.approx(200 * FIRST_RUSH_S, rel=0.05)
    assert len(set(counts)) > 5


def test_a_rush_hour_brings_more_and_begins_with_one_backfill() -> None:
    steps = played(100, FIRST_RUSH_S + 2 * RUSH_EVERY_S - 1)
    backfills = [(at_s, count) for at_s, _, count in steps if count]
    assert [at_s for at_s, _ in backfills] == pytest.approx([FIRST_RUSH_S, FIRST_RUSH_S + RUSH_EVERY_S], abs=0.05)
    assert [count for _, count in backfills] == [100 * BACKFILL_TIMES] * 2
    rush = sum(arrived for at_s, arrived, _ in steps if 0 <= at_s - FIRST_RUSH_S < RUSH_S)
    assert rush == pytest.approx(100 * RUSH_TIMES * RUSH_S, rel=0.1)


def test_the_same_seed_sends_the_same() -> None:
    assert played(50, 60, seed=3) == played(50, 60, seed=3)
    assert played(50, 60, seed=3) != played(50, 60, seed=4)


def test_each_round_trains_other_candidates_with_names_of_their_own() -> None:
    first, second = islice(rounds(0), 2)
    assert len(first) == len(second) == SIDE_BY_SIDE
    names = [candidate.name for candidate in first + second]
    assert len(set(names)) == len(names)
    assert len({candidate.learning_rate for candidate in first}) > 1
    assert list(islice(rounds(0), 2)) == [first, second]


async def test_everything_it_says_it_sent_is_in_the_logs(headrace_bus: Bus, tmp_path: Path) -> None:
    settings: Settings = headrace_bus.settings.with_(models=tmp_path)
    traffic = Traffic(settings, rate=200)
    report = await traffic.run(asyncio.Event(), duration_s=1.0)
    requests = [decode(entry.payload) for entry in await headrace_bus.read(REQUESTS, count=10_000)]
    assert len(requests) > 50
    assert report.requests == len(requests)
    assert {event.model for event in requests if isinstance(event, PredictionRequested)} >= {"digits", "breast_cancer"}
    runs = [decode(entry.payload) for entry in await headrace_bus.read(RUNS, count=10_000)]
    assert sum(isinstance(event, RunStarted) for event in runs) == SIDE_BY_SIDE
    assert any(isinstance(event, RunMetrics) for event in runs)
    assert await headrace_bus.read(MODELS) == []
