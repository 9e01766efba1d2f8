"""What all events share: the CloudEvents attributes, and arrays.

Rules of the wire, for whoever adds a field: it has a default; its type never changes; its name is never used again.
"""

from __future__ import annotations

import itertools
import os
import secrets
import threading
import time as clock
from typing import TypeVar

import msgspec

Scalar = str | int | float | bool | None
E = TypeVar("E", bound="Event")


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True, gc=False):
    """One immutable fact. The attributes carry the names of CloudEvents 1.0.

    `id` is unique over all sources; `time` is Unix time in seconds, UTC (0 = not stated: the position dates the event;
    RFC 3339 text is accepted in JSON); `subject` says what it is about where the type has no field for it.
    """

    id: str = ""
    source: str = ""
    time: float = 0.0
    subject: str = ""


class Matrix(msgspec.Struct, frozen=True, gc=False):
    """An array as raw little-endian bytes: `data` holds `shape` items of numpy `dtype` (<f4, <f8, <i2, <i4 or <i8).

    `headrace.arrays` turns it into numpy and back and refuses a size that does not fit the shape.
    """

    dtype: str
    shape: tuple[int, ...]
    data: bytes


Rows = Matrix | list[list[float | None]]
"""Numbers, row by row: raw bytes, or nested lists with None for a missing value."""


class _Identity(threading.local):
    """A prefix and a counter a thread, new after a fork: ids without locks and without system calls."""

    prefix: str
    count: itertools.count[int]

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self.prefix = secrets.token_urlsafe(9)
        self.count = itertools.count()


_identity = _Identity()
os.register_at_fork(after_in_child=_identity.renew)  # of the threads, only the one that forked lives on


def new_id() -> str:
    """An id that no other call in any process returns; about 20 characters."""
    return f"{_identity.prefix}.{next(_identity.count)}"


def stamped(event: E, source: str = "") -> E:
    """The event with an id and a time; those that it has already are kept."""
    if event.id and event.time:
        return event
    return msgspec.structs.replace(
        event,
        id=event.id or new_id(),
        time=event.time or clock.time(),
        source=event.source or source,
    )
