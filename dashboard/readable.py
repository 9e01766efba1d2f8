"""An event's bytes as people read them: its own fields, with arrays, bytes and long texts cut to their beginning. Pure.

What stands in the log is shown as it is, whatever version wrote it; nothing is checked against the types of this one.
"""

from __future__ import annotations

import math
import sys
from array import array
from typing import Any

import msgspec

from headrace.codec import codec_of
from headrace.errors import CodecError

VALUES = 12
ITEMS = 100
TEXT = 4_000
DEPTH = 12
LINE = 240
CODES = {"<f4": "f", "<f8": "d", "<i2": "h", "<i4": "i", "<i8": "q"}
QUIET = frozenset({"type", "id", "source", "time", "subject"})
"""Attributes that have a column of their own."""


def fields(payload: bytes) -> dict[str, Any]:
    """An event's fields as they travelled. Raises CodecError."""
    decoder = msgspec.json.decode if codec_of(payload) == "json" else msgspec.msgpack.decode
    try:
        found = decoder(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CodecError(f"not an event: {error}") from None
    if not isinstance(found, dict):
        raise CodecError("not an event: it has no fields")
    return found


def readable(payload: bytes) -> dict[str, Any]:
    """An event as JSON that a person can read; bytes that are none as `undecodable` with their beginning."""
    try:
        found = fields(payload)
    except CodecError as error:
        return {"undecodable": str(error), "bytes": len(payload), "begins": payload[:64].hex(" ")}
    first = [name for name in ("type", "id", "source", "time", "subject") if name in found]
    order = [*first, *(name for name in found if name not in first)]
    return {str(name): _short(found[name], 0) for name in order}


def line(found: dict[str, Any]) -> str:
    """An event's own fields on one line."""
    parts = []
    room = LINE
    for name, value in found.items():
        if name in QUIET or room <= 0:
            continue
        part = f"{name}={_word(value)}"
        parts.append(part)
        room -= len(part) + 1
    text = " ".join(parts)
    return text if len(text) <= LINE else f"{text[: LINE - 1]}…"


def first_row(inputs: Any) -> list[float]:
    """The first row of a request's inputs as numbers; empty if they are none."""
    match inputs:
        case {"dtype": str(dtype), "shape": [_, int(width), *_], "data": bytes(data)}:
            values, _ = _values(dtype, data, width)
            return [float(value) for value in values]
        case [[*row], *_] if all(isinstance(value, (int, float)) for value in row):
            return [float(value) for value in row]
        case [*row] if row and all(isinstance(value, (int, float)) for value in row):
            return [float(value) for value in row]
    return []


def _short(value: Any, depth: int) -> Any:
    match value:
        case {"dtype": str(dtype), "shape": shape, "data": bytes(data)}:
            values, total = _values(dtype, data, VALUES)
            return {
                "dtype": dtype,
                "shape": shape,
                "bytes": len(data),
                "first": [_number(one) for one in values] + (["…"] if total > len(values) else []),
            }
        case _ if depth >= DEPTH:
            return "…"
        case bytes():
            return _bytes(value, depth)
        case str():
            return value if len(value) <= TEXT else f"{value[:TEXT]}… {len(value) - TEXT:,} more characters"
        case float():
            return _number(value)
        case dict():
            shown = {str(key): _short(item, depth + 1) for key, item in list(value.items())[:ITEMS]}
            if len(value) > ITEMS:
                shown["…"] = f"{len(value) - ITEMS:,} more"
            return shown
        case list() | tuple():
            most = VALUES if value and all(isinstance(item, (int, float)) for item in value) else ITEMS
            listed = [_short(item, depth + 1) for item in value[:most]]
            return listed + ([f"… {len(value) - most:,} more"] if len(value) > most else [])
        case _:
            return value


def _bytes(value: bytes, depth: int) -> Any:
    """Bytes that are an event again, as in a dead letter, are shown as one."""
    try:
        inner = fields(value)
    except CodecError:
        return {"bytes": len(value), "begins": value[:32].hex(" ")}
    return _short(inner, depth + 1)


def _values(dtype: str, data: bytes, most: int) -> tuple[list[float], int]:
    """The first values of a matrix, and how many there are."""
    code: Any = CODES.get(dtype)
    if code is None:
        return [], 0
    items: array[Any] = array(code)
    total = len(data) // items.itemsize
    items.frombytes(data[: min(most, total) * items.itemsize])
    if sys.byteorder == "big":
        items.byteswap()
    return items.tolist(), total


def _number(value: float) -> float | str:
    """JSON has no numbers that are not finite; of others, the digits that matter."""
    if not math.isfinite(value):
        return str(value)
    return value if isinstance(value, int) or abs(value) > 1e9 else round(value, 7)


def _word(value: Any) -> str:
    match value:
        case {"dtype": str(dtype), "shape": [*shape], "data": bytes()}:
            return f"{'×'.join(map(str, shape))} {dtype}"
        case bytes():
            return f"{len(value):,} bytes"
        case str():
            return value if len(value) <= 60 else f"{value[:59]}…"
        case float():
            return f"{value:.6g}"
        case dict():
            inner = ", ".join(f"{key}: {_word(item)}" for key, item in list(value.items())[:4])
            return f"{{{inner}{', …' if len(value) > 4 else ''}}}"
        case list() | tuple():
            if len(value) > 4:
                return f"[{', '.join(_word(item) for item in value[:3])}, … {len(value):,}]"
            return f"[{', '.join(_word(item) for item in value)}]"
        case _:
            return str(value)
