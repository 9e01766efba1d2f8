"""The models page: what its sections say, which inputs and versions it finds, and what a promotion by hand does."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from headrace.bus import Entry
from headrace.dashboard.app import create_app
from headrace.dashboard.looks.mistakes import READS, Mistakes, Worst, row_of
from headrace.dashboard.looks.versions import Stored, Versions, service_at
from headrace.dashboard.sections import Sections
from headrace.dashboard.sections.models import model_quality, models
from headrace.dashboard.state import State
from headrace.dashboard.trails import MOST, PAIRS
from headrace.errors import UnavailableError
from headrace.events import ActionTaken, Frame, LatencyView, Matrix, ModelPromoted, ModelView, QualityView
from headrace.models.evaluation import wilson
from headrace.models.registry import Registry
from headrace.positions import Position
from headrace.settings import Settings
from tests.unit.frames import Story, StoryBus, frame, rate
from tests.unit.served import FORGOTTEN, mistakes, shelf
from tests.unit.test_dashboard_sections import STATUS, sections_of, state_of

NOW = 1_763_800_000.0


def folded(*frames: Frame) -> State:
    state = State(epoch="e")
    for number, one in enumerate(frames, start=1):
        state.fold(one, Position(number, number))
    return state


def told(quality: QualityView, kind: str = "classification", **fields: Any) -> ModelView:
    return ModelView(name="m", version=1, kind=kind, quality=quality, **fields)


# Sections


def test_models_in_service_come_first_and_their_newest_versions_before_older_ones() -> None:
    found = models(
        state_of(
            models=[
                ModelView(name="b", version=1),
                ModelView(name="b", version=2, champion=True, requests=rate(4)),
                ModelView(name="a", version=9),
                ModelView(name="a", version=10),
            ]
        )
    )
    assert found is not None
    assert [line.key for line in found.lines] == ["b@2", "a@10", "a@9", "b@1"]
    assert found.lines[0].requests_s == 4


def test_every_share_comes_with_its_count_and_interval() -> None:
    quality = QualityView(
        joined=40,
        correct=30,
        recent=[(NOW - 400, 20, 10), (NOW - 10, 20, 20)],
        calibration=[(0, 0, 0.0), (10, 5, 6.0), (30, 25, 27.0), (0, 0, 0.0)],
    )
    found = model_quality(state_of(time=NOW, models=[told(quality)]), "m@1")
    assert found is not None
    assert found.accuracy is not None
    assert (found.accuracy.share, found.accuracy.joined) == (0.75, 40)
    assert found.lately is not None
    assert (found.lately.share, found.lately.joined) == (1.0, 20)
    assert [(slot.joined, slot.correct) for slot in found.over_time] == [(20, 10), (20, 20)]
    assert found.over_time[0].low == pytest.approx(wilson(10, 20).low, abs=1e-4)
    assert [(one.start, one.joined, one.confidence, one.share) for one in found.calibration] == [
        (0.25, 10, 0.6, 0.5),
        (0.5, 30, 0.9, pytest.approx(25 / 30, abs=1e-5)),
    ]
    # |6 - 5| and |27 - 25| of 40 labels
    assert found.calibration_error == pytest.approx(3 / 40)


def test_a_regression_has_errors_over_time_and_no_shares() -> None:
    errors = [(NOW - 70, 2, 4.0, 8.0, 30.0, 500.0), (NOW - 10, 2, 2.0, 2.0, 30.0, 500.0), (NOW, 1, 1.0, 1.0, 7.0, 49.0)]
    quality = QualityView(joined=5, sum_abs=7, sum_sq=11, sum_y=67, sum_y2=1049, errors=errors, pairs=[(1.0, 2.0)])
    found = model_quality(state_of(time=NOW, models=[told(quality, "regression")]), "m@1")
    assert found is not None
    assert (found.accuracy, found.lately, found.over_time, found.confusion) == (None, None, [], [])
    assert [(one.joined, one.mae) for one in found.errors] == [(2, 2.0), (2, 1.0), (1, 1.0)]
    # The minute before the last slice: 3 labels, 10, 20 and 7, with squared errors of 3 in all.
    assert found.errors[-1].r2 == pytest.approx(1 - 3 / (549 - 37**2 / 3), abs=1e-4)
    assert found.mae == 7 / 5
    assert found.pairs == [(1.0, 2.0)]


def test_pairs_and_labels_gather_over_frames_without_being_taken_twice() -> None:
    def at(second: int, joined: int) -> Frame:
        pairs = [(float(n), 0.0) for n in range(max(0, joined - 3), joined)]
        recent = [(float(10 * (second // 10)), joined, 0)]
        return frame(
            time=NOW + second,
            models=[told(QualityView(joined=joined, pairs=pairs, recent=recent), "regression")],
        )

    trail = folded(at(0, 2), at(1, 2), at(2, 4), at(12, 5)).trails.get("m@1")
    assert trail is not None
    assert [predicted for predicted, _ in trail.pairs] == [0, 1, 2, 3, 4]
    assert trail.labels == {0.0: (4, 0), 10.0: (5, 0)}
    many = folded(*(at(second, second) for second in range(PAIRS + 50))).trails.get("m@1")
    assert many is not None
    assert len(many.pairs) == PAIRS


def test_the_trail_of_a_model_holds_rates_times_and_classes_and_costs_the_others_nothing() -> None:
    late = LatencyView(stage="total", count=3, p50_ms=1.0, p95_ms=2.0, p99_ms=3.0)
    view = told(QualityView(), requests=rate(8), rows=rate(16), latency=late, mix=[30, 60])
    state = folded(*(frame(time=NOW + n / 4, models=[view]) for n in range(40)))
    sections = Sections(lambda: state, lambda: STATUS)
    made = json.loads(sections.section("trail:300:m@1") or b"")
    assert made["step_s"] == 2
    assert made["values"]["class:1"][-1] == 2.0
    assert {name: column[-1] for name, column in made["values"].items()} == {
        "requests": 8,
        "rows": 16,
        "p50": 1,
        "p95": 2,
        "p99": 3,
        "class:0": 1,
        "class:1": 2,
    }
    assert json.loads(sections.section("trail:900:m@1") or b"")["step_s"] == 6
    assert sections.section("trail:x:m@1") is None
    assert sections.section("trail:300:other@1") is None
    assert b"class:" not in sections.history()


def test_trails_are_bounded_and_the_sections_of_the_page_stay_small() -> None:
    crowd = [ModelView(name=f"model-{n}", version=1, champion=True) for n in range(MOST + 50)]
    state = state_of(models=crowd)
    assert state.trails.get("model-0@1") is None
    assert state.trails.get(f"model-{MOST + 49}@1") is not None
    sections = sections_of(folded(*(Story().frame(NOW + n, n) for n in range(320))))
    for name, most in (("quality:digits@3", 8_000), ("quality:diabetes@1", 8_000), ("trail:300:digits@3", 20_000)):
        made = sections.section(name)
        assert made is not None
        assert len(made) < most, name


# Inputs of mistakes


class Log(StoryBus):
    """Counts the reads."""

    reads = 0

    async def read(self, *words: Any, **named: Any) -> list[Entry]:
        self.reads += 1
        return await super().read(*words, **named)


async def test_the_inputs_of_the_worst_mistakes_are_read_once_and_a_few_at_a_time() -> None:
    bus, look = Log(Settings(), Story(), past_s=0), Worst()
    now = time.time()
    state = folded(Story().frame(now, 1))
    first = (await look.look(bus, state, ["worst:digits@3"]))["worst:digits@3"]
    assert isinstance(first, Mistakes)
    assert (bus.reads, sum(row.looked for row in first.rows)) == (READS, READS)
    for _ in range(4):
        found = (await look.look(bus, state, ["worst:digits@3", "worst:nobody@1"]))["worst:digits@3"]
    assert isinstance(found, Mistakes)
    assert bus.reads == len(found.rows)
    for n, (row, (place, actual, said, sure)) in enumerate(zip(found.rows, mistakes(now), strict=True)):
        assert (row.id, row.actual, row.predicted, row.confidence) == (f"0-{place}", str(actual), str(said), sure)
        assert row.cell == f"{actual}-{said}"
        kept = n % FORGOTTEN != FORGOTTEN - 1
        assert (len(base64.b64decode(row.pixels)), row.shape) == ((64, (8, 8)) if kept else (0, None))


def test_one_row_is_taken_from_a_request_whichever_way_it_travelled() -> None:
    data = b"".join(value.to_bytes(2, "little") for value in (1, 2, 3, 4))
    assert row_of(Matrix("<i2", (2, 2), data), 1) == [3.0, 4.0]
    assert row_of([[1.0, 2.0], [3, 4.5]], 1) == [3.0, 4.5]
    assert row_of(Matrix("<i2", (2, 2), data[:-1]), 1) == []
    assert row_of(Matrix("<c8", (2, 2), data), 1) == []
    assert row_of([[1.0]], 1) == []
    assert row_of([[0.0] * 5000], 0) == []


# Versions


async def versions(bus: StoryBus, state: State, look: Stored | None = None) -> Versions:
    found = (await (look or Stored()).look(bus, state, ["versions:digits"]))["versions:digits"]
    assert isinstance(found, Versions)
    return found


async def test_versions_come_from_the_registry_with_metrics_libraries_and_where_a_rollback_goes(
    tmp_path: Path,
) -> None:
    shelf(tmp_path)
    found = await versions(StoryBus(Settings(models=tmp_path), Story(), past_s=0), State())
    assert [(row.version, row.in_service) for row in found.rows] == [(3, True), (2, False), (1, False)]
    assert found.rows[0].metrics["accuracy"] == 0.973
    assert "scikit-learn" in found.rows[0].libraries
    assert (found.back, found.reason, found.cut) == (2, "", 0)
    assert [(one.version, one.previous) for one in found.changes] == [(3, 2), (2, 0)]


async def test_a_promotion_is_seen_at_the_next_look(tmp_path: Path) -> None:
    registry, look = shelf(tmp_path), Stored(clock=lambda: 0.0)
    bus = StoryBus(Settings(models=tmp_path), Story(), past_s=0)
    before = await versions(bus, State(), look)
    assert await versions(bus, State(), look) is before
    registry.promote("digits", 1)
    assert [row.version for row in (await versions(bus, State(), look)).rows if row.in_service] == [1]


def test_every_change_of_what_is_in_service_can_be_undone(tmp_path: Path) -> None:
    registry, began = shelf(tmp_path), datetime.now(UTC)
    known = [(began, registry.service("digits"))]
    steps: list[Callable[[datetime], object]] = [
        lambda at: registry.promote("digits", 1, at),
        lambda at: registry.rollback("digits", at),
        lambda at: registry.promote("digits", 3, at),
        lambda at: registry.rollback("digits", at),
    ]
    for n, step in enumerate(steps, start=1):
        step(began + timedelta(hours=n))
        known.append((began + timedelta(hours=n), registry.service("digits")))
    now = registry.service("digits")
    assert [service_at(now, at) for at, _ in known] == [service for _, service in known]


async def test_without_a_registry_the_frames_tell_which_versions_there_are_and_why_nothing_can_be_changed(
    tmp_path: Path,
) -> None:
    bus = StoryBus(Settings(models=tmp_path / "nowhere"), Story(), past_s=0)
    found = await versions(bus, folded(Story().frame(NOW, 1)))
    assert [(row.version, row.in_service) for row in found.rows] == [(3, True), (2, False)]
    assert "HEADRACE_MODELS" in found.reason


# Promotion and rollback by hand


@pytest.fixture
def bus(tmp_path: Path) -> StoryBus:
    shelf(tmp_path)
    return StoryBus(Settings(models=tmp_path), Story(), past_s=0)


@pytest.fixture
async def client(bus: StoryBus) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(bus.settings, bus))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


async def test_a_promotion_changes_the_registry_and_tells_scorers_and_the_audit(
    client: httpx.AsyncClient, bus: StoryBus
) -> None:
    answer = await client.post("/api/models/digits/promote", json={"version": 1})
    assert (answer.status_code, answer.json()["previous"], answer.json()["told"]) == (200, 3, True)
    assert answer.json()["text"] == "digits version 1 is in service, in place of version 3"
    stored = Registry(bus.settings.models).champion("digits")
    promoted, action = bus.published
    assert isinstance(promoted, ModelPromoted)
    assert (promoted.model, promoted.version, promoted.sha256) == ("digits", 1, stored.sha256)
    assert (promoted.previous, promoted.reason) == (3, "promoted by hand")
    assert isinstance(action, ActionTaken)
    assert (action.action, action.actor, action.subject, action.text) == (
        "promote",
        "local",
        "digits",
        answer.json()["text"],
    )


async def test_a_rollback_brings_back_what_was_before_until_there_is_nothing(
    client: httpx.AsyncClient, bus: StoryBus
) -> None:
    answer = await client.post("/api/models/digits/rollback")
    assert (answer.status_code, answer.json()["version"]) == (200, 2)
    assert [type(event) for event in bus.published] == [ModelPromoted, ActionTaken]
    refused = await client.post("/api/models/digits/rollback")
    assert refused.status_code == 409
    assert "promote another version" in refused.json()["error"]
    assert len(bus.published) == 2


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("digits/promote", b'{"version": 9}', 404, "digits version 3"),
        ("nobody/promote", b'{"version": 1}', 404, "known: digits"),
        ("nobody/rollback", b"", 404, "known: digits"),
        ("..%2f..%2fx/promote", b'{"version": 1}', 404, ""),
        ("digits/promote", b'{"version": "x"}', 400, "not understood"),
        ("digits/promote", b"", 400, "not understood"),
    ],
)
async def test_what_cannot_be_done_is_refused_with_what_to_do(
    client: httpx.AsyncClient, bus: StoryBus, path: str, body: bytes, status: int, said: str
) -> None:
    answer = await client.post(f"/api/models/{path}", content=body)
    assert answer.status_code == status
    assert said in answer.text
    assert bus.published == []


async def test_a_registry_on_another_machine_is_said(tmp_path: Path) -> None:
    bus = StoryBus(Settings(models=tmp_path / "nowhere"), Story(), past_s=0)
    transport = httpx.ASGITransport(create_app(bus.settings, bus))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.post("/api/models/digits/rollback")
    assert answer.status_code == 409
    assert "headrace models rollback digits" in answer.json()["error"]


async def test_a_server_that_does_not_answer_is_said_and_the_registry_is_changed_all_the_same(
    client: httpx.AsyncClient, bus: StoryBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*words: object, **named: object) -> None:
        raise UnavailableError("redis://x", "gone")

    monkeypatch.setattr(bus, "publish", away)
    answer = await client.post("/api/models/digits/promote", json={"version": 2})
    assert answer.status_code == 200
    assert answer.json()["told"] is False
    assert "may not have been told" in answer.json()["text"]
    assert Registry(bus.settings.models).champion("digits").version == 2


async def test_a_foreign_page_cannot_promote(client: httpx.AsyncClient, bus: StoryBus) -> None:
    answer = await client.post(
        "/api/models/digits/promote", json={"version": 1}, headers={"origin": "http://evil.example"}
    )
    assert answer.status_code == 403
    assert bus.published == []
