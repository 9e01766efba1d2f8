"""What becomes of a batch of requests: scored in one go, and whatever is wrong is found alone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.arrays import pack, pack_rows, unpack_any
from headrace.bus import Batch, Decision
from headrace.codec import decode, encode
from headrace.errors import InputError, ModelError, UnknownModelError
from headrace.events import PredictionRequested, PredictionScored, RunAlive, new_id
from headrace.models.datasets import load
from headrace.models.model import Model
from headrace.models.registry import Registry
from headrace.models.training import train
from headrace.subscriber.scoring import results
from headrace.subscriber.scoring.outcome import Outcome, score
from headrace.waiting import Waiting

NOW = 1_763_800_000.0


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """Digits and diabetes in service."""
    found = Registry(tmp_path_factory.mktemp("models"))
    for name in ("digits", "diabetes"):
        trained = train(name)
        found.promote(name, found.save(trained.estimator, trained.card).version)
    return found


@pytest.fixture(scope="module")
def models(registry: Registry) -> Any:
    opened = {name: registry.open(name) for name in ("digits", "diabetes")}

    def get(name: str, version: int) -> Model:
        if name not in opened or version not in (0, 1):
            raise UnknownModelError(name, tuple(opened))
        return opened[name]

    return get


def request(inputs: Any, model: str = "digits", **more: Any) -> bytes:
    return encode(PredictionRequested(id=new_id(), time=NOW, model=model, inputs=inputs, **more))


def digits(start: int, stop: int) -> Any:
    return load("digits").held_out_x[start:stop].astype("<f4")


def labels_of(outcome: Outcome) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for scored in outcome.scored:
        assert scored.scores.labels is not None
        at = 0
        for place, rows in zip(scored.places, scored.rows, strict=True):
            found[place] = scored.scores.labels[at : at + rows].tolist()
            at += rows
    return found


def test_a_batch_is_scored_as_the_model_alone_would(models: Any) -> None:
    rows = digits(0, 300)
    outcome = score([request(pack(rows[i : i + 1])) for i in range(300)], models, NOW)
    expected = models("digits", 0).estimator.predict(rows.astype("<f8")).tolist()
    assert [labels_of(outcome)[i] for i in range(300)] == [[label] for label in expected]
    assert not outcome.rejected
    assert not outcome.failed
    assert len(outcome.scored) == 1


def test_rows_of_any_form_and_number_keep_their_owners(models: Any) -> None:
    rows = digits(0, 12)
    payloads = [
        request(pack(rows[0:3])),
        request(rows[3:4].tolist()),
        request(pack(rows[4:9].astype("<f8"))),
        encode(PredictionRequested(id="j", model="digits", inputs=rows[9:12].tolist()), "json"),
    ]
    expected = models("digits", 0).estimator.predict(rows.astype("<f8")).tolist()
    found = labels_of(score(payloads, models, NOW))
    assert [found[i] for i in range(4)] == [expected[0:3], expected[3:4], expected[4:9], expected[9:12]]


WRONG: dict[str, tuple[bytes, str]] = {
    "too narrow": (request(pack(np.zeros((1, 63), "<f4"))), "takes 64 features, got 63"),
    "not finite": (request(pack(np.full((1, 64), np.nan, "<f4"))), "finite"),
    "infinite": (request(pack(np.full((1, 64), np.inf, "<f4"))), "finite"),
    "missing values": (request([[None] * 64]), "finite"),
    "ragged": (request([[1.0] * 64, [1.0]]), "row 1 has 1 values"),
    "no rows": (request([]), "at least one row"),
    "unknown model": (request(pack(np.zeros((1, 64), "<f4")), "nobody"), "unknown model 'nobody'; known: "),
    "unknown version": (request(pack(np.zeros((1, 64), "<f4")), version=9), "unknown model"),
    "late": (request(pack(np.zeros((1, 64), "<f4")), deadline=NOW - 2), "deadline had passed 2.000 s ago"),
    "no request": (encode(RunAlive(run="r")), "a run.alive event is not a request"),
    "text for numbers": (b'{"type":"prediction.requested","model":"digits","inputs":[["a"]]}', "Expected"),
    "unknown type": (b'{"type":"prediction.wished"}', "unknown event type 'prediction.wished'"),
    "truncated": (request(pack(np.zeros((1, 64), "<f4")))[:40], "truncated"),
    "no event": (b"\x00\x01", "not an event"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_request_is_rejected_alone_with_its_reason(models: Any, name: str) -> None:
    payload, reason = WRONG[name]
    good = request(pack(digits(0, 1)))
    outcome = score([good, payload, good], models, NOW)
    assert list(outcome.rejected) == [1]
    assert reason in outcome.rejected[1]
    assert sorted(labels_of(outcome)) == [0, 2]


@settings(deadline=None, max_examples=25)
@given(st.lists(st.sampled_from([None, *WRONG]), max_size=40))
def test_each_request_has_one_outcome_in_any_mixture(mixture: list[str | None]) -> None:
    card_models = _models()
    good = request(pack(np.zeros((1, 64), "<f4")))
    outcome = score([WRONG[name][0] if name else good for name in mixture], card_models, NOW)
    decided = [place for scored in outcome.scored for place in scored.places] + list(outcome.rejected)
    assert sorted(decided) == list(range(len(mixture)))
    assert sorted(outcome.rejected) == [place for place, name in enumerate(mixture) if name]


def test_what_is_too_large_is_rejected_alone(models: Any) -> None:
    fine, large, wide = request(pack(digits(0, 1))), request(pack(digits(0, 40))), request(pack(digits(0, 9)))
    limit = len(wide)
    outcome = score([fine, large, wide, fine], models, NOW, limit)
    assert f"{len(large):,} bytes is over the limit of {limit:,}" in outcome.rejected[1]
    assert sorted(labels_of(outcome)) == [0, 2, 3]
    small = score([request(digits(0, 2).astype("<f8").tolist())], models, NOW, 60)
    assert "over the limit" in small.rejected[0]


def test_results_too_large_for_one_event_come_in_several(models: Any) -> None:
    rows = digits(0, 30)
    payloads = [request(pack(rows[i : i + 3])) for i in range(0, 30, 3)]
    outcome = score(payloads, models, NOW, 1000)
    first, second = [scored.places for scored in outcome.scored]
    assert first + second == list(range(10))
    assert len(first) >= 6
    for scored in outcome.scored:
        assert sum(scored.rows) * 42 + sum(len(request.id) for request in scored.requests) <= 1000
    expected = models("digits", 0).estimator.predict(rows.astype("<f8")).tolist()
    assert [label for place in range(10) for label in labels_of(outcome)[place]] == expected


class Touchy:
    """A model that fails on rows that begin with 13, though its check lets them pass."""

    name, version, kind, labels, n_features = "digits", 1, "classification", tuple("01"), 64

    def check(self, matrix: Any) -> None:
        if matrix.shape[1] != 64:
            raise InputError("takes 64 features")
        if not np.isfinite(matrix).all():
            raise InputError("takes finite numbers")

    def score(self, matrix: Any) -> Any:
        from headrace.models.model import Scores

        if (matrix[:, 0] == 13).any():
            raise RuntimeError("unlucky")
        return Scores(np.zeros(len(matrix), "<i8"), np.ones((len(matrix), 2), "<f4"))


def _models() -> Any:
    def get(name: str, version: int) -> Any:
        if name != "digits" or version > 1:
            raise UnknownModelError(name, ("digits",))
        return Touchy()

    return get


def test_a_request_that_breaks_the_model_is_found_alone() -> None:
    rows = np.zeros((100, 64), "<f4")
    rows[[17, 61], 0] = 13
    outcome = score([request(pack(row[None])) for row in rows], _models(), NOW)
    assert sorted(outcome.failed) == [17, 61]
    assert "RuntimeError: unlucky" in outcome.failed[17]
    assert sum(len(scored.places) for scored in outcome.scored) == 98


def test_results_and_replies_carry_the_rows_of_their_requests(models: Any) -> None:
    rows = digits(0, 6)
    payloads = [
        request(pack(rows[0:1]), reply_to="a"),
        request(pack(rows[1:4]), reply_to="b"),
        encode(PredictionRequested(id="x", model="digits", inputs=rows[4:6].tolist(), reply_to="a"), "json"),
    ]
    ids = [b"5-1", b"5-2", b"5-3"]
    [scored] = score(payloads, models, NOW).scored
    whole, replies = results.packed(scored, ids, payloads, 0, "w", NOW, NOW)
    event, answers = decode(whole), dict(replies)
    assert isinstance(event, PredictionScored)
    assert event.positions == "5-1 5-2 5-3"
    assert event.rows == [1, 3, 2]
    expected = models("digits", 0).estimator.predict(rows.astype("<f8")).tolist()
    assert unpack_any(event.labels).tolist() == expected  # type: ignore[union-attr]
    to_a, to_b = decode(answers["a"]), decode(answers["b"])
    assert isinstance(to_a, PredictionScored)
    assert isinstance(to_b, PredictionScored)
    assert (to_a.positions, to_a.rows, to_b.positions, to_b.rows) == ("5-1 5-3", [1, 2], "5-2", [3])
    assert unpack_any(to_a.labels).tolist() == [expected[0], *expected[4:6]]  # type: ignore[union-attr]
    assert unpack_any(to_b.labels).tolist() == expected[1:4]  # type: ignore[union-attr]
    assert to_a.names == list(models("digits", 0).labels)
    assert unpack_any(to_a.probabilities).shape == (3, 10)  # type: ignore[union-attr]


def test_statistics_count_requests_rows_classes_and_confidence(models: Any) -> None:
    [scored] = score([request(pack(digits(0, 4))), request(pack(digits(4, 5)))], models, NOW).scored
    work = Decision(partition=0, batch=Batch("c", [], []))
    results.count(work, scored)
    counters = work._counters
    assert counters["req:digits:1"] == 2
    assert counters["row:digits:1"] == 5
    assert sum(n for name, n in counters.items() if name.startswith("cls:digits:1:")) == 5
    assert sum(n for name, n in counters.items() if name.startswith("conf:digits:1:")) == 5


def test_predictions_wait_for_the_labels_that_were_announced(models: Any) -> None:
    payloads = [request(pack(digits(0, 1))), request(pack(digits(1, 3)), label=True)]
    [scored] = score(payloads, models, NOW).scored
    work = Decision(partition=0, batch=Batch("c", [], []))
    results.wait_for_labels(work, scored, [b"60000-1", b"60000-2"])
    [(minute, kept)] = work._waits.items()
    assert (minute, list(kept)) == (1, ["60000-2"])
    waiting = Waiting.decode(kept["60000-2"])
    assert (waiting.model, waiting.version, waiting.kind, len(waiting.predicted)) == ("digits", 1, "c", 2)
    assert all(0 < p <= 1 for p in waiting.confidence)


def test_regression_gives_values(models: Any) -> None:
    rows = load("diabetes").held_out_x[:5]
    payloads = [request(pack_rows(rows), "diabetes", reply_to="a")]
    [scored] = score(payloads, models, NOW).scored
    whole, replies = results.packed(scored, [b"5-1"], payloads, 0, "w", NOW, NOW)
    assert replies == [("a", whole)]
    event = decode(whole)
    assert isinstance(event, PredictionScored)
    assert event.labels is None
    assert unpack_any(event.values).tolist() == pytest.approx(models("diabetes", 0).estimator.predict(rows).tolist())  # type: ignore[union-attr]


@pytest.fixture
def clock() -> list[float]:
    return [0.0]


def test_the_shelf_keeps_what_it_has_when_a_version_is_refused(registry: Registry, tmp_path: Path, clock: Any) -> None:
    from headrace.subscriber.scoring.shelf import Shelf

    shelf = Shelf(registry, clock=lambda: clock[0])
    assert shelf.load() == []
    with pytest.raises(ModelError):
        shelf.promote("digits", 99)
    assert shelf.get("digits").version == 1
    assert shelf.versions() == {"digits": 1, "diabetes": 1}


def test_an_unknown_name_is_looked_up_again_after_a_second(registry: Registry, clock: Any) -> None:
    from headrace.subscriber.scoring.shelf import Shelf

    shelf = Shelf(registry, clock=lambda: clock[0])
    with pytest.raises(UnknownModelError, match="unknown model 'late'"):
        shelf.get("late")
    trained = train("diabetes")
    from msgspec.structs import replace

    registry.promote("late", registry.save(trained.estimator, replace(trained.card, name="late")).version)
    with pytest.raises(UnknownModelError):
        shelf.get("late")
    clock[0] += 1.1
    assert shelf.get("late").name == "late"


def test_scoring_is_quick_enough_to_be_one_call_a_batch(models: Any) -> None:
    calls: list[int] = []
    model = models("digits", 0)
    original = model._predict

    def counting(matrix: Any) -> Any:
        calls.append(len(matrix))
        return original(matrix)

    model._predict = counting
    try:
        score([request(pack(digits(0, 1))) for _ in range(512)], models, time.time())
    finally:
        model._predict = original
    assert calls == [512]
