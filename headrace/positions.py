"""Positions: where an event is. `MILLISECONDS-NUMBER` orders, dates and counts the events of one partition.

`number` is dense: the event after number 7 has number 8, so the difference of two numbers counts what lies between.
A handle `PARTITION-MILLISECONDS-NUMBER` names an entry of a known channel for good.
"""

from __future__ import annotations

from typing import NamedTuple

from headrace.errors import EventError


class Position(NamedTuple):
    """A place in one partition; compares in log order. `Position(0, 0)` is before the first event."""

    ms: int
    number: int

    @classmethod
    def parse(cls, text: str | bytes) -> Position:
        """Read `MILLISECONDS-NUMBER`. Raises EventError."""
        shown = text.decode("ascii", "replace") if isinstance(text, bytes) else text
        ms, dash, number = shown.partition("-")
        if not dash or not ms.isascii() or not ms.isdigit() or not number.isascii() or not number.isdigit():
            raise EventError(f"{shown!r} is not a position: it must look like 1763800000000-12")
        return cls(int(ms), int(number))

    def __str__(self) -> str:
        return f"{self.ms}-{self.number}"


START = Position(0, 0)


class Entry(NamedTuple):
    """An event's bytes and where they are."""

    position: Position
    payload: bytes


class Handle(NamedTuple):
    """A prediction's name: the partition and position of its request."""

    partition: int
    position: Position

    @classmethod
    def parse(cls, text: str) -> Handle:
        """Read `PARTITION-MILLISECONDS-NUMBER`. Raises EventError."""
        partition, dash, position = text.partition("-")
        if not dash or not partition.isascii() or not partition.isdigit():
            raise EventError(f"{text!r} is not a prediction: it must look like 0-1763800000000-12")
        return cls(int(partition), Position.parse(position))

    def __str__(self) -> str:
        return f"{self.partition}-{self.position}"
