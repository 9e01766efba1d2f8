"""An outbox against a model of the server that loses replies, fills up, and forgets its last second in power cuts."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.bus.scripts import Accepted, Places, PublishCall
from headrace.outbox import OVERHEAD_BYTES, Outbox
from headrace.positions import Position
from headrace.settings import Settings

SMALL = Settings(buffer_events=40, batch_events=5, resend_s=5.0, linger_ms=5)


class Server:
    """What publish.lua does to one partition, with a history to go back to."""

    def __init__(self) -> None:
        self.log: list[bytes] = []
        self.fences: dict[str, int] = {}
        self.room = 10**9
        self.history: list[tuple[list[bytes], dict[str, int]]] = []

    def publish(self, call: PublishCall) -> Accepted:
        held = self.fences.get(call.producer, 0)
        if call.first > held + 1:
            return Accepted("ahead", held, 0, "", Places())
        new = list(call.events)[held + 1 - call.first :]
        fitting = new[: max(0, self.room)]
        self.history.append((list(self.log), dict(self.fences)))
        begin = len(self.log)
        self.log += fitting
        self.room -= len(fitting)
        places = Places()
        places.add(range(held + 1, held + 1 + len(fitting)), Position(1, begin + len(fitting)))
        if fitting:
            self.fences[call.producer] = held + len(fitting)
        taken = held + len(fitting)
        return Accepted("ok" if len(fitting) == len(new) else "full", taken, len(fitting), "epoch", places)

    def power_cut(self, writes: int) -> None:
        """Forget the last writes, fences and all. What is left was read from the disk: no later cut takes it."""
        if writes and self.history:
            self.log, self.fences = self.history[max(0, len(self.history) - writes)]
        self.history = []


def counting(prefix: str = "p") -> Callable[[], str]:
    numbers = itertools.count()
    return lambda: f"{prefix}{next(numbers)}"


def outbox(limits: Settings = SMALL) -> Outbox:
    return Outbox("runs", 0, limits, new_producer=counting(), draw=lambda: 0.5)


def drain(box: Outbox, server: Server, now: float) -> float:
    """Let the outbox and a healthy server come to rest: nothing waits and the last answer is proven."""
    server.room = 10**9
    for _ in range(10_000):
        wake_at = box.wake_at()
        if wake_at is None:
            return now
        now = max(now, wake_at)
        call = box.next_batch(now)
        if call is not None:
            box.on_accepted(server.publish(call), now)
    raise AssertionError("the outbox never came to rest")


steps = st.lists(
    st.one_of(
        st.tuples(st.just("offer"), st.integers(1, 12)),
        st.tuples(st.just("send"), st.integers(1, 3)),
        st.tuples(st.just("lose reply"), st.integers(0, 1)),
        st.tuples(st.just("no connection"), st.integers(0, 1)),
        st.tuples(st.just("power cut"), st.integers(1, 4)),
        st.tuples(st.just("full"), st.integers(0, 7)),
        st.tuples(st.just("consumed"), st.integers(1, 50)),
        st.tuples(st.just("pass time"), st.integers(1, 2_000)),
    ),
    max_size=60,
)


@given(steps)
@settings(max_examples=300, deadline=None)
def test_the_log_is_what_was_accepted_in_order_and_once(plan: list[tuple[str, int]]) -> None:
    """All faults come within the reach of the kept part, so nothing may be missing either."""
    box, server, now, taken, made = outbox(SMALL.with_(resend_s=1e9)), Server(), 0.0, list[bytes](), itertools.count()
    for what, n in plan:
        match what:
            case "offer":
                for _ in range(n):
                    payload = f"e{next(made)}".encode()
                    if box.offer(payload, "run.metrics", now):
                        taken.append(payload)
            case "send" | "lose reply" | "no connection":
                for _ in range(max(1, n)):
                    now = max(now, min(box.wake_at() or now, now + 10))
                    call = box.next_batch(now)
                    if call is None:
                        break
                    following = box.upcoming() if n % 2 else None
                    assert following is None or following.first == call.first + len(call.events)
                    answer = server.publish(call) if what != "no connection" else None
                    if answer is None or what == "lose reply":
                        box.on_failed(now)
                    else:
                        box.on_accepted(answer, now)
            case "power cut":
                server.power_cut(n)
            case "full":
                server.room = n
            case "consumed":
                server.room += n
            case "pass time":
                now += n / 1000
    drain(box, server, now)
    assert server.log == taken
    assert box.accepted == len(taken)
    assert box.lost == 0
    assert not box.dropped


@given(steps)
@settings(max_examples=200, deadline=None)
def test_what_is_beyond_the_kept_part_is_counted_as_lost(plan: list[tuple[str, int]]) -> None:
    """With a short memory events may be lost, but never doubled or out of order, and the count is exact."""
    box, server, now, taken, made = outbox(SMALL.with_(resend_s=0.05)), Server(), 0.0, list[bytes](), itertools.count()
    for what, n in plan:
        match what:
            case "offer":
                for _ in range(n):
                    payload = f"e{next(made)}".encode()
                    if box.offer(payload, "run.metrics", now):
                        taken.append(payload)
            case "power cut":
                server.power_cut(n)
                drain(box, server, now)  # found out before the next one, so that the count can be checked
            case "pass time":
                now += n / 1000
            case _:
                now = drain(box, server, now)
    drain(box, server, now)
    box.offer(b"last", "run.metrics", now := now + 1)
    taken.append(b"last")
    drain(box, server, now)
    assert len(set(server.log)) == len(server.log)
    assert server.log == [payload for payload in taken if payload in set(server.log)]
    assert len(taken) - len(server.log) == box.lost


def test_events_linger_until_the_time_or_a_full_batch_or_a_hurry() -> None:
    box = outbox()
    box.offer(b"a", "k", 1.0)
    assert box.next_batch(1.0) is None
    assert box.wake_at() == pytest.approx(1.005)
    call = box.next_batch(1.005)
    assert call is not None
    assert call.events == [b"a"]

    box = outbox()
    for _ in range(5):
        box.offer(b"a", "k", 1.0)
    assert box.next_batch(1.0) is not None

    box = outbox()
    box.offer(b"a", "k", 1.0)
    box.hurry(1.0)
    assert box.next_batch(1.0) is not None


def test_one_batch_is_under_way_at_a_time() -> None:
    box = outbox()
    for _ in range(20):
        box.offer(b"a", "k", 0.0)
    assert box.next_batch(0.0) is not None
    assert box.next_batch(0.0) is None
    assert box.wake_at() is None


def test_the_batch_that_follows_is_known_while_one_is_under_way() -> None:
    box, server = outbox(), Server()
    for n in range(13):
        assert box.offer(f"e{n}".encode(), "run.metrics", 0.0)
    assert box.upcoming() is None
    first = box.next_batch(0.0)
    following = box.upcoming()
    assert first is not None
    assert following is not None
    assert (following.first, list(following.events)) == (6, [b"e5", b"e6", b"e7", b"e8", b"e9"])
    box.on_accepted(server.publish(first), 0.0)
    assert box.next_batch(0.0) is following
    assert box.upcoming() is None  # three events are no full batch: more may join them


def test_a_failed_batch_goes_again_under_its_numbers_after_a_growing_delay() -> None:
    box, now, delays = outbox(), 1.0, []
    box.offer(b"a", "k", 0.0)
    first = box.next_batch(now)
    for _ in range(8):
        box.on_failed(now)
        assert box.next_batch(now) is None
        wake_at = box.wake_at()
        assert wake_at is not None
        delays.append(wake_at - now)
        now = wake_at
        assert box.next_batch(now) == first
    assert delays == sorted(delays)
    assert delays[0] < 0.06
    assert 1.0 <= delays[-1] <= 2.0


def test_a_full_channel_is_asked_again_at_a_slower_pace() -> None:
    box, server = outbox(), Server()
    for i in range(5):
        box.offer(b"%d" % i, "k", 0.0)
    server.room = 2
    call = box.next_batch(0.0)
    assert call is not None
    box.on_accepted(server.publish(call), 0.0)
    assert (box.accepted, box.waiting, box.refusals) == (2, 3, 1)
    assert box.next_batch(0.01) is None
    drain(box, server, 0.0)
    assert server.log == [b"0", b"1", b"2", b"3", b"4"]


def test_a_full_outbox_refuses_firm_events_and_drops_the_oldest_droppable_ones() -> None:
    box = outbox(SMALL.with_(buffer_events=3))
    box.offer(b"started", "run.started", 0.0)
    for i in range(5):
        assert box.offer(b"m%d" % i, "run.metrics", 0.0, droppable=True)
    assert box.dropped == {"run.metrics": 3}
    assert box.offer(b"finished", "run.finished", 0.0)
    assert box.dropped == {"run.metrics": 4}
    call = box.next_batch(1.0)
    assert call is not None
    assert call.events == [b"started", b"m4", b"finished"]
    assert not box.offer(b"one more", "run.finished", 0.0)
    assert not box.offer(b"m5", "run.metrics", 0.0, droppable=True)
    assert box.dropped == {"run.metrics": 5}


@given(st.lists(st.tuples(st.sampled_from(["one", "all", "firm", "send"]), st.integers(1, 9)), max_size=30))
@settings(max_examples=200, deadline=None)
def test_many_offered_at_once_are_as_each_by_itself(plan: list[tuple[str, int]]) -> None:
    together, single, made = outbox(), outbox(), itertools.count()
    for now, (how, n) in enumerate(plan):
        payloads = [b"e%d" % next(made) for _ in range(n)]
        if how == "all":
            together.offer_all(payloads, "run.metrics", now)
        for box in (together, single):
            if how == "send":
                call = box.next_batch(now)
                if call is not None:
                    box.on_accepted(Server().publish(call._replace(first=1, producer="other")), now)
            elif how != "all" or box is single:
                for payload in payloads:
                    box.offer(payload, "run.metrics", now, droppable=how != "firm")
    assert together.waiting == single.waiting
    assert together.dropped == single.dropped
    assert together.wake_at() == single.wake_at()
    assert together.take_back() == single.take_back()


def test_an_event_that_has_a_number_is_not_dropped() -> None:
    box, server = outbox(SMALL.with_(buffer_events=5)), Server()
    for i in range(5):
        box.offer(b"m%d" % i, "run.metrics", 0.0, droppable=True)
    call = box.next_batch(0.0)
    assert call is not None
    server.publish(call)
    box.on_failed(0.0)
    box.offer(b"new", "run.metrics", 0.0, droppable=True)
    assert box.dropped == {"run.metrics": 1}
    drain(box, server, 1.0)
    assert server.log == [b"m0", b"m1", b"m2", b"m3", b"m4"]


def test_bytes_are_bounded_but_a_single_large_event_always_fits() -> None:
    box = outbox(SMALL.with_(buffer_bytes=1_000))
    assert box.offer(b"x" * 5_000, "k", 0.0)
    assert not box.offer(b"x", "k", 0.0)
    box, taken = outbox(SMALL.with_(buffer_bytes=1_000)), 0
    while box.offer(b"x" * 100, "k", 0.0):
        taken += 1
    assert taken == 1_000 // (100 + OVERHEAD_BYTES)


def test_a_batch_is_bounded_in_bytes() -> None:
    box, server, sizes = outbox(), Server(), []
    for size in (700_000, 700_000, 2_000_000, 10):
        box.offer(b"x" * size, "k", 0.0)
    while (call := box.next_batch(1.0)) is not None:
        sizes.append([len(event) for event in call.events])
        box.on_accepted(server.publish(call), 1.0)
    assert sizes == [[700_000], [700_000], [2_000_000], [10]]


def test_what_a_batch_has_no_room_for_waits_where_it_was() -> None:
    box, server, sizes = outbox(), Server(), []
    for size, droppable in ((400_000, True), (400_000, False), (400_000, True), (1, False), (2, True)):
        assert box.offer(b"x" * size, "k", 0.0, droppable=droppable)
    while (call := box.next_batch(1.0)) is not None:
        sizes.append([len(event) for event in call.events])
        box.on_accepted(server.publish(call), 1.0)
    assert sizes == [[400_000, 400_000], [400_000, 1, 2]]


def test_tickets_come_back_with_positions_and_again_after_a_power_cut() -> None:
    box, server = outbox(), Server()
    box.offer(b"a", "k", 0.0, ticket="A")
    box.offer(b"b", "k", 0.0)
    box.offer(b"c", "k", 0.0, ticket="C")
    call = box.next_batch(1.0)
    assert call is not None
    assert box.on_accepted(server.publish(call), 1.0) == [("A", Position(1, 1)), ("C", Position(1, 3))]
    server.power_cut(1)
    server.publish(PublishCall("runs", 0, "other", 1, [b"z"]))
    probe = box.next_batch(6.0)
    assert probe is not None
    assert probe.events == ()
    assert box.on_accepted(server.publish(probe), 6.0) == []
    again = box.next_batch(6.0)
    assert again is not None
    assert box.on_accepted(server.publish(again), 6.0) == [("A", Position(1, 2)), ("C", Position(1, 4))]
    assert server.log == [b"z", b"a", b"b", b"c"]


def test_an_idle_outbox_asks_once_and_then_lets_go_of_what_it_kept() -> None:
    box, server = outbox(), Server()
    box.offer(b"a", "k", 0.0)
    now = drain(box, server, 0.0)
    assert now == pytest.approx(5.0, abs=0.1)
    assert box.wake_at() is None


def test_a_long_silence_begins_a_new_sequence() -> None:
    """The fence may have expired meanwhile; a number above 1 would then look like a loss."""
    box, server = outbox(), Server()
    box.offer(b"a", "k", 0.0)
    now = drain(box, server, 0.0)
    server.fences.clear()
    box.offer(b"b", "k", now + SMALL.fence_ttl_s)
    drain(box, server, now + SMALL.fence_ttl_s)
    assert server.log == [b"a", b"b"]
    assert box.lost == 0


def test_taking_back_tells_what_the_server_may_hold() -> None:
    box = outbox()
    for i in range(7):
        box.offer(b"%d" % i, "run.metrics" if i else "run.started", 0.0, droppable=i > 5)
    assert box.next_batch(0.0) is not None
    left = box.take_back()
    assert [(item.producer, item.number, item.payload) for item in left] == [
        ("p0", 1, b"0"),
        ("p0", 2, b"1"),
        ("p0", 3, b"2"),
        ("p0", 4, b"3"),
        ("p0", 5, b"4"),
        ("", 0, b"5"),
        ("", 0, b"6"),
    ]
    assert (box.waiting, box.wake_at()) == (0, None)
