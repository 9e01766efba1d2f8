"""Events from files: JSON lines as they are, CSV rows as prediction requests, at a rate. Pure but for what it is given.

A line that is no event spoils nothing: it comes out as an error that names the line, and reading goes on.
"""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import BinaryIO, NamedTuple, TypeVar

from headrace.arrays import pack_rows
from headrace.codec import decode
from headrace.errors import CodecError, EventError, SettingsError
from headrace.events import Event, PredictionRequested

T = TypeVar("T")

BURST_S = 0.25
"""After a stall, at most so much of the schedule is caught up at once; the rest is put off."""
MISSING = frozenset({"", "na", "nan", "null", "none", "?"})
"""What stands for a missing value in a cell, in small letters."""


class Line(NamedTuple):
    """One line of a file: the event in it, or why there is none."""

    number: int
    event: Event | None
    error: EventError | CodecError | None


class Row(NamedTuple):
    """One row of a table: the request made of it and its label, or why there is none."""

    number: int
    request: PredictionRequested | None
    label: str | int | float | None
    error: EventError | None


def lines(stream: BinaryIO, limit_bytes: int) -> Iterator[Line]:
    """Events of a JSON lines stream, one at a time; empty lines are skipped, a too long one is an error."""
    number = 0
    while raw := stream.readline(limit_bytes + 2):
        number += 1
        if len(raw.rstrip(b"\r\n")) > limit_bytes:
            while not raw.endswith(b"\n") and (raw := stream.readline(65_536)):
                pass
            yield Line(number, None, EventError(f"line {number}: longer than the limit of {limit_bytes} bytes"))
            continue
        text = raw.strip()
        if not text:
            continue
        try:
            if not text.startswith(b"{"):
                shown = text[:20].decode("utf-8", "replace")
                raise CodecError(f"not a JSON object: it begins with {shown!r}")
            yield Line(number, decode(text), None)
        except CodecError as error:
            yield Line(number, None, CodecError(f"line {number}: {error}"))


def rows(
    table: Iterable[str],
    model: str,
    *,
    label: str = "",
    features: Sequence[str] = (),
    version: int = 0,
    delimiter: str = ",",
) -> Iterator[Row]:
    """A request for each row of a CSV table, whose first line names the columns.

    `features` are the columns the model takes, in its order (default: all but `label`); `label` is the column with the
    truth, published later. An empty cell is a missing value. Raises SettingsError for columns that the table lacks.
    """
    reader = csv.reader(table, delimiter=delimiter)
    header = [name.strip().lstrip("\ufeff") for name in next(reader, [])]
    wanted = list(features) or [name for name in header if name != label]
    absent = [name for name in [*wanted, *([label] if label else [])] if name not in header]
    if absent or not wanted:
        lacks = ", ".join(map(repr, absent)) or "any columns"
        raise SettingsError(f"the table lacks {lacks}; its first line names: {', '.join(header) or 'nothing'}")
    places = [header.index(name) for name in wanted]
    truth = header.index(label) if label else -1
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield Row(reader.line_num, None, None, EventError(f"line {reader.line_num}: {error}"))
            continue
        if cells is None:
            return
        if cells:
            yield _row(reader.line_num, cells, header, places, truth, model, version)


def _row(
    number: int, cells: list[str], header: list[str], places: list[int], truth: int, model: str, version: int
) -> Row:
    try:
        if len(cells) != len(header):
            raise EventError(f"line {number}: {len(cells)} cells, but the first line names {len(header)} columns")
        values = [_number(number, header[place], cells[place]) for place in places]
        known = _label(cells[truth]) if truth >= 0 else None
    except EventError as error:
        return Row(number, None, None, error)
    request = PredictionRequested(model=model, version=version, inputs=pack_rows([values]), label=known is not None)
    return Row(number, request, known, None)


def _number(line: int, column: str, cell: str) -> float:
    text = cell.strip()
    if text.lower() in MISSING:
        return math.nan
    try:
        return float(text)
    except ValueError:
        raise EventError(f"line {line}: column {column!r}: {text[:40]!r} is not a number") from None


def _label(cell: str) -> str | int | float | None:
    """A class index, a value or a class name, by how it is written; None if the cell is empty."""
    text = cell.strip()
    if not text:
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def paced(
    items: Iterable[T],
    rate: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[T]:
    """The items, `rate` a second by a schedule that does not drift; 0 means as fast as they are taken."""
    if rate <= 0:
        yield from items
        return
    due = clock()
    for item in items:
        now = clock()
        if due > now:
            sleep(due - now)
        else:
            due = max(due, now - BURST_S)
        yield item
        due += 1 / rate
