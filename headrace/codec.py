"""Bytes to events and back. msgpack from Python, JSON from anybody; the first byte tells them apart.

Decoding never guesses: a msgpack event is a map (first byte 0x80-0x8f, 0xde, 0xdf), a JSON event an object (`{`, after
white space). Unknown fields are ignored; an unknown `type` is `UnknownTypeError`; everything else that does not fit
is `CodecError` with the place and the reason. Depth is bounded by the parsers, size by the caller.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

import msgspec

from headrace.errors import CodecError, UnknownTypeError
from headrace.events import AnyEvent, Event

Name = Literal["msgpack", "json"]

_to_msgpack = msgspec.msgpack.Encoder()
_to_json = msgspec.json.Encoder()
_from_msgpack = msgspec.msgpack.Decoder(AnyEvent)
_from_json = msgspec.json.Decoder(AnyEvent)


class _Tag(msgspec.Struct):
    type: str


_tag_msgpack = msgspec.msgpack.Decoder(_Tag)
_tag_json = msgspec.json.Decoder(_Tag)
_known = {kind.__struct_config__.tag for kind in AnyEvent.__args__}


def encode(event: Event, codec: Name = "msgpack") -> bytes:
    """The event's bytes. Raises CodecError if a field holds what its type does not allow."""
    try:
        return _to_msgpack.encode(event) if codec == "msgpack" else _to_json.encode(event)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise CodecError(f"this {type(event).__name__} cannot be sent: {error}") from None


def codec_of(payload: bytes) -> Name:
    """Which codec wrote `payload`, by its first byte. Raises CodecError."""
    first = payload[0] if payload else -1
    if 0x80 <= first <= 0x8F or first in (0xDE, 0xDF):
        return "msgpack"
    if first == 0x7B or payload[:64].lstrip()[:1] == b"{":
        return "json"
    shown = "nothing" if not payload else f"{len(payload)} bytes that begin with {payload[:8]!r}"
    raise CodecError(f"not an event: {shown}; an event is a JSON object or a msgpack map with a `type`")


def decode(payload: bytes) -> AnyEvent:
    """The event in `payload`. Raises CodecError, or UnknownTypeError for a type of another version."""
    try:
        first = payload[0]
        if 0x80 <= first <= 0x8F:
            return _from_msgpack.decode(payload)  # type: ignore[no-any-return]
        return (_from_json if codec_of(payload) == "json" else _from_msgpack).decode(payload)  # type: ignore[no-any-return]
    except IndexError:
        raise CodecError("not an event: nothing") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return _second_look(payload, error)


def type_of(payload: bytes) -> str:
    """The `type` of an event that may be of another version. Raises CodecError."""
    try:
        return (_tag_json if codec_of(payload) == "json" else _tag_msgpack).decode(payload).type
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CodecError(f"not an event: {error}") from None


def transcode(payload: bytes, codec: Name) -> bytes:
    """The same event in `codec`; returned as it is if it is so already."""
    return payload if codec_of(payload) == codec else encode(decode(payload), codec)


def _second_look(payload: bytes, error: Exception) -> AnyEvent:
    """Tell an unknown type from a broken event, and accept RFC 3339 text as `time`."""
    kind = type_of(payload)
    if kind not in _known:
        raise UnknownTypeError(kind)
    if "$.time" in str(error) and codec_of(payload) == "json":
        try:
            plain: Any = msgspec.json.decode(payload)
            stated = dt.datetime.fromisoformat(plain["time"])
            plain["time"] = (stated if stated.tzinfo else stated.replace(tzinfo=dt.UTC)).timestamp()
            return msgspec.convert(plain, AnyEvent)  # type: ignore[no-any-return]
        except (TypeError, ValueError, OverflowError, RecursionError, msgspec.DecodeError) as again:
            error = again
    raise CodecError(f"not a valid {kind}: {error}") from None
