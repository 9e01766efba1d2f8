"""Clocks compared with the server's: estimated by who makes stamps, told rarely, corrected where stamps are shown."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.bus import Bus
from headrace.channels import WORKERS
from headrace.clocks import AGREES, EVERY_S, FIRST, Estimate, ServerClock
from headrace.codec import decode
from headrace.dashboard.stamps import stamps
from headrace.events import ClockView, PredictionSampled, PublisherReport, WorkerAlive, WorkerView
from headrace.heartbeat import Heartbeat
from headrace.positions import Entry
from headrace.publisher.buffer import Buffer
from headrace.settings import Settings
from headrace.subscriber.aggregation.clocks import HOSTS, RENEWED_S, SOURCES
from headrace.subscriber.aggregation.workers import Workers
from headrace.testing import wait_until
from tests.unit.frames import frame


@given(offset_s=st.floats(-5, 5), out_s=st.floats(0, 0.3), back_s=st.floats(0, 0.3), now_s=st.floats(1.7e9, 1.8e9))
def test_the_true_offset_is_never_outside_of_what_is_claimed(
    offset_s: float, out_s: float, back_s: float, now_s: float
) -> None:
    clock = ServerClock()
    clock.take(now_s, now_s + out_s + offset_s, out_s + back_s)
    assert clock.estimate is not None
    assert abs(clock.estimate.offset_s - offset_s) <= clock.estimate.error_s + 1e-6


def test_the_quickest_trip_says_it_best() -> None:
    clock = ServerClock()
    assert clock.estimate is None
    for trip_s in (0.2, 0.002, 0.05):
        clock.take(100.0, 107.0 + trip_s / 2, trip_s)
    assert clock.estimate == pytest.approx((7.0, 0.001))


def test_it_is_asked_a_few_times_at_first_and_then_once_a_minute() -> None:
    clock = ServerClock()
    asked = [now_s for now_s in range(200) if clock.due(float(now_s))]
    assert len(asked) == FIRST + 3
    assert [later - earlier for earlier, later in zip(asked[FIRST - 1 :], asked[FIRST:], strict=False)] == [EVERY_S] * 3


def test_no_answer_is_no_trouble_and_no_estimate() -> None:
    def silent() -> float:
        raise ConnectionError("gone")

    clock = ServerClock()
    clock.ask(0.0, silent)
    assert clock.estimate is None


def test_a_publisher_whose_clock_agrees_says_nothing_and_one_that_differs_says_it_once() -> None:
    buffer = Buffer(Settings())
    buffer.clock.take(1000.0, 1000.002, 0.004)
    assert buffer.report(10.0) is None
    buffer.clock.take(1000.0, 1003.0005, 0.001)
    report = buffer.report(20.0)
    assert report is not None
    assert b"clock_offset_s" in report.payload
    assert buffer.report(30.0) is None
    assert not Estimate(0.0015, 0.001).differs(AGREES)


def alive(worker: str, host: str, offset_s: float | None, error_s: float) -> WorkerAlive:
    return WorkerAlive(worker=worker, kind="scorer", host=host, clock_offset_s=offset_s, clock_error_s=error_s)


def test_of_each_host_the_surest_clock_counts_until_it_is_old_and_the_next_leader_knows_it() -> None:
    workers = Workers()
    workers.fold(alive("a", "one", 0.5, 0.01), 1.0)
    workers.fold(alive("b", "one", 0.52, 0.03), 2.0)
    workers.fold(alive("c", "two", None, 0.0), 2.0)
    workers.fold(PublisherReport(producer="p", host="three", clock_offset_s=-2.0, clock_error_s=0.001), 3.0)
    wanted = {"one": ClockView(offset_s=0.5, error_s=0.01), "three": ClockView(offset_s=-2.0, error_s=0.001)}
    assert workers.clocks() == wanted
    saves, _ = workers.take_changes()
    assert Workers.load(saves).clocks() == wanted
    workers.fold(alive("b", "one", 0.52, 0.03), 1.0 + RENEWED_S)
    assert workers.clocks()["one"] == ClockView(offset_s=0.52, error_s=0.03)
    workers.fold(alive("b", "one", 0.52, 0.03), 2.0 + RENEWED_S)
    assert list(workers.take_changes()[0]) == ["clock:one", "living:b"]


def test_clocks_of_hosts_are_bounded() -> None:
    workers = Workers()
    for n in range(HOSTS + 5):
        workers.fold(alive(f"w{n}", f"host{n}", 0.1, 0.01), float(n))
    assert list(workers.clocks()) == [f"host{n}" for n in range(5, HOSTS + 5)]


def report(source: str, host: str, offset_s: float, error_s: float) -> PublisherReport:
    return PublisherReport(
        producer=f"{source}/{host}", source=source, host=host, clock_offset_s=offset_s, clock_error_s=error_s
    )


def test_a_publisher_with_a_name_of_its_own_is_known_by_the_hosts_it_came_from() -> None:
    workers = Workers()
    workers.fold(report("trainer", "one", 3.0, 0.001), 1.0)
    workers.fold(report("two:77", "two", 5.0, 0.002), 1.0)
    assert workers.clocks() == {
        "one": ClockView(offset_s=3.0, error_s=0.001),
        "two": ClockView(offset_s=5.0, error_s=0.002),
        "trainer": ClockView(offset_s=3.0, error_s=0.001),
    }
    workers.fold(report("trainer", "two", 5.0, 0.002), 2.0)
    between = workers.clocks()["trainer"]
    assert (between.offset_s - between.error_s, between.offset_s + between.error_s) == pytest.approx((2.999, 5.002))
    saves, _ = workers.take_changes()
    assert Workers.load(saves).clocks() == workers.clocks()
    workers.fold(report("one", "two", 5.0, 0.002), 3.0)
    assert workers.clocks()["one"].offset_s == 3.0, "a host is not taken for a source of its name"


def test_named_sources_are_bounded() -> None:
    workers = Workers()
    for n in range(SOURCES + 5):
        workers.fold(report(f"trainer-{n}", "one", 0.1, 0.01), float(n))
    assert sorted(workers.clocks()) == sorted(["one", *(f"trainer-{n}" for n in range(5, SOURCES + 5))])
    saves, drops = workers.take_changes()
    assert set(Workers.load({name: payload for name, payload in saves.items() if name not in drops}).clocks()) == set(
        workers.clocks()
    )


def test_stamps_are_brought_to_the_servers_clock() -> None:
    event = PredictionSampled(
        model="m",
        version=1,
        prediction="0-1-1",
        request="q",
        inputs=[],
        created=100.0,
        received=90.0,
        scored=90.5,
        worker="scorer-1",
        publisher="laptop:77",
    )
    told = frame(
        workers=[WorkerView(worker="scorer-1", kind="scorer", host="box")],
        clocks={"laptop": ClockView(offset_s=-3.0, error_s=0.002), "box": ClockView(offset_s=10.0, error_s=0.004)},
    )
    assert stamps(event, told) == (97.0, 100.0, 100.5, 0.004)
    assert stamps(event, frame()) == (100.0, 90.0, 90.5, 0.0)
    named = msgspec.structs.replace(event, publisher="trainer")
    assert stamps(named, told).created == 100.0
    known = msgspec.structs.replace(told, clocks={**told.clocks, "trainer": ClockView(offset_s=-3.0, error_s=0.006)})
    assert (stamps(named, known).created, stamps(named, known).tolerance_s) == (97.0, 0.006)
    assert stamps(PredictionSampled(model="m", version=1, prediction="", request="", inputs=[]), told)[:3] == (0, 0, 0)


async def test_a_process_tells_how_its_clock_compares_with_its_signs_of_life(bus: Bus) -> None:
    async with Heartbeat(bus, "scorer"):

        async def told() -> list[Entry]:
            return await bus.read(WORKERS)

        await wait_until(told, 10)
    first = decode((await told())[0].payload)
    assert isinstance(first, WorkerAlive)
    assert first.clock_offset_s is not None
    assert abs(first.clock_offset_s) <= first.clock_error_s + 0.001  # it is the same clock
