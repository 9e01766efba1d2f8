"""Sections hold what a page shows, are made once for all browsers, and stay small."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from headrace.dashboard import figures
from headrace.dashboard.layout import Page
from headrace.dashboard.pages import PAGES
from headrace.dashboard.sections import Sections, Status
from headrace.dashboard.sections.overview import MODELS_SHOWN, RUNS_SHOWN, model_detail, overview
from headrace.dashboard.sections.rows import sample_rows
from headrace.dashboard.state import State
from headrace.events import (
    AlertView,
    ChannelView,
    GroupView,
    LatencyView,
    ModelView,
    PredictionJoined,
    PredictionSampled,
    QualityView,
    RunView,
    WorkerView,
)
from headrace.positions import Position
from tests.unit.frames import Story, frame, rate

STATUS = Status(
    bus="up", reason="", viewers=1, prefix="headrace", server="redis://x", live=1, healed=0, lost=0, unknown=0
)


def state_of(**fields: Any) -> State:
    state = State(epoch="e")
    state.fold(frame(**fields), Position(1, 1))
    return state


def sections_of(state: State) -> Sections:
    return Sections(lambda: state, lambda: STATUS)


def test_there_is_nothing_to_show_before_the_first_frame() -> None:
    sections = sections_of(State())
    assert sections.section("overview") is None
    assert sections.section("model:digits@1") is None
    assert sections.section("nonsense") is None
    assert sections.section("status") is not None


def test_a_section_is_the_same_object_while_it_says_the_same() -> None:
    state = State(epoch="e")
    story, sections = Story(), sections_of(state)
    state.fold(story.frame(1000.0, 1), Position(1, 1))
    first = sections.section("overview")
    status = sections.section("status")
    assert sections.section("overview") is first
    state.fold(story.frame(1000.25, 2), Position(2, 2))
    assert sections.section("overview") is not first
    assert sections.section("status") is status


def test_champions_come_first_then_traffic() -> None:
    shown = overview(
        state_of(
            models=[
                ModelView(name="a", version=1, requests=rate(5)),
                ModelView(name="b", version=1, requests=rate(9)),
                ModelView(name="c", version=2, champion=True),
            ]
        )
    )
    assert shown is not None
    assert [model.key for model in shown.models] == ["c@2", "b@1", "a@1"]


def test_accuracy_comes_with_its_interval_and_count() -> None:
    shown = overview(state_of(models=[ModelView(name="a", version=1, quality=QualityView(joined=100, correct=96))]))
    assert shown is not None
    accuracy = shown.models[0].accuracy
    assert accuracy is not None
    assert (accuracy.share, accuracy.joined) == (0.96, 100)
    assert accuracy.low < 0.96 < accuracy.high


def test_long_lists_are_cut_and_say_so_and_the_section_stays_small() -> None:
    """Everything that has a name has a long one, and there is a lot of it."""
    long = "n" * 200
    numbers: dict[str, float | None] = {f"validation/{long[:30]}-{n}": 0.123456789 + n for n in range(30)}
    late = LatencyView(stage="total", count=900, p50_ms=1.23456789, p95_ms=2.3456789, p99_ms=3.456789)
    state = state_of(
        channels=[ChannelView(name=f"{long[:50]}{n}", total=10**9) for n in range(40)],
        models=[
            ModelView(
                name=f"{long[:50]}-{n}",
                version=n,
                labels=[f"{long[:50]}-{label}" for label in range(1_000)],
                requests=rate(n * 1.23456789),
                latency=late,
                quality=QualityView(joined=10**6, correct=900_001),
            )
            for n in range(100)
        ],
        runs=[
            RunView(
                run=f"01jd{n:022}",
                name=long,
                state="failed",
                metrics=numbers,
                best=numbers,
                params={f"{long[:30]}-{n}": long for n in range(50)},
                error=long * 5,
            )
            for n in range(300)
        ],
        workers=[
            WorkerView(
                worker=f"w{n}", kind="scorer", host=long[:40], pid=n, models={f"{long[:40]}{m}": m for m in range(20)}
            )
            for n in range(50)
        ],
        groups=[
            GroupView(channel=f"{long[:50]}{n}", group=long[:50], lag=n, oldest_ms=1.23456789e9) for n in range(40)
        ],
        latency=[late] * 4,
        alerts=[AlertView(name=f"alert {n}", subject=long[:50], text=long) for n in range(50)],
    )
    shown = overview(state)
    assert shown is not None
    assert (shown.cut.models, shown.cut.runs) == (100 - MODELS_SHOWN, 300 - RUNS_SHOWN)
    made = sections_of(state).section("overview")
    assert made is not None
    assert len(made) < 20_000


def test_a_regression_shows_its_errors_instead_of_a_matrix() -> None:
    # Three predictions, off by 1, 1 and 2, of the values 10, 20 and 30.
    quality = QualityView(joined=3, sum_abs=4, sum_sq=6, sum_y=60, sum_y2=1400)
    detail = model_detail(state_of(models=[ModelView(name="m", version=1, kind="regression", quality=quality)]), "m@1")
    assert detail is not None
    assert detail.mae == 4 / 3
    assert detail.rmse == 2**0.5
    assert detail.r2 == 1 - 6 / 200


def test_a_sample_carries_a_picture_and_the_names_of_its_classes() -> None:
    state = state_of(models=[ModelView(name="d", version=1, labels=["no", "yes"], image=(2, 2))])
    state.fold(
        PredictionSampled(
            time=10.004,
            model="d",
            version=1,
            prediction="0-1-1",
            request="q",
            inputs=[0.0, 4.0, 8.0, 16.0],
            label=1,
            confidence=0.9,
            created=10.0,
            rows_scored=7,
        ),
        Position(10_004, 1),
    )
    [row] = sample_rows(state.tail, state)
    assert (row.label, row.confidence, row.shape) == ("yes", 0.9, (2, 2))
    assert list(base64.b64decode(row.pixels)) == [0, 63, 127, 255]
    assert row.latency_ms == 4.0


def test_rows_that_are_no_picture_become_a_strip_and_odd_values_do_no_harm() -> None:
    state = state_of(models=[ModelView(name="d", version=1)])
    for n, inputs in enumerate(([1.0, float("nan"), 3.0], [], [0.0] * 5000, [2.0, 2.0])):
        sample = PredictionSampled(model="d", version=1, prediction=f"0-{n}-1", request="q", inputs=inputs, value=1.25)
        state.fold(sample, Position(n * 10_000 + 1, n + 1))
    rows = sample_rows(state.tail, state)
    assert [row.shape for row in rows] == [(1, 3), None, None, (1, 2)]
    assert rows[0].label == "1.25"
    assert rows[0].confidence is None


def test_a_moment_brings_points_samples_and_truths_by_name() -> None:
    state = State(epoch="e")
    state.fold(frame(models=[ModelView(name="m", version=1, labels=["cat", "dog"])]), Position(1, 1))
    sample = PredictionSampled(model="m", version=1, prediction="0-1-1", request="q", inputs=[1.0], label=1)
    state.fold(sample, Position(2000, 1))
    state.fold(PredictionJoined(model="m", version=1, predictions=["0-1-1"], predicted=[1], actual=[0]))
    run = RunView(run="r", name="r", state="running")
    state.fold(
        frame(
            models=[ModelView(name="m", version=1, labels=["cat", "dog"])],
            runs=[run],
            points={"r": {"loss": [(1, 0.5)]}},
        ),
        Position(3000, 2),
    )
    moment = json.loads(sections_of(state).moment(state.moments[-1]))
    assert moment["number"] == 2
    assert moment["points"] == {"r": {"loss": [[1, 0.5]]}}
    assert [row["label"] for row in moment["samples"]] == ["dog"]
    assert moment["truths"] == {"0-1-1": "cat"}


def test_the_past_is_complete_json() -> None:
    state = State(epoch="e")
    story = Story()
    for n in range(30):
        state.fold(story.frame(1000 + n / 4, n), Position(1 + n, n + 1))
    past = json.loads(sections_of(state).history())
    assert [tier["step_s"] for tier in past["tiers"]] == [0, 1, 3]
    raw = past["tiers"][0]
    assert len(raw["times"]) == 30
    assert {len(column) for column in raw["values"].values()} == {30}
    [(stride, points), *_] = [curves["loss"] for curves in past["curves"].values()]
    assert stride == 1
    assert points == sorted(points)


def test_a_new_state_is_never_answered_with_the_bytes_of_the_old_one() -> None:
    states = [state_of(aggregator="one")]
    sections = Sections(lambda: states[-1], lambda: STATUS)
    assert b"one" in (sections.section("overview") or b"")
    states.append(state_of(aggregator="two"))
    assert b"two" in (sections.section("overview") or b"")


def test_figures_keep_what_a_reader_zoomed() -> None:
    for figure in (figures.throughput(), figures.depth(), figures.latency(), figures.training()):
        layout = figure["layout"]
        assert layout["uirevision"]
        assert layout["yaxis"]["fixedrange"]
        assert figure["data"] == []
    assert figures.latency()["layout"]["yaxis"]["type"] == "log"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_id_on_a_page_is_there_once_and_every_card_is_named(page: Page) -> None:
    ids: list[str] = []
    tree: Any = page.root()
    for component in tree._traverse():
        ids += [component.id] if getattr(component, "id", None) else []
        if "card" in str(getattr(component, "className", "")).split():
            assert component.to_plotly_json()["props"]["aria-labelledby"] == f"title-{component.id}"
    assert len(ids) == len(set(ids))


def test_totals_leave_out_what_headrace_tells_of_itself_and_what_died() -> None:
    state = state_of(
        channels=[ChannelView(name=name, total=10) for name in ("requests", "labels", "results", "workers", "frames")],
        groups=[
            GroupView(channel="requests", group="scorers", lag=3, total=7, dead_total=2),
            GroupView(channel="labels", group="aggregators", total=9),
        ],
    )
    shown = overview(state)
    assert shown is not None
    assert (shown.published, shown.results) == (20, 5)


def test_a_sample_is_stamped_from_its_making_to_its_commit() -> None:
    state = state_of(models=[ModelView(name="d", version=1)])
    state.fold(
        PredictionSampled(
            model="d",
            version=1,
            prediction="0-10001-7",
            request="q",
            inputs=[0.0],
            created=10.0004,
            received=10.0021,
            scored=10.0031,
        ),
        Position(10_004, 1),
    )
    [row] = sample_rows(state.tail, state)
    assert row.stamps == [10.0004, 10.001, 10.0021, 10.0031, 10.004]
    assert row.latency_ms == pytest.approx(2.7)
