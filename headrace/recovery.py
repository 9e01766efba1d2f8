"""How a subscriber misses nothing: what pushes and snapshots of the log mean, given the last event seen. Pure.

Rules, for one partition:

1. A push with the epoch known whose first new number is the last one plus one is taken at once; so is the first push
   of a log that was not there before.
2. What was seen already is dropped. Any other number is a gap: read the log from the last position seen.
3. Another epoch means that the log was replaced: say so, and begin at its beginning.
4. The log begins after the event that should come next: that many were trimmed before they were seen. They are lost.
5. The last event seen is not in the log, though older ones are: the log went back (a power cut). Say to where, and go
   on from there; what was seen after that place is void. If the older ones are trimmed too, but numbers seen come
   again, nobody knows that place any more: it is as if the log was replaced.
6. Silence proves nothing: read the log now and then, and whenever the connection was made anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from headrace.positions import START, Entry, Position


@dataclass(frozen=True, slots=True)
class Lost:
    """`count` events were trimmed from the log before they were seen."""

    count: int


@dataclass(frozen=True, slots=True)
class Replaced:
    """The log is a new one; positions of the old one mean nothing any more."""

    epoch: str


@dataclass(frozen=True, slots=True)
class WentBack:
    """The log lost its end in a power cut: what was seen after `position` is void, and may come again."""

    position: Position


Notice = Lost | Replaced | WentBack


@dataclass(frozen=True, slots=True)
class Seen:
    """How far a subscriber has come in one partition."""

    epoch: str = ""
    last: Position = START


class Snapshot(NamedTuple):
    """A log as one moment saw it from a position: its epoch and newest position (empty and START if there is no log).

    `oldest` is the oldest position there is, `before` the newest one at or before the position asked for, and `entries`
    are what follows it, perhaps not all. `oldest` and `before` are None when there is none.
    """

    epoch: str
    newest: Position
    oldest: Position | None
    before: Position | None
    entries: list[Entry]


def arrived(seen: Seen, epoch: str, entries: Sequence[Entry]) -> tuple[Seen, list[Entry]] | None:
    """A push: what is new in it. None means that only the log can tell (rules 2 and 3)."""
    if seen == Seen() and entries and entries[0].position.number == 1:
        seen = Seen(epoch)
    if epoch != seen.epoch:
        return None
    fresh = [entry for entry in entries if entry.position.number > seen.last.number]
    if not fresh:
        return seen, []
    if fresh[0].position.number != seen.last.number + 1 or fresh[0].position.ms < seen.last.ms:
        return None
    return Seen(epoch, fresh[-1].position), fresh


def resumed(seen: Seen, log: Snapshot) -> tuple[Seen, list[Notice], list[Entry]]:
    """A snapshot of the log taken from `seen.last`: what happened to the log, and what follows.

    After a notice that moves `seen` the entries are empty: take another snapshot from there.
    """
    if not log.epoch:
        if not seen.epoch:
            return seen, [], []
        return Seen(), [Replaced("")], []
    if log.epoch != seen.epoch:
        notices: list[Notice] = [Replaced(log.epoch)] if seen.epoch else []
        return Seen(log.epoch, START), notices, []
    if seen.last not in (START, log.before) and log.before is not None:
        return Seen(seen.epoch, log.before), [WentBack(log.before)], []
    if not log.entries:
        return seen, [], []
    missing = log.entries[0].position.number - seen.last.number - 1
    notices = [Lost(missing)] if missing > 0 else [Replaced(log.epoch)] if missing < 0 else []
    return Seen(seen.epoch, log.entries[-1].position), notices, log.entries
