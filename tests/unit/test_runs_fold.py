"""Runs are folded the same however their ranks interleave, within bounds, and come back from what was saved."""

from __future__ import annotations

import math
import random
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.curves import CLOCK, candidate_field, read_candidates, read_run
from headrace.events import Event, RunAlive, RunCandidate, RunFinished, RunMetrics, RunStarted, RunView
from headrace.subscriber.aggregation.run import CANDIDATES, METRICS, RUNGS
from headrace.subscriber.aggregation.runs import RUNS, SHOWN, Changes, Fresh, Runs


def folded(*events: Event, at: float = 100.0) -> Runs:
    runs = Runs()
    for event in events:
        runs.fold(event, event.time or at)
    return runs


def only(runs: Runs, now: float = 100.0) -> RunView:
    [view] = runs.view(now)
    return view


def logged(step: int, rank: int = 0, time: float = 100.0, **metrics: float | None) -> RunMetrics:
    return RunMetrics(run="r", step=step, metrics=metrics, rank=rank, time=time)


def store(runs: Runs, into: tuple[dict[str, bytes], dict[str, dict[str, bytes]]], now: float = 100.0) -> Changes:
    """Apply what changed to saved state, as commits do."""
    changes = runs.take_changes(now)
    summaries, parts = into
    summaries.update(changes.runs)
    for run in changes.gone:
        summaries.pop(run, None)
    for run, saved in changes.parts.items():
        parts.setdefault(run, {}).update(saved)
    for run, names in changes.gone_parts.items():
        for name in names:
            parts.get(run, {}).pop(name, None)
    return changes


@st.composite
def rank_stories(draw: st.DrawFn) -> list[list[Event]]:
    stories: list[list[Event]] = []
    for rank in range(draw(st.integers(1, 4))):
        story: list[Event] = [RunStarted(run="r", name="digits", params={"rank0": True}, rank=rank, time=10.0 + rank)]
        for step in range(draw(st.integers(0, 40))):
            value = float(draw(st.integers(-50, 50)))
            story.append(logged(step, rank, 20.0 + step, loss=value, accuracy=-value))
        if draw(st.booleans()):
            status = draw(st.sampled_from(["finished", "failed"]))
            story.append(RunFinished(run="r", rank=rank, status=status, steps=40, duration_s=4.0, time=90.0 + rank))  # type: ignore[arg-type]
        stories.append(story)
    return stories


@settings(deadline=None)
@given(rank_stories(), st.randoms())
def test_any_interleaving_of_ranks_gives_the_same_summary(stories: list[list[Event]], chance: random.Random) -> None:
    expected = folded(*(event for story in stories for event in story))
    waiting = [list(story) for story in stories]
    runs = Runs()
    while any(waiting):
        story = chance.choice([story for story in waiting if story])
        event = story.pop(0)
        runs.fold(event, event.time)
    assert runs.view(100.0) == expected.view(100.0)
    shown = expected.view(100.0)
    assert runs.take_points(shown) == expected.take_points(shown)


def test_metrics_are_the_mean_over_ranks_and_so_are_points() -> None:
    runs = folded(logged(1, 0, loss=1.0), logged(1, 1, loss=3.0), logged(2, 0, loss=0.0), logged(2, 1, loss=1.0))
    view = only(runs)
    assert (view.ranks, view.step, view.metrics) == (2, 2, {"loss": 0.5})
    fresh = runs.take_points([view])
    assert fresh.points["r"]["loss"] == [(1, 2.0), (2, 0.5)]
    assert fresh.spans == {"r": {"loss": [(1, 1.0, 3.0), (2, 0.0, 1.0)]}}
    assert runs.take_points([view]) == Fresh()


def test_every_step_has_its_time_so_that_curves_can_be_drawn_by_it() -> None:
    runs = folded(logged(1, 0, 100.0, loss=1.0), logged(1, 1, 102.0, loss=1.0), logged(7, 0, 150.0, loss=2.0))
    assert runs.take_points([only(runs)]).points["r"] == {
        CLOCK: [(1, 101.0), (7, 150.0)],
        "loss": [(1, 1.0), (7, 2.0)],
    }


def test_no_metric_takes_the_name_of_the_clock() -> None:
    runs = folded(
        RunMetrics(run="r", step=1, metrics={CLOCK: 5.0}, time=100.0),
        RunMetrics(run="r", step=2, metrics={CLOCK: 6.0, "loss": 1.0}, time=101.0),
    )
    assert runs.take_points([only(runs)]).points["r"][CLOCK] == [(1, 100.0), (2, 101.0)]
    assert runs.left_out == 2
    assert list(only(runs).metrics) == ["loss"]


