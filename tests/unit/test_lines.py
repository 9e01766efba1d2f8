"""Lines that programs print are read as what they say, and as nothing more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import SettingsError
from headrace.publisher.lines import NAMED, NAMES, Reading, reader


@pytest.mark.parametrize(
    ("pattern", "line", "step", "metrics"),
    [
        (
            "vw",
            "0.693147 0.693147            1            1.0  -1.0000   0.0000       31",
            1,
            {"average loss": 0.693147, "since last loss": 0.693147},
        ),
        (
            "vw",
            "0.298113 0.101000          100          100.0   1.0000   0.9876       31",
            100,
            {"average loss": 0.298113, "since last loss": 0.101},
        ),
        ("vw", "n.a.     n.a.                1            1.0  unknown   0.0000        6", None, None),
        ("vw", "average  since         example        example        current        current  current", None, None),
        (
            "liblinear",
            "iter  1 act 1.226e+02 pre 1.1e+02 delta 1.4e+00 f 2.77e+02 |g| 1.30e+02 CG   3",
            1,
            {"objective": 277.0, "gradient": 130.0},
        ),
        (
            "liblinear",
            "iter  2 f 1.5e+01 |g| 3.1e+00 CG   5 step_size 1.00e+00 ",
            2,
            {"objective": 15.0, "gradient": 3.1},
        ),
        ("sag", "Epoch 12, change: 0.0034", 12, {"change": 0.0034}),
        ("key-value", "step=3 loss=0.5 val/acc=9e-1", 3, {"loss": 0.5, "val/acc": 0.9}),
        ("key-value", "loss: 0.25 - accuracy: 0.9", None, {"loss": 0.25, "accuracy": 0.9}),
        ("key-value", "Epoch=2, LR = -1e-4", 2, {"LR": -1e-4}),
        ("key-value", "listening on http://127.0.0.1:8080/ since 12:30:01 v=1.2.3", None, None),
        ("key-value", "nothing to see", None, None),
        (
            "json",
            '{"step": 4, "loss": 0.5, "eval": {"f1": 1}, "ok": true, "name": "x"}',
            4,
            {"loss": 0.5, "eval/f1": 1.0},
        ),
        ("json", "{no json", None, None),
        ("json", "[1, 2]", None, None),
        ("auto", '{"loss": 1}', None, {"loss": 1.0}),
        ("auto", "Epoch 1, change: 1", 1, {"change": 1.0}),
        ("auto", "iter  2 f 1.5e+01 |g| 3.1e+00 CG   5", 2, {"objective": 15.0, "gradient": 3.1}),
        ("auto", "loss=2", None, {"loss": 2.0}),
        (r"it (?P<step>\d+) cost (?P<cost>\S+) (?P<word>\w+)", "it 7 cost 1.5 x", 7, {"cost": 1.5}),
        (r"cost (?P<cost>\S+)", "nothing", None, None),
    ],
)
def test_a_line_is_read(pattern: str, line: str, step: int | None, metrics: dict[str, float] | None) -> None:
    assert reader(pattern)(line) == (None if metrics is None else Reading(step, metrics))


@pytest.mark.parametrize("pattern", ["(", "loss", r"loss (\d+)"])
def test_a_pattern_that_gives_no_metrics_is_refused_with_the_names_there_are(pattern: str) -> None:
    with pytest.raises(SettingsError, match="key-value"):
        reader(pattern)


@given(st.text(), st.sampled_from(sorted(NAMED)))
def test_no_line_is_too_strange(line: str, pattern: str) -> None:
    found = reader(pattern)(line)
    assert found is None or len(found.metrics) <= NAMES


def test_numbers_that_are_not_finite_are_no_steps() -> None:
    found = reader("key-value")("step=nan loss=inf")
    assert found is not None
    assert found.step is None
    assert found.metrics["loss"] == float("inf")
