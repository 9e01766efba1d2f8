"""Alerts are raised when something lasts, cleared when it is over, do not flutter, and survive a change of leader."""

from __future__ import annotations

import pytest

from headrace.events import Alert, GroupView, ServerView, WorkerAlive, WorkerStopped
from headrace.subscriber.aggregation.alerts import SOURCE, Alerts, Condition, LossWatch, conditions
from headrace.subscriber.aggregation.serving import Refusal
from headrace.subscriber.aggregation.workers import Ended, Workers

NOTHING = ServerView()


def names(alerts: Alerts) -> list[str]:
    return [view.name for view in alerts.views()]


def judged(
    groups: list[GroupView] | None = None,
    silent_s: float = 0.0,
    missing: dict[str, Ended] | None = None,
    refusals: list[Refusal] | None = None,
    losing: int = 0,
    server: ServerView = NOTHING,
    alerts: Alerts | None = None,
) -> list[Condition]:
    raised = (alerts or Alerts()).raised
    silence = {("requests", "scorers"): silent_s}
    return conditions(groups or [], silence, 600.0, missing or {}, refusals or [], losing, server, raised)


def queue(depth: int, drain_s: float | None) -> GroupView:
    return GroupView(channel="requests", group="scorers", lag=depth, drain_s=drain_s)


def test_an_alert_waits_until_its_condition_has_lasted_and_goes_when_it_has_been_away() -> None:
    alerts, condition = Alerts(), Condition("slow", "x", "text", after_s=10.0, until_s=5.0)
    assert alerts.step([condition], 100.0) == []
    [event] = alerts.step([condition], 110.0)
    assert (event.name, event.subject, event.state, event.source) == ("slow", "x", "raised", SOURCE)
    assert alerts.step([condition], 120.0) == []
    assert alerts.step([], 124.0) == []
    assert names(alerts) == ["slow"]
    [event] = alerts.step([], 125.0)
    assert event.state == "cleared"
    assert names(alerts) == []


def test_a_condition_that_comes_and_goes_neither_raises_nor_clears() -> None:
    alerts, condition = Alerts(), Condition("slow", "", "text", after_s=10.0, until_s=10.0)
    for second in range(100, 200, 5):
        assert alerts.step([condition] if second % 2 else [], float(second)) == []
    alerts.step([condition], 200.0)
    assert len(alerts.step([condition], 210.0)) == 1
    for second in range(215, 300, 5):
        assert alerts.step([condition] if second % 2 else [], float(second)) == []


def test_a_growing_queue_is_worth_a_word_and_a_draining_one_is_not() -> None:
    assert judged([queue(50_000, 12.0)]) == []
    assert judged([queue(900, None)]) == []
    assert [c.name for c in judged([queue(1000, None)])] == ["group growing"]


def test_once_raised_the_threshold_is_lower() -> None:
    alerts = Alerts()
    for now in (100.0, 120.0):
        alerts.step(judged([queue(1000, None)], alerts=alerts), now)
    assert names(alerts) == ["group growing"]
    assert [c.name for c in judged([queue(600, None)], alerts=alerts)] == ["group growing"]
    assert judged([queue(400, None)], alerts=alerts) == []


def test_a_group_that_needs_entries_and_has_nobody_is_abandoned() -> None:
    [condition] = judged([queue(3, None)], silent_s=601.0)
    assert (condition.name, condition.severity) == ("group abandoned", "critical")
    assert "3 entries of requests wait for scorers" in condition.text
    assert judged([queue(0, 0.0)], silent_s=601.0) == []
    assert judged([queue(3, None)], silent_s=599.0) == []


def test_lost_events_raise_an_alert_that_clears_when_no_more_are_lost() -> None:
    watch, alerts = LossWatch(), Alerts()
    states = []
    for now, lost in ((0.0, 5), (1.0, 5), (2.0, 7), (200.0, 7), (301.0, 7), (302.5, 7)):
        events = alerts.step(judged(losing=lost if watch.step(lost, now) else 0), now)
        states += [(now, event.state) for event in events]
    assert states == [(2.0, "raised"), (302.5, "cleared")]


