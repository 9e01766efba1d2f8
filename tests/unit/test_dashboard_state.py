"""The dashboard's state is a fold: the same events give the same page, whatever came between."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from headrace.curves import Curve
from headrace.dashboard.history import History, Tier
from headrace.dashboard.sections.overview import overview
from headrace.dashboard.series import recent_labels, values, wilson
from headrace.dashboard.state import MOMENTS, State
from headrace.events import (
    Alert,
    AlertView,
    ChannelView,
    Frame,
    GroupView,
    LatencyView,
    ModelView,
    PredictionJoined,
    PredictionSampled,
    QualityView,
    RunView,
)
from headrace.positions import Position
from tests.unit.frames import Story, frame, rate

T = 1_763_800_000.0


def played(frames: int, first: int = 0, state: State | None = None) -> State:
    state = state or State(epoch="e")
    story = Story()
    for n in range(first, first + frames):
        t = T + n / 4
        state.fold(story.sample(t, n), Position(int(t * 1000), n + 1))
        state.fold(story.frame(t, n), Position(int(t * 1000), n + 1))
    return state


def test_the_same_events_give_the_same_state() -> None:
    once, again = played(40), played(25, 25, played(25))
    first = played(50)
    assert overview(first) == overview(again)
    assert first.history.columns() == again.history.columns()
    assert once.number == 40


def test_a_frame_seen_twice_counts_once() -> None:
    state = played(8)
    before = state.history.columns()
    state.fold(Story().frame(T, 0), Position(int(T * 1000), 1))
    assert state.history.columns() == before
    assert state.number == 8


def test_a_browser_that_was_away_gets_each_frame_it_missed() -> None:
    state = played(30)
    missed = state.since("e", 20)
    assert missed is not None
    assert [moment.number for moment in missed] == list(range(21, 31))
    assert state.since("e", 30) == []


@pytest.mark.parametrize(("epoch", "number"), [("other", 20), ("e", 5), ("e", 900)])
def test_a_browser_that_was_away_too_long_gets_everything(epoch: str, number: int) -> None:
    state = played(MOMENTS + 20)
    assert state.since(epoch, number) is None


def test_values_name_what_came_in_what_went_out_and_what_waits() -> None:
    found = values(
        frame(
            channels=[
                ChannelView(name="requests", rate=rate(10)),
                ChannelView(name="clicks", rate=rate(5)),
                ChannelView(name="results", rate=rate(90)),
            ],
            groups=[
                GroupView(channel="requests", group="scorers", lag=3, in_flight=4, committed=rate(8), dead=rate(1)),
                GroupView(channel="workers", group="aggregators", lag=50),
            ],
            latency=[LatencyView(stage="total", count=5, p50_ms=1, p95_ms=2, p99_ms=3)],
        )
    )
    assert found["in"] == 15
    assert "in:results" not in found
    assert found["depth"] == found["depth:requests/scorers"] == 7
    assert found["out:requests/scorers"] == 8
    assert found["errors"] == 1
    assert (found["p50"], found["p95"], found["p99"]) == (1, 2, 3)


def test_what_nobody_measured_is_left_out_and_not_zero() -> None:
    found = values(frame(latency=[LatencyView(stage="total", count=0)]))
    assert not {"p50", "p95", "p99", "accuracy"} & found.keys()


def test_live_accuracy_counts_recent_labels_of_classifiers_only() -> None:
    quality = QualityView(joined=900, correct=900, recent=[(T - 20, 10, 9), (T - 4000, 100, 0)])
    models = [
        ModelView(name="a", version=1, quality=quality),
        ModelView(name="b", version=1, kind="regression", quality=quality),
    ]
    assert recent_labels(models, T) == (10, 9)
    assert values(frame(time=T, models=models))["accuracy"] == 0.9


def test_the_interval_narrows_with_the_count_and_stays_within_bounds() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(96, 100) == pytest.approx((0.9016, 0.9843), abs=1e-4)
    low, high = wilson(10, 10)
    assert 0.72 < low < 0.73
    assert high == pytest.approx(1.0)


def test_a_tier_holds_means_of_rates_and_peaks_of_depths() -> None:
    tier = Tier(1.0, 300)
    for t, rate_, depth in ((10.0, 1.0, 5.0), (10.5, 3.0, 50.0), (11.0, 9.0, 2.0)):
        tier.add(t, {"in": rate_, "depth": depth})
    columns = tier.columns()
    assert columns.times == [10.5]
    assert columns.values == {"depth": [50.0], "in": [2.0]}


def test_a_series_that_begins_late_has_holes_before() -> None:
    tier = Tier(0, 60)
    tier.add(1.0, {"in": 1.0})
    tier.add(2.0, {"in": 2.0, "p50": 7.0})
    assert tier.columns().values == {"in": [1.0, 2.0], "p50": [None, 7.0]}


def test_history_is_bounded() -> None:
    history = History()
    for n in range(5000):
        history.add(T + n / 4, {"in": 1.0})
    assert [len(columns.times) for columns in history.columns()] == [241, 301, 301]


def test_curves_grow_with_frames_and_go_with_their_run() -> None:
    state = State()
    run = RunView(run="r", name="r", state="running")
    state.fold(frame(runs=[run], points={"r": {"loss": [(1, 3.0)]}}), Position(1, 1))
    state.fold(frame(runs=[run], points={"r": {"loss": [(2, 2.0)]}, "other": {"loss": [(1, 1.0)]}}), Position(2, 2))
    assert state.curves["r"]["loss"].points() == [(1, 3.0), (2, 2.0)]
    assert "other" not in state.curves
    state.fold(frame(runs=[]), Position(3, 3))
    assert state.curves == {}


def test_saved_curves_are_continued_by_the_frames_since() -> None:
    state = State()
    run = RunView(run="r", name="r", state="running")
    state.fold(frame(runs=[run], points={"r": {"loss": [(3, 1.0)]}}), Position(1, 1))
    saved = Curve()
    saved.put([(1, 3.0), (2, 2.0)])
    state.restore({"r": {"loss": saved}})
    assert state.curves["r"]["loss"].points() == [(1, 3.0), (2, 2.0), (3, 1.0)]


def sampled(n: int, label: int = 1) -> PredictionSampled:
    return PredictionSampled(
        model="m", version=1, prediction=f"0-{n}-1", request=f"q{n}", inputs=[], label=label, rows_scored=10
    )


def test_the_tail_is_paced_and_says_how_many_each_prediction_stands_for() -> None:
    state = State()
    for n in range(20):
        state.fold(sampled(n), Position(100 * n, n + 1))
    assert [sample.event.request for sample in state.tail] == ["q0", "q8", "q16"]
    assert [sample.stands_for for sample in state.tail] == [10, 80, 80]


def test_models_take_turns_in_the_tail() -> None:
    state = State()
    for n in range(100):
        state.fold(sampled(n) if n % 2 else replace(sampled(n), model="rare"), Position(100 * n, n + 1))
    shown = [sample.event.model for sample in state.tail]
    assert shown.count("m") == pytest.approx(shown.count("rare"), abs=1)
    assert len(shown) <= 15


def test_a_label_finds_its_prediction_in_the_tail() -> None:
    state = State()
    state.fold(sampled(0), Position(1000, 1))
    assert state.unlabelled
    state.fold(PredictionJoined(model="m", version=1, predictions=["0-0-1", "0-9-9"], predicted=[1, 1], actual=[4, 5]))
    assert state.truths == {"0-0-1": 4}
    assert not state.unlabelled


def test_an_alert_shows_at_once_and_the_next_frame_decides() -> None:
    state = State()
    state.fold(Alert(name="depth", subject="requests", state="raised", text="long"))
    assert [alert.text for alert in state.alerts.values()] == ["long"]
    state.fold(Alert(name="depth", subject="requests", state="cleared"))
    assert not state.alerts
    state.fold(frame(alerts=[AlertView(name="worker-gone")]), Position(1, 1))
    assert list(state.alerts) == [("worker-gone", "")]


def test_events_that_the_page_does_not_show_change_nothing() -> None:
    state, same = played(3), played(3)
    state.fold(RunFinishedLike())
    assert overview(state) == overview(same)


class RunFinishedLike(Frame, frozen=True, kw_only=True, tag="test.other"):
    """A frame of no position is older than any: the state refuses it as it refuses other types."""
