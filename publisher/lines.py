"""What programs print as they learn, read as metrics: one line in, a step and numbers out. Pure.

vw           the progress table of Vowpal Wabbit: average and recent loss by examples
liblinear    `iter  1 ... f 2.7e+02 |g| 1.3e+02 ...`: objective and size of the gradient
sag          `Epoch 3, change: 0.01` of scikit-learn's sag and saga: the change of the weights, which is no loss
key-value    `step=3 loss=0.5`, `loss: 0.5 - accuracy: 0.9`
json         `{"step": 3, "loss": 0.5}`
auto         the first of these that knows the line
anything else is a regular expression: its named groups are metrics, and the group `step` the step
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from headrace.errors import SettingsError

LINE_CHARS = 8_192
"""Longer lines are read up to here."""
NAMES = 20
"""Most metrics of a line."""
STEPS = ("step", "global_step", "iteration", "iter", "epoch", "batch", "round")
"""Keys that are the step, the first that is there."""
NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?(?:nan|inf)\b"

_LIBLINEAR = re.compile(rf"iter\s+(\d+)\s.*?\bf\s+({NUMBER})\s+\|g\|\s+({NUMBER})")
_SAG = re.compile(rf"Epoch (\d+), change: ({NUMBER})")
_VW = re.compile(rf"({NUMBER})\s+({NUMBER}|n\.a\.)\s+(\d+)\s+({NUMBER})\s+\S+\s+\S+\s+\d+(?:\s|$)")
_PAIR = re.compile(rf"(?<![\w./-])([A-Za-z_][\w./-]*)\s*[=:]\s*({NUMBER})(?![\w:/-]|\.\d)", re.IGNORECASE)


class Reading(NamedTuple):
    """What a line says; `step` is None where it names none."""

    step: int | None
    metrics: Mapping[str, float]


Pattern = Callable[[str], Reading | None]
"""Reads a line; None means that it says nothing."""


def vw(line: str) -> Reading | None:
    """A row of Vowpal Wabbit's progress table; its step is the number of examples."""
    found = _VW.match(line.strip())
    if found is None:
        return None
    metrics = {"average loss": float(found[1])}
    if found[2] != "n.a.":
        metrics["since last loss"] = float(found[2])
    return Reading(int(found[3]), metrics)


def liblinear(line: str) -> Reading | None:
    """An iteration of liblinear's Newton method."""
    found = _LIBLINEAR.match(line.strip())
    return Reading(int(found[1]), {"objective": float(found[2]), "gradient": float(found[3])}) if found else None


def sag(line: str) -> Reading | None:
    """An epoch of scikit-learn's sag or saga."""
    found = _SAG.match(line.strip())
    return Reading(int(found[1]), {"change": float(found[2])}) if found else None


def key_value(line: str) -> Reading | None:
    """Names and numbers joined by `=` or `:`."""
    return _stepped({name: float(value) for name, value in _PAIR.findall(line)[: NAMES + 1]})


def json_line(line: str) -> Reading | None:
    """A JSON object: its numbers, and those of objects in it as `outer/inner`."""
    if not line.lstrip().startswith("{"):
        return None
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    numbers: dict[str, float] = {}
    for name, value in found.items():
        inner = value.items() if isinstance(value, dict) else [("", value)]
        for under, one in inner:
            if isinstance(one, (int, float)) and not isinstance(one, bool):
                numbers[f"{name}/{under}" if under else name] = float(one)
    return _stepped(numbers)


def auto(line: str) -> Reading | None:
    """The first pattern that knows the line."""
    for pattern in (json_line, liblinear, sag, vw, key_value):
        if (found := pattern(line)) is not None:
            return found
    return None


NAMED: dict[str, Pattern] = {
    "auto": auto,
    "vw": vw,
    "liblinear": liblinear,
    "sag": sag,
    "key-value": key_value,
    "json": json_line,
}


def reader(pattern: Pattern | str) -> Pattern:
    """The pattern of that name, or of that regular expression. Raises SettingsError for one that names no group."""
    if callable(pattern):
        return pattern
    if pattern in NAMED:
        return NAMED[pattern]
    try:
        wanted = re.compile(pattern)
    except re.error as error:
        raise SettingsError(
            f"{pattern!r} is neither one of {', '.join(NAMED)} nor a regular expression: {error}"
        ) from None
    if not wanted.groupindex:
        raise SettingsError(
            f"{pattern!r} is neither one of {', '.join(NAMED)} nor has it groups with names, such as "
            r"`loss (?P<loss>[\d.]+)`"
        )

    def expression(line: str) -> Reading | None:
        found = wanted.search(line)
        if found is None:
            return None
        numbers: dict[str, float] = {}
        for name, text in found.groupdict().items():
            try:
                numbers[name] = float(text)
            except (TypeError, ValueError):
                continue
        return _stepped(numbers)

    return expression


def _stepped(numbers: dict[str, float]) -> Reading | None:
    """Numbers with the step taken out; None if nothing is left."""
    lowered = {name.lower(): name for name in reversed(list(numbers))}
    step = None
    for key in STEPS:
        value = numbers.get(lowered.get(key, ""), math.nan)
        if math.isfinite(value) and value == int(value):
            step = int(value)
            del numbers[lowered[key]]
            break
    return Reading(step, dict(list(numbers.items())[:NAMES])) if numbers else None