def test_best_is_the_smallest_loss_and_the_largest_score() -> None:
    runs = folded(
        logged(1, loss=2.0, accuracy=0.5, neg_mean_squared_error=-4.0, val_rmse=3.0),
        logged(2, loss=1.0, accuracy=0.9, neg_mean_squared_error=-1.0, val_rmse=2.0),
        logged(3, loss=1.5, accuracy=0.7, neg_mean_squared_error=-2.0, val_rmse=5.0),
    )
    assert only(runs).best == {"accuracy": 0.9, "loss": 1.0, "neg_mean_squared_error": -1.0, "val_rmse": 2.0}


def test_values_that_are_not_finite_show_as_missing_and_spoil_no_curve() -> None:
    runs = folded(logged(1, loss=2.0), logged(2, loss=math.nan), logged(3, loss=None))
    view = only(runs)
    assert view.metrics == {"loss": None}
    assert view.best == {"loss": 2.0}
    assert runs.take_points([view]).points["r"]["loss"] == [(1, 2.0)]


@pytest.mark.parametrize(("silent_s", "state"), [(0, "running"), (14, "running"), (16, "stalled"), (61, "crashed")])
def test_a_silent_run_stalls_and_then_counts_as_crashed(silent_s: float, state: str) -> None:
    runs = folded(RunStarted(run="r", time=100.0), logged(1, loss=1.0))
    assert only(runs, 100.0 + silent_s).state == state


def test_a_sign_of_life_keeps_a_run_that_logs_nothing_running() -> None:
    runs = folded(logged(1, loss=1.0), RunAlive(run="r", time=155.0))
    assert only(runs, 160.0).state == "running"


def test_a_run_is_finished_when_all_its_ranks_are() -> None:
    runs = folded(RunStarted(run="r", rank=0), RunStarted(run="r", rank=1), RunFinished(run="r", rank=0))
    assert only(runs).state == "running"
    runs.fold(RunFinished(run="r", rank=1, time=140.0, cost_us=2.0), 140.0)
    view = only(runs, 1000.0)
    assert (view.state, view.ended, view.cost_us) == ("finished", 140.0, 2.0)


def test_one_failed_rank_fails_the_run_with_its_reason() -> None:
    runs = folded(logged(1, 0, loss=1.0), RunFinished(run="r", rank=1, status="failed", error="out of memory"))
    assert (only(runs).state, only(runs).error) == ("failed", "out of memory")


def test_a_rank_that_starts_again_runs_again() -> None:
    runs = folded(RunStarted(run="r", time=100.0), RunFinished(run="r", status="failed", error="e", time=110.0))
    runs.fold(RunStarted(run="r", time=120.0), 120.0)
    view = only(runs, 121.0)
    assert (view.state, view.error, view.started) == ("running", "", 100.0)


def test_events_that_come_late_do_not_undo_later_ones() -> None:
    runs = folded(logged(5, loss=5.0), RunFinished(run="r", time=200.0))
    runs.fold(logged(4, loss=4.0), 100.0)
    runs.fold(RunStarted(run="r", name="digits", time=90.0), 90.0)
    view = only(runs, 1000.0)
    assert (view.state, view.metrics, view.step, view.name) == ("finished", {"loss": 5.0}, 5, "digits")


def test_speed_is_that_of_the_last_seconds() -> None:
    slow = [logged(step, time=100.0 + step, loss=0.0) for step in range(20)]
    fast = [logged(20 + step, time=120.0 + step / 10, loss=0.0) for step in range(200)]
    assert only(folded(*slow), 120.0).steps_per_s == pytest.approx(1.0)
    assert only(folded(*slow, *fast), 140.0).steps_per_s == pytest.approx(10.0)
    assert only(folded(*slow), 140.0).steps_per_s == 0.0


def test_candidates_are_counted_once_and_make_a_curve_of_their_own() -> None:
    runs = folded(
        RunStarted(run="r"),
        RunCandidate(run="r", candidate="a", status="running"),
        RunCandidate(run="r", candidate="a", metrics={"score": 0.5}),
        RunCandidate(run="r", candidate="b", metrics={"score": 0.7}),
        RunCandidate(run="r", candidate="b", metrics={"score": 0.8}, rung=1),
        RunStarted(run="child", parent="r", time=50.0),
    )
    view = runs.view(100.0)[0]
    assert (view.run, view.candidates, view.best) == ("r", 3, {"candidates/score": 0.8})
    assert runs.take_points([view]).points["r"]["candidates/score"] == [(1, 0.5), (2, 0.75)]


