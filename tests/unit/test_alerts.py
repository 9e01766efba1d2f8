"""Alerts are raised when something lasts, cleared when it is over, do not flutter, and survive a change of leader."""

from __future__ import annotations

import pytest

from headrace.events import (
    Alert,
    ChannelView,
    Frame,
    GroupView,
    ModelView,
    QualityView,
    Rate,
    RunView,
    ServerView,
    WorkerAlive,
    WorkerStopped,
)
from headrace.settings import Settings
from headrace.subscriber.aggregation.alerts import SOURCE, Alerts, Condition, LossWatch, conditions
from headrace.subscriber.aggregation.serving import Refusal
from headrace.subscriber.aggregation.workers import Ended, Workers

NOTHING = ServerView()
NOW = 1000.0


def names(alerts: Alerts) -> list[str]:
    return [view.name for view in alerts.views()]


def judged(
    groups: list[GroupView] | None = None,
    silent_s: float = 0.0,
    missing: dict[str, Ended] | None = None,
    refusals: list[Refusal] | None = None,
    losing: int = 0,
    server: ServerView = NOTHING,
    channels: list[ChannelView] | None = None,
    models: list[ModelView] | None = None,
    runs: list[RunView] | None = None,
    alerts: Alerts | None = None,
) -> list[Condition]:
    frame = Frame(
        time=NOW, groups=groups or [], server=server, channels=channels or [], models=models or [], runs=runs or []
    )
    silence = {("requests", "scorers"): silent_s}
    raised = (alerts or Alerts()).raised
    return conditions(frame, silence, missing or {}, refusals or [], losing, raised, Settings())


def said(alerts: Alerts, found: list[Condition], now: float) -> list[tuple[str, str, str]]:
    """What a step of the alerts publishes."""
    return [(event.name, event.subject, event.state) for event in alerts.step(found, now)]


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
    [condition] = judged([queue(1, None)], silent_s=601.0)
    assert "1 entry of requests waits for scorers" in condition.text
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


def dying(rate: float) -> GroupView:
    return GroupView(channel="requests", group="scorers", drain_s=0.0, dead=Rate(s30=rate))


def test_dead_letters_raise_an_alert_at_the_rate_and_clear_it_well_below() -> None:
    alerts = Alerts()
    assert said(alerts, judged([dying(0.9)], alerts=alerts), 100.0) == []
    assert said(alerts, judged([dying(1.0)], alerts=alerts), 101.0) == [("dead letters", "requests/scorers", "raised")]
    for second in range(102, 130):
        assert said(alerts, judged([dying(0.6)], alerts=alerts), float(second)) == []
    states = [(now, said(alerts, judged([dying(0.4)], alerts=alerts), float(now))) for now in range(130, 140)]
    assert [(now, found[0][2]) for now, found in states if found] == [(139, "cleared")]


def filling(needed: int, full_s: float | None) -> ChannelView:
    return ChannelView(name="requests", limit=1000, needed=needed, full_s=full_s)


@pytest.mark.parametrize(("needed", "full_s", "raised"), [(500, 599, 1), (500, 601, 0), (500, None, 0), (49, 9, 0)])
def test_a_channel_that_will_soon_be_full_is_worth_a_word(needed: int, full_s: float | None, raised: int) -> None:
    found = judged(channels=[filling(needed, full_s)])
    assert [(c.name, c.subject) for c in found] == [("time to full", "requests")] * raised


def test_the_time_to_full_may_double_before_the_word_is_taken_back() -> None:
    alerts = Alerts()
    for now in (100.0, 105.0):
        alerts.step(judged(channels=[filling(500, 500)], alerts=alerts), now)
    assert names(alerts) == ["time to full"]
    assert [c.name for c in judged(channels=[filling(500, 1100)], alerts=alerts)] == ["time to full"]
    assert judged(channels=[filling(500, 1300)], alerts=alerts) == []