@pytest.mark.parametrize(("used", "full"), [(89, False), (91, True)])
def test_a_server_near_its_limit_is_critical(used: int, full: bool) -> None:
    found = judged(server=ServerView(memory_bytes=used, memory_limit_bytes=100))
    assert [c.name for c in found] == (["server full"] if full else [])


def test_a_refused_model_is_named_with_worker_and_reason() -> None:
    [condition] = judged(refusals=[Refusal("digits", 4, "scorer-1", "another library version", 1.0)])
    assert condition.text == ("scorer-1 could not load digits version 4 and keeps what it has: another library version")


def alive(worker: str = "scorer-1", started: float = 90.0, **fields: int) -> WorkerAlive:
    return WorkerAlive(worker=worker, kind="scorer", host="box", started=started, **fields)  # type: ignore[arg-type]


def test_a_worker_that_falls_silent_is_late_then_gone_and_replaced_by_a_younger_one() -> None:
    workers, alerts = Workers(), Alerts()
    workers.fold(alive(), 100.0)
    states = {now: [view.state for view in workers.views(now)] for now in (104.0, 105.0, 114.9, 115.0)}
    assert states == {104.0: ["up"], 105.0: ["late"], 114.9: ["late"], 115.0: []}
    [event] = alerts.step(judged(missing=workers.missing(115.0)), 115.0)
    assert (event.name, event.subject, event.state) == ("worker gone", "scorer-1", "raised")
    workers.fold(alive("scorer-2", started=116.0), 117.0)
    [event] = alerts.step(judged(missing=workers.missing(117.0)), 117.0)
    assert event.state == "cleared"


def test_a_worker_that_says_goodbye_or_comes_back_is_not_missed() -> None:
    workers = Workers()
    workers.fold(alive(), 100.0)
    workers.fold(WorkerStopped(worker="scorer-1", kind="scorer"), 101.0)
    assert workers.views(101.0) == []
    assert workers.missing(200.0) == {}
    workers.fold(alive("scorer-2"), 100.0)
    workers.views(120.0)
    assert set(workers.missing(120.0)) == {"scorer-2"}
    workers.fold(alive("scorer-2"), 121.0)
    assert workers.missing(121.0) == {}
    assert [view.worker for view in workers.views(121.0)] == ["scorer-2"]


def test_alerts_of_other_processes_stay_until_they_clear_them() -> None:
    alerts = Alerts()
    alerts.fold(Alert(source="scorer-1", name="disk full", subject="box", state="raised", text="t"), 50.0)
    alerts.fold(Alert(source=SOURCE, name="own", state="raised"), 50.0)
    assert alerts.step([], 1000.0) == []
    assert [(view.name, view.since) for view in alerts.views()] == [("disk full", 50.0)]
    alerts.fold(Alert(source="scorer-1", name="disk full", subject="box", state="cleared"), 60.0)
    assert alerts.views() == []


def test_a_new_leader_raises_nothing_twice_and_clears_what_is_over() -> None:
    saved: dict[str, bytes] = {}
    first = Alerts()
    first.step([Condition("a", "", "t"), Condition("b", "", "t", "critical")], 100.0)
    first.fold(Alert(source="scorer-1", name="foreign", state="raised"), 100.0)
    saved.update(first.take_changes()[0])
    second = Alerts.load(saved)
    assert names(second) == ["b", "a", "foreign"]
    assert second.step([Condition("a", "", "t")], 200.0) == []
    assert [(e.name, e.state) for e in second.step([Condition("a", "", "t")], 205.0)] == [("b", "cleared")]
    saves, drops = second.take_changes()
    assert (list(saves), drops) == ([], ["b/"])