def judged(
    candidate: str, rung: int = 0, status: Literal["running", "finished"] = "finished", **metrics: float | None
) -> RunCandidate:
    return RunCandidate(
        run="s", candidate=candidate, rung=rung, status=status, params={"C": 1.0}, metrics=metrics, time=100.0 + rung
    )


def test_candidates_are_saved_one_by_one_and_rung_by_rung() -> None:
    runs = folded(judged("a", status="running"), judged("a", score=0.5), judged("b", score=0.7))
    first = runs.take_changes(100.0).candidates["s"]
    assert sorted(first) == ["0:a", "0:b"]
    runs.fold(judged("b", rung=1, score=0.8), 101.0)
    second = runs.take_changes(101.0).candidates["s"]
    assert list(second) == [candidate_field("b", 1)]
    shown = [(one.number, one.candidate, one.rung, one.metrics["score"]) for one in read_candidates(first | second)]
    assert shown == [(1, "a", 0, 0.5), (2, "b", 0, 0.7), (2, "b", 1, 0.8)]
    assert runs.take_changes(102.0) == Changes()


def test_a_candidate_that_is_judged_does_not_go_back_to_running() -> None:
    runs, saved = folded(judged("a", score=0.5)), (dict[str, bytes](), dict[str, dict[str, bytes]]())
    store(runs, saved)
    for again in (runs, Runs.load(*saved)):
        again.fold(judged("a", status="running"), 101.0)
        assert again.take_changes(101.0).candidates == {}
        again.fold(judged("a", rung=1, status="running"), 102.0)
        [running] = read_candidates(again.take_changes(102.0).candidates["s"])
        assert (running.status, running.rung, running.number) == ("running", 1, 1)


def test_candidates_go_with_their_search() -> None:
    runs = folded(judged("a"), judged("b", rung=2), RunFinished(run="s", time=103.0))
    runs.take_changes(103.0)
    for number in range(RUNS):
        runs.fold(RunStarted(run=f"r{number}", time=200.0), 200.0)
    assert runs.take_changes(200.0).gone_candidates == {"s": ["0:a", "0:b", "1:b", "2:b"]}


def test_candidates_beyond_a_bound_are_counted_but_not_kept() -> None:
    runs = folded(
        *(judged(f"c{number}") for number in range(CANDIDATES + 3)), judged("c0", rung=RUNGS), judged("x" * 999)
    )
    view = only(runs)
    assert len(runs.take_changes(100.0).candidates["s"]) == CANDIDATES
    assert view.candidates == CANDIDATES + 3
    assert runs.left_out == 5


def test_a_saved_run_that_fell_silent_is_told_by_its_silence() -> None:
    runs, saved = folded(logged(1, loss=1.0)), (dict[str, bytes](), dict[str, dict[str, bytes]]())
    store(runs, saved)
    summary = read_run(saved[0]["r"])
    for now in (100.0, 130.0, 200.0):
        assert summary.at(now) == only(runs, now)
    assert summary.at(200.0).state == "crashed"


def test_of_too_many_running_runs_the_same_ones_are_shown_from_frame_to_frame() -> None:
    runs = Runs()
    for number in range(SHOWN + 10):
        runs.fold(RunStarted(run=f"r{number}", time=100.0 + number / 100), 100.0)
    before = [view.run for view in runs.view(102.0)]
    runs.fold(RunAlive(run="r0", time=102.0), 102.0)
    assert [view.run for view in runs.view(102.0)] == before
    assert before[0] == f"r{SHOWN + 9}"


def test_what_is_beyond_a_bound_is_left_out_and_counted() -> None:
    runs = folded(RunMetrics(run="r", step=1, metrics={f"m{number:02}": 1.0 for number in range(METRICS + 5)}))
    assert len(only(runs).metrics) == METRICS
    assert runs.left_out == 5
    runs.fold(RunStarted(run="x" * 201), 100.0)
    assert len(runs) == 1
    assert runs.left_out == 6


def test_the_run_that_ended_longest_ago_makes_room() -> None:
    runs, saved = Runs(), (dict[str, bytes](), dict[str, dict[str, bytes]]())
    for number in range(RUNS):
        runs.fold(RunMetrics(run=f"r{number}", step=1, metrics={"loss": 1.0}), 100.0 + number / 100)
    runs.fold(RunFinished(run="r7"), 106.0)
    store(runs, saved)
    runs.fold(RunStarted(run="new"), 107.0)
    store(runs, saved, 107.0)
    assert len(runs) == RUNS
    assert "r7" not in saved[0]
    assert not saved[1]["r7"]
    assert "new" in saved[0]


