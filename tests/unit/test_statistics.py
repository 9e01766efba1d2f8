"""Rates slide without a sawtooth, totals equal a recount, and running sums are what re-summing would give."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import CodecError
from headrace.histogram import bucket, percentile
from headrace.subscriber.aggregation.statistics import Statistics, Totals, summed

KEPT_S = 3600


class Server:
    """Counters by second, as the server keeps them."""

    def __init__(self) -> None:
        self.seconds: dict[int, dict[str, int]] = {}

    def count(self, at: float, name: str, n: int = 1) -> None:
        second = self.seconds.setdefault(int(at), {})
        second[name] = second.get(name, 0) + n

    def show(self, statistics: Statistics, now: float) -> None:
        wanted = statistics.wanted(now, KEPT_S)
        statistics.take(now, {second: dict(self.seconds.get(second, {})) for second in wanted})


def steady(rate: int, frames: list[float], begin: float = 0.0) -> list[float]:
    """The 5 s rates seen at `frames` while `rate` events a second come evenly."""
    server, statistics = Server(), Statistics(Totals(through=0))
    seen: list[float] = []
    times = [begin + (n + 0.5) / rate for n in range(int((frames[-1] - begin) * rate))]
    at = 0
    for now in frames:
        while at < len(times) and times[at] < now:
            server.count(times[at], "pub:requests")
            at += 1
        server.show(statistics, now)
        seen.append(statistics.rate("pub:requests").s5)
    return seen


def test_a_steady_flow_gives_a_steady_rate_at_every_moment_of_a_second() -> None:
    frames = [1000.0 + n * 0.0437 for n in range(1000)]
    seen = steady(200, frames, begin=1000.0)
    settled = [rate for now, rate in zip(frames, seen, strict=True) if now > 1006.0]
    assert min(settled) >= 198.0
    assert max(settled) <= 202.0


def test_the_rate_does_not_drop_at_the_border_of_a_second() -> None:
    seen = steady(
        100, [1000 + n * 0.25 for n in range(24)] + [1006.0, 1006.01, 1006.06, 1006.99, 1007.0, 1007.01], 1000.0
    )
    assert all(rate == pytest.approx(100.0, abs=1.5) for rate in seen[-6:])


def test_a_rate_follows_at_once_and_not_with_the_next_second() -> None:
    server, statistics = Server(), Statistics(Totals(through=0))
    server.show(statistics, 1000.25)
    server.count(1000.3, "pub:requests", 50)
    server.show(statistics, 1000.5)
    assert statistics.rate("pub:requests").s5 == pytest.approx(10.0)


def test_a_rate_is_zero_once_its_window_has_passed() -> None:
    server, statistics = Server(), Statistics(Totals(through=0))
    server.count(1000.5, "pub:requests", 300)
    for tick in range(4 * 310):
        server.show(statistics, 1000.75 + tick / 4)
        rate = statistics.rate("pub:requests")
        age = tick / 4 + 0.25
        assert (rate.s5 > 0, rate.s30 > 0, rate.m5 > 0) == (age < 5.5, age < 30.5, age < 300.5), age
    assert statistics.published() == set()


@settings(deadline=None, max_examples=30)
@given(st.randoms(), st.floats(0.05, 3.0))
def test_running_sums_are_what_adding_up_the_window_gives(chance: random.Random, step_s: float) -> None:
    server, statistics = Server(), Statistics(Totals(through=0))
    now = 5000.0
    for _ in range(150):
        now += step_s * chance.random()
        for _ in range(chance.randrange(4)):
            server.count(now, chance.choice(["pub:a", "pub:b"]), chance.randrange(1, 9))
        server.show(statistics, now)
    second, share = int(now), now - int(now)
    for name in ("pub:a", "pub:b"):
        by_second = {s: counters.get(name, 0) for s, counters in server.seconds.items()}
        for window, rate in zip(
            (5, 30, 300), (statistics.rate(name).s5, statistics.rate(name).s30, statistics.rate(name).m5), strict=True
        ):
            whole = sum(by_second.get(s, 0) for s in range(second - window + 1, second + 1))
            edge = (1 - share) * by_second.get(second - window, 0)
            assert rate == pytest.approx((whole + edge) / window)


@settings(deadline=None, max_examples=30)
@given(st.randoms())
def test_totals_equal_a_recount_through_restarts_and_stalls(chance: random.Random) -> None:
    server, statistics = Server(), Statistics()
    now = 50_000.0
    for _ in range(100):
        now += chance.choice([0.01, 0.25, 0.25, 0.9, 7.0])
        server.count(now, "row:digits:3", chance.randrange(5))
        server.count(now, "req:digits:3")
        server.show(statistics, now)
        if chance.random() < 0.1:
            statistics = Statistics(Totals.decode(statistics.save().encode()))
    server.show(statistics, now)
    for name in ("req:digits:3", "row:digits:3"):
        assert statistics.total(name) == sum(counters.get(name, 0) for counters in server.seconds.values())


def test_seconds_that_were_gone_before_anybody_counted_them_are_said_once() -> None:
    server = Server()
    for at in range(1_000, 20_000):
        server.count(at, "req:m:1")
    before = Statistics(Totals(through=999))
    server.show(before, 2_000.9)
    found = Statistics(Totals.decode(before.save().encode()))
    assert found.missed_s == 0
    through = found.save().through
    for now in (10_000.9, 10_001.9):
        server.show(found, now)
    assert found.missed_at == 10_000 - KEPT_S
    assert found.missed_s == found.missed_at - through - 1
    assert found.total("req:m:1") + found.missed_s == 10_002 - 1_000
    after = Statistics(Totals.decode(found.save().encode()))
    server.show(after, 10_002.9)
    assert after.missed_s == found.missed_s


def test_a_stalled_leader_says_what_it_missed_too() -> None:
    server, statistics = Server(), Statistics(Totals(through=999))
    server.show(statistics, 1_000.0)
    server.show(statistics, 1_010.0)
    server.show(statistics, 10_000.0)
    assert statistics.missed_s == 10_000 - KEPT_S - 1 - 1_008


def test_a_second_that_is_counted_in_after_it_was_read_is_read_again() -> None:
    server, statistics = Server(), Statistics(Totals(through=0))
    server.count(1000.9, "req:m:1")
    server.show(statistics, 1000.95)
    server.count(1000.99, "req:m:1")
    server.show(statistics, 1001.2)
    server.show(statistics, 1003.0)
    assert statistics.total("req:m:1") == 2


def test_a_clock_that_goes_back_harms_nothing() -> None:
    server, statistics = Server(), Statistics(Totals(through=0))
    for now in (1000.5, 1001.5, 1000.2, 999.0, 1002.5):
        server.count(1001.0, "req:m:1")
        server.show(statistics, now)
        assert statistics.rate("req:m:1").s5 >= 0
    assert statistics.total("req:m:1") >= 2


def test_a_new_leader_shows_the_same_rates_after_reading_five_minutes() -> None:
    server, old = Server(), Statistics(Totals(through=999))
    for tick in range(1200):
        now = 1000 + tick / 4
        server.count(now, "pub:requests", 5)
        server.show(old, now)
    new = Statistics(Totals.decode(old.save().encode()))
    server.show(new, 1299.75)
    assert new.rate("pub:requests") == old.rate("pub:requests")
    assert new.rate("pub:requests").m5 == pytest.approx(20.0, rel=0.01)


def test_latency_percentiles_come_from_the_last_thirty_seconds() -> None:
    server, statistics = Server(), Statistics(Totals(through=0))
    server.count(1000.0, f"lat:total:{bucket(900_000.0)}", 1000)
    for second in range(1035, 1045):
        server.count(second, f"lat:total:{bucket(2_000.0)}", 90)
        server.count(second, f"lat:digits:3:{bucket(5_000.0)}", 10)
    for now in range(1000, 1046):
        server.show(statistics, now + 0.5)
    view = statistics.latency("total")
    assert (view.count, view.p50_ms) == (900, percentile({bucket(2_000.0): 1}, 0.5))
    model = statistics.latency("total", "lat:digits:3")
    assert model.count == 100
    assert model.p99_ms == pytest.approx(5.0, rel=0.05)
    assert statistics.latency("wait").count == 0


def test_class_mix_and_confidence_cover_five_minutes_by_model_version() -> None:
    server, statistics = Server(), Statistics(Totals(through=0))
    server.count(1000.5, "req:digits:3", 7)
    server.count(1000.5, "cls:digits:3:0", 4)
    server.count(1100.5, "cls:digits:3:9", 3)
    server.count(1100.5, "conf:digits:3:19", 7)
    for now in range(1000, 1111):
        server.show(statistics, now + 0.9)
    assert statistics.classes("digits", 3) == [4, 0, 0, 0, 0, 0, 0, 0, 0, 3]
    assert statistics.confidence("digits", 3) == [0] * 19 + [7]
    assert statistics.confidence("digits", 2) == []
    assert statistics.models() == {("digits", 3)}


def test_what_is_no_longer_counted_is_forgotten() -> None:
    server, statistics = Server(), Statistics(Totals(through=0))
    for version in range(50):
        server.count(1000.0 + version, f"req:m:{version}")
        server.count(1000.0 + version, f"lat:m:{version}:7")
    for now in range(1000, 1400):
        server.show(statistics, now + 0.5)
    assert statistics.models() == set()
    assert statistics._places == {}
    assert statistics._known == {}


def test_partitions_add_up() -> None:
    assert summed([{"a": 1, "b": 2}, {"b": 3}, {}]) == {"a": 1, "b": 5}


def test_saved_totals_that_are_broken_are_named() -> None:
    with pytest.raises(CodecError, match="saved totals"):
        Totals.decode(b"\x00")