@pytest.mark.parametrize(
    ("used", "full_s", "names"),
    [
        (60, 90, ["time to full"]),
        (40, 90, []),
        (60, 700, []),
        (60, None, []),
        (95, 5, ["server full"]),
    ],
)
def test_memory_that_will_soon_be_full_is_said_once(used: int, full_s: float | None, names: list[str]) -> None:
    found = judged(server=ServerView(memory_bytes=used, memory_limit_bytes=100, full_s=full_s))
    assert [c.name for c in found] == names


def test_a_server_without_a_limit_is_never_full() -> None:
    assert judged(server=ServerView(memory_bytes=10**12)) == []


@pytest.mark.parametrize(
    ("state", "silent_s", "found"),
    [("running", 0, 0), ("stalled", 40, 1), ("crashed", 400, 1), ("crashed", 700, 0), ("failed", 400, 0)],
)
def test_a_run_without_a_sign_of_life_is_named(state: str, silent_s: float, found: int) -> None:
    run = RunView(run="r1", name="resnet", state=state, step=42, updated=NOW - silent_s)
    conditions = judged(runs=[run])
    assert [(c.name, c.subject) for c in conditions] == [("run stalled", "r1")] * found
    assert all("resnet" in c.text and "step 42" in c.text for c in conditions)


def graded(correct: int, joined: int, **fields: object) -> ModelView:
    quality = QualityView(recent=[(NOW - 400, 1000, 0), (NOW - 20, joined, correct)])
    return ModelView(**{"name": "digits", "version": 3, "champion": True, "quality": quality} | fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("model", "low"),
    [
        (graded(70, 100), True),  # 0.60 to 0.78
        (graded(75, 100), False),  # 0.66 to 0.82: may be 0.8
        (graded(7, 10), False),
        (graded(0, 0), False),
        (graded(70, 100, scores={"accuracy": 0.9}), False),  # bound 0.72
        (graded(60, 100, scores={"accuracy": 0.9}), True),
        (graded(70, 100, champion=False), False),
        (graded(70, 100, kind="regression"), False),
    ],
)
def test_accuracy_is_low_when_chance_does_not_explain_it(model: ModelView, low: bool) -> None:
    assert [c.name for c in judged(models=[model])] == (["low accuracy"] if low else [])


def test_low_accuracy_is_over_when_the_share_itself_is_back() -> None:
    alerts = Alerts()
    for now in (100.0, 110.0):
        alerts.step(judged(models=[graded(70, 100)], alerts=alerts), now)
    assert names(alerts) == ["low accuracy"]
    assert [c.name for c in judged(models=[graded(79, 100)], alerts=alerts)] == ["low accuracy"]
    assert judged(models=[graded(80, 100)], alerts=alerts) == []


def test_news_are_what_anybody_raised_or_cleared_each_once_and_know_since_when() -> None:
    alerts = Alerts()
    alerts.step([Condition("a", "", "t", until_s=0.0)], 100.0)
    alerts.fold(Alert(source="scorer-1", name="foreign", state="raised"), 101.0)
    alerts.step([], 130.0)
    news = alerts.take_news()
    assert [(one.name, one.state, one.time, one.since) for one in news if one.source == SOURCE] == [
        ("a", "raised", 100.0, 100.0),
        ("a", "cleared", 130.0, 100.0),
    ]
    assert [one.name for one in news if one.source != SOURCE] == ["foreign"]
    assert alerts.take_news() == []


def test_totals_that_are_too_low_are_said_for_an_hour() -> None:
    frame = Frame(time=NOW * 10, missed_s=120, missed_at=int(NOW * 10) - 60)
    [found] = conditions(frame, {}, {}, [], 0, Alerts().raised, Settings())
    assert found.name == "totals incomplete"
    assert "120 seconds" in found.text
    later = Frame(time=NOW * 10 + 3_600, missed_s=120, missed_at=int(NOW * 10) - 60)
    assert not conditions(later, {}, {}, [], 0, Alerts().raised, Settings())
