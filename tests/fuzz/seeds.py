"""What the fuzzer begins with: real events of every kind in both codecs, envelopes, and bodies of the gateway."""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from headrace.arrays import pack
from headrace.codec import Name, encode
from headrace.events import AnyEvent, PredictionRequested
from headrace.waiting import Waiting

CODECS: tuple[Name, ...] = ("msgpack", "json")


def write(folder: Path) -> int:
    """Write each seed into a file of its own: how many there are."""
    folder.mkdir(parents=True, exist_ok=True)
    made = list(seeds())
    for number, seed in enumerate(made):
        (folder / f"seed-{number:03}").write_bytes(seed)
    return len(made)


def seeds() -> typing.Iterator[bytes]:
    for kind in typing.get_args(AnyEvent):
        event = sample(kind)
        payloads = {codec: encode(event, codec) for codec in CODECS}
        yield from payloads.values()
        yield b"[" + payloads["json"] + b"," + payloads["json"] + b"]"
        yield b'["epoch",["1763800000000-1",' + payloads["json"] + b"]]"
        yield msgspec.msgpack.encode(("epoch", ["1763800000000-1", msgspec.Raw(payloads["msgpack"])]))
    rows = pack(np.array([[1.0, 2.0], [3.0, 4.0]], "<f4"))
    for codec in CODECS:
        yield encode(PredictionRequested(id="1", model="m", inputs=rows), codec)
        yield encode(PredictionRequested(id="1", model="m", inputs=[[1.0, None]], deadline=1.0), codec)
    yield Waiting("m", 1, "c", [1.0], [0.5], "1").encode()
    yield b'{"rows":[[1,2.5,null]],"version":1,"label":true,"deadline_ms":100}'
    yield b'{"labels":["seven",7,7.5]}'
    yield b'{"type":"run.alive","run":"r","time":"2026-01-02T03:04:05Z"}\n{"type":"run.alive","run":"s"}\n'
    yield b"0-1763800000000-12"


def sample(kind: Any) -> Any:
    """An instance of a struct with something in every field."""
    return kind(**{name: _value(hint) for name, hint in typing.get_type_hints(kind).items() if name in _names(kind)})


def _names(kind: Any) -> set[str]:
    return {field.name for field in msgspec.structs.fields(kind)}


def _value(hint: Any) -> Any:
    parts, origin = typing.get_args(hint), typing.get_origin(hint)
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return sample(hint)
    if origin is typing.Literal:
        return parts[0]
    if origin is list:
        return [_value(parts[0])]
    if origin is dict:
        return {_value(parts[0]): _value(parts[1])}
    if origin is tuple:
        return tuple(_value(part) for part in parts if part is not ...)
    if parts:
        return _value(parts[0])
    return PLAIN[hint]


PLAIN: dict[Any, Any] = {str: "text", int: 7, float: 1.5, bool: True, bytes: b"\x00\x01", type(None): None}
