"""The pure parts of a stress run: when requests are sent, where the knee is, what limited, and what became of each."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from itertools import islice, pairwise

import pytest
from msgspec.structs import replace

from headrace.bus import Bus
from headrace.channels import REQUESTS, RESULTS, SCORERS
from headrace.events import Matrix, PredictionRequested, PredictionScored
from headrace.publisher.stress import ARRIVALS, Books, Plan, Ramp, Report, stress
from headrace.publisher.stress.recount import recount
from headrace.publisher.stress.report import Latencies, Shares, entries, limit, text
from headrace.publisher.stress.schedule import Times, until

TARGET_MS = 50.0


def times(arrivals: str, rate: float, count: int, seed: int = 0) -> list[float]:
    made: Callable[[float, int], Times] = ARRIVALS[arrivals]
    return list(islice(made(rate, seed), count))


# When


@pytest.mark.parametrize("arrivals", ARRIVALS)
@pytest.mark.parametrize("rate", [0.5, 3.0, 100.0, 12_345.6])
def test_every_schedule_keeps_its_rate_and_its_order(arrivals: str, rate: float) -> None:
    seconds = math.ceil(10_000 / rate)
    found = list(until(ARRIVALS[arrivals](rate, 0), seconds))
    assert found == sorted(found)
    assert found[0] >= 0
    assert len(found) / seconds == pytest.approx(rate, rel=0.05)
    assert found == times(arrivals, rate, len(found))


def test_poisson_gaps_are_random_with_the_right_spread() -> None:
    found = times("poisson", 10.0, 20_000, seed=1)
    gaps = [b - a for a, b in pairwise(found)]
    mean = sum(gaps) / len(gaps)
    assert sum((gap - mean) ** 2 for gap in gaps) / len(gaps) == pytest.approx(mean**2, rel=0.1)
    assert found != times("poisson", 10.0, 20_000, seed=2)


def test_uniform_gaps_are_equal() -> None:
    assert times("uniform", 4.0, 5) == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_bursts_come_at_the_beginning_of_each_second() -> None:
    assert times("bursts", 3.0, 7) == [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 2.0]
    assert times("bursts", 0.5, 3) == [1.0, 3.0, 5.0]


def test_a_schedule_ends_before_its_end() -> None:
    assert list(until(iter([0.0, 0.5, 1.0, 1.5]), 1.0)) == [0.0, 0.5]
    assert list(until(iter([2.0]), 1.0)) == []


# Where the knee is


def knee_of(capacity: float, first: float) -> tuple[float | None, list[float]]:
    ramp, tried = Ramp(first), list[float]()
    while ramp.rate is not None:
        tried.append(ramp.rate)
        assert len(tried) < 100
        ramp.tell(ramp.rate <= capacity)
    return ramp.knee, tried


@pytest.mark.parametrize("capacity", [150.0, 1_000.0, 33_333.0])
def test_the_knee_is_found_from_below(capacity: float) -> None:
    knee, tried = knee_of(capacity, 100.0)
    assert knee is not None
    assert 0.9 * capacity <= knee <= capacity
    assert len(set(tried)) == len(tried)


def test_a_first_rate_that_is_too_high_is_halved() -> None:
    knee, tried = knee_of(30.0, 100.0)
    assert knee == 25.0
    assert tried[:3] == [100.0, 50.0, 25.0]


def test_without_any_rate_that_holds_there_is_no_knee() -> None:
    assert knee_of(0.001, 100.0)[0] is None


# What limited


def report(
    p99: float = 10.0, lag: float = 0.5, shares: Shares | None = None, answered: int = 1_000, not_sent: int = 0
) -> Report:
    return Report(
        offered=100.0,
        seconds=10.0,
        rows=1,
        arrivals="poisson",
        answered=answered / 10,
        latency_ms={"p50": p99 / 2, "p90": p99, "p99": p99, "p99.9": p99, "max": p99},
        lag_ms={"p50": lag, "p90": lag, "p99": lag, "p99.9": lag, "max": lag},
        shares=shares or Shares(scorers=[0.5], server=0.2, sender=0.1, machine=0.4),
        books=Books(sent=1_000, answered=answered, not_sent=not_sent),
    )


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (report(), ""),
        (report(p99=400, shares=Shares([0.99, 0.9], 0.5, 0.1, 0.8)), "the scorers: the least busy of 2 worked 90%"),
        (report(p99=400, shares=Shares([0.99, 0.3], 0.97, 0.1, 0.8)), "the server: it took 97% of a core"),
        (report(p99=400, shares=Shares([0.6], 0.5, 0.4, 0.99)), "the machine: all its cores together were 99%"),
        (report(p99=400, lag=390, shares=Shares([0.99], 0.9, 1.0, 1.0)), "this sender: it was up to 390 ms late"),
        (report(lag=40), "this sender: it was up to 40 ms late"),
        (report(p99=0, answered=0, shares=Shares()), "nobody scores"),
        (report(p99=60), "unknown: neither scorers, server nor this sender"),
        (report(answered=500, not_sent=500), "room in the log"),
    ],
)
def test_what_limited_is_said(found: Report, said: str) -> None:
    assert limit(found, TARGET_MS).startswith(said)
    assert bool(limit(found, TARGET_MS)) == bool(said)


def test_a_rate_is_held_if_the_answers_come_and_come_in_time() -> None:
    assert report().held(TARGET_MS)
    assert not report(p99=51).held(TARGET_MS)
    assert not report(answered=900).held(TARGET_MS)
    assert not report(answered=0).held(TARGET_MS)


def test_the_report_names_the_numbers_and_the_books() -> None:
    found = report(p99=1_234.0)
    shown = text(replace(found, limit="the scorers: all of them"), TARGET_MS)
    for part in ("p99 1,234 ms", "scorers 50%", "server 20%", "1,000 answered", "0 lost", "the scorers: all of them"):
        assert part in shown


@pytest.mark.parametrize(
    ("books", "balanced"),
    [(Books(sent=5, answered=5), True), (Books(sent=5, answered=4, lost=1), False), (Books(doubled=1), False)],
)
def test_the_books_balance_unless_something_is_lost_or_doubled(books: Books, balanced: bool) -> None:
    assert books.balanced is balanced
    assert f"{books.lost} lost" in entries(books)


def test_latencies_are_known_to_a_few_per_cent_however_many_there_are() -> None:
    found = Latencies()
    for n in range(1, 10_001):
        found.add(n / 10_000)
    assert found.ms()["p50"] == pytest.approx(500, rel=0.05)
    assert found.ms()["p99.9"] == pytest.approx(999, rel=0.05)
    assert found.ms()["max"] == 1000
    assert len(found.counts) < 200


# What became of each


def scored(ids: list[str]) -> PredictionScored:
    positions = " ".join(f"1-{n + 1}" for n in range(len(ids)))
    return PredictionScored(model="digits", version=1, positions=positions, ids=ids, labels=[0] * len(ids))


def asked(*ids: str) -> list[PredictionRequested]:
    return [PredictionRequested(id=one, model="digits", inputs=Matrix("<f4", (1, 1), bytes(4))) for one in ids]


async def test_the_logs_tell_what_was_decided_doubled_and_still_waits(bus: Bus) -> None:
    await bus.publish(REQUESTS, asked("run.0", "run.1", "other.1"))
    async with bus.consume(REQUESTS, SCORERS, worker="one") as consumer:
        batch = await consumer.next()
        assert batch is not None
        await consumer.finish(consumer.commit(batch))
    await bus.publish(REQUESTS, asked("run.2", "other.2", "run.3"))
    await bus.publish(RESULTS, [scored(["run.0", "run.1", "other.1"]), scored(["run.1"])])
    found = await recount(bus, "run", 0)
    assert found.decided == {0, 1}
    assert found.doubled == {1}
    assert found.waiting == {2, 3}


async def test_a_stage_without_scorers_says_so_and_loses_nothing(bus: Bus) -> None:
    plan = Plan("digits", 2, rate=200.0, duration_s=0.2, arrivals="uniform", patience_s=0.1)
    found = await stress(bus, plan, asyncio.Event())
    assert found.books.sent == 40
    assert found.books.waiting == 40
    assert found.books.balanced
    assert found.limit == "nobody scores: no scorer is alive with this prefix"


async def test_a_stage_ends_when_it_is_told_to(bus: Bus) -> None:
    stop = asyncio.Event()
    stop.set()
    found = await stress(bus, Plan("digits", 2, rate=1_000.0, duration_s=60.0), stop)
    assert found.books.sent == 0