def test_running_runs_are_shown_before_newer_ones_that_ended() -> None:
    runs = Runs()
    for number in range(SHOWN + 10):
        runs.fold(RunFinished(run=f"ended{number}"), 500.0 + number)
    runs.fold(RunStarted(run="running"), 490.0)
    shown = [view.run for view in runs.view(500.0)]
    assert len(shown) == SHOWN
    assert shown[:2] == ["running", f"ended{SHOWN + 9}"]


@settings(deadline=None)
@given(rank_stories(), st.integers(1, 10))
def test_what_was_saved_batch_by_batch_goes_on_as_if_nothing_had_happened(
    stories: list[list[Event]], size: int
) -> None:
    events = [event for story in stories for event in story]
    whole = folded(*events)
    saved = (dict[str, bytes](), dict[str, dict[str, bytes]]())
    for at in range(0, len(events), size):
        runs = Runs.load(*saved)
        for event in events[at : at + size]:
            runs.fold(event, event.time)
        store(runs, saved)
    assert Runs.load(*saved).view(100.0) == whole.view(100.0)


def test_a_broken_field_costs_one_run_only() -> None:
    runs, saved = folded(logged(1, loss=1.0)), (dict[str, bytes](), dict[str, dict[str, bytes]]())
    store(runs, saved)
    saved[0]["broken"] = b"\x00"
    assert [view.run for view in Runs.load(*saved).view(100.0)] == ["r"]


def test_only_what_changed_is_saved() -> None:
    runs, saved = Runs(), (dict[str, bytes](), dict[str, dict[str, bytes]]())
    for run in ("a", "b"):
        runs.fold(RunMetrics(run=run, step=1, metrics={"loss": 1.0}), 100.0)
    store(runs, saved)
    runs.fold(RunMetrics(run="b", step=2, metrics={"loss": 1.0}), 101.0)
    changes = store(runs, saved)
    assert list(changes.runs) == ["b"]
    assert list(changes.parts) == ["b"]
    assert store(runs, saved) == Changes()


# Folds of candidates, judged by different processes


def fold(
    number: int, score: float | None, status: Literal["running", "failed"] = "running", rung: int = 0
) -> RunCandidate:
    metrics: dict[str, float | None] = {} if score is None else {"score": score}
    return RunCandidate(
        run="r", candidate="c", metrics=metrics, status=status, rung=rung, fold=number, folds=3, time=100.0 + number
    )


def saved_candidate(runs: Runs, rung: int = 0) -> tuple[str, dict[str, float | None]]:
    found = read_candidates(runs.take_changes(100.0).candidates["r"])
    [one] = [candidate for candidate in found if candidate.rung == rung]
    return one.status, one.metrics


def test_folds_add_up_in_any_order_and_judge_when_all_are_in() -> None:
    runs = folded(fold(3, 0.9), fold(1, 0.6))
    assert saved_candidate(runs) == ("running", {"score": 0.75, "score fold 1": 0.6, "score fold 3": 0.9})
    assert only(runs).candidates == 0
    runs.fold(fold(1, 0.6), 101.0)  # once more, as its reader died
    runs.fold(fold(2, 0.75), 101.0)
    assert saved_candidate(runs)[0] == "finished"
    view = only(runs)
    assert view.candidates == 1
    assert view.metrics == {"candidates/score": pytest.approx(0.75)}


def test_a_fold_that_failed_fails_the_candidate_when_all_are_in() -> None:
    runs = folded(fold(1, 0.6), fold(2, None, "failed"))
    assert saved_candidate(runs)[0] == "running"
    runs.fold(fold(3, 0.6), 101.0)
    assert saved_candidate(runs)[0] == "failed"


def test_rungs_have_folds_of_their_own_and_a_late_fold_changes_no_judgement() -> None:
    runs = folded(fold(1, 0.6), fold(1, 0.8, rung=1))
    whole = RunCandidate(run="r", candidate="c", metrics={"score": 0.7, "score fold 1": 0.6}, time=103.0)
    runs.fold(whole, 103.0)
    runs.fold(fold(2, 0.1), 103.0)
    assert saved_candidate(runs) == ("finished", {"score": 0.7, "score fold 1": 0.6})
    assert set(only(runs).metrics) == {"candidates/score"}


def test_what_a_step_costs_is_shown_while_the_run_goes_on() -> None:
    runs = folded(
        RunStarted(run="r", time=100.0), RunAlive(run="r", time=101.0, cost_us=3.5), RunAlive(run="r", time=102.0)
    )
    assert only(runs).cost_us == 3.5
