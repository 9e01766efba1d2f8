"""Live envelopes: `[epoch, [position, event, position, event, ...]]` in the codec of their events. Pure."""

from __future__ import annotations

import msgspec

from headrace.errors import CodecError
from headrace.positions import Entry, Position

_msgpack = msgspec.msgpack.Decoder(tuple[str, list[msgspec.Raw]])
_json = msgspec.json.Decoder(tuple[str, list[msgspec.Raw]])


def opened(payload: bytes) -> tuple[str, list[Entry]]:
    """The epoch and the events of an envelope. Raises CodecError if it is none."""
    is_json = payload[:1] == b"["
    try:
        epoch, items = (_json if is_json else _msgpack).decode(payload)
        entries = []
        for at in range(0, len(items), 2):
            spelled = bytes(items[at])
            position = Position.parse(spelled.strip(b'"') if is_json else spelled[1:])
            entries.append(Entry(position, bytes(items[at + 1])))
    except Exception as error:
        raise CodecError(f"not a live envelope: {error}") from error
    return epoch, entries
