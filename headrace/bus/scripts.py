"""The scripts, and the pure half of calling them: arguments out, replies in. Both colours, async and sync, use these.

A script is called by its SHA, with its text as the fallback at each call: scripts vanish when a server restarts.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Literal, NamedTuple

from headrace.channels import WORKERS, Names
from headrace.errors import EventError
from headrace.positions import START, Entry, Position
from headrace.recovery import Snapshot
from headrace.settings import Settings

Argument = str | bytes | int


@dataclass(frozen=True, slots=True)
class Script:
    """A script's text and the name the server knows it by."""

    text: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest())


class Request(NamedTuple):
    """One script call."""

    script: Script
    keys: list[str]
    args: list[Argument]


_APPENDING = frozenset({"publish", "commit", "take"})
_DRAINING = frozenset({"commit", "lease", "group", "rebuild"})
"""What must go on while the server's memory is full, as it is by this that the memory gets free again."""


@cache
def script(name: str, *, drains: bool = False) -> Script:
    """The script of an operation; those that write logs begin with the shared append.

    Those of consumers, and one that `drains`, are not refused for want of memory, as those of publishers are.
    """
    folder = files("headrace.bus")
    text = (folder / f"{name}.lua").read_text()
    if name in _APPENDING:
        text = (folder / "append.lua").read_text() + text
    if drains or name in _DRAINING:
        text = "#!lua flags=allow-oom\n" + text
    return Script(text)


def new_epoch() -> str:
    """A random name for a log, should the script have to begin one."""
    return secrets.token_hex(5)


class PublishCall(NamedTuple):
    """A batch of one producer for one partition; `first` is the sequence number of `events[0]`, counted from 1."""

    channel: str
    partition: int
    producer: str
    first: int
    events: Sequence[bytes]


class Places:
    """Where events of a batch are, by sequence number: runs of numbers that were appended in one step each."""

    __slots__ = ("_runs",)

    def __init__(self) -> None:
        self._runs: list[tuple[range, Position]] = []

    def add(self, sequences: range, newest: Position) -> None:
        """The events `sequences` are next to each other, up to `newest`."""
        if sequences:
            self._runs.append((sequences, newest))

    def get(self, sequence: int) -> Position | None:
        """None for an event that the server did not take with this batch."""
        for sequences, newest in self._runs:
            if sequence in sequences:
                return Position(newest.ms, newest.number - (sequences[-1] - sequence))
        return None

    def all(self) -> list[Position]:
        """Positions in the order of the sequence."""
        return [
            Position(newest.ms, newest.number - (sequences[-1] - sequence))
            for sequences, newest in self._runs
            for sequence in sequences
        ]


class Accepted(NamedTuple):
    """What a publish call led to.

    `ok`: all is in the log. `full`: only the events up to sequence `taken`. `ahead`: nothing, as the server holds only
    up to `taken`, less than the batch builds on.
    """

    status: Literal["ok", "full", "ahead"]
    taken: int
    added: int
    epoch: str
    positions: Places


def pushing(settings: Settings) -> list[Argument]:
    """The arguments that every appending script takes: epoch for a new log, verb, whether to push unheard."""
    return [new_epoch(), "PUBLISH", 1 if settings.cluster else 0]


def publish_request(names: Names, settings: Settings, call: PublishCall, fence_s: int = 0) -> Request:
    """The call that publishes a batch; its fence lives for settings.fence_ttl_s unless `fence_s` says otherwise.

    Raises EventError for an event that is empty or too large.
    """
    for event in call.events:
        if not 0 < len(event) <= settings.event_limit_bytes:
            raise EventError(
                f"an event of {len(event)} bytes cannot be published: the limit is {settings.event_limit_bytes} "
                "(HEADRACE_EVENT_LIMIT_BYTES)"
            )
    channel, partition, producer, first, events = call
    return Request(
        script("publish", drains=channel == WORKERS),  # a full server is no reason to be taken for dead
        [
            names.log(channel, partition),
            names.head(channel, partition),
            names.fence(channel, partition, producer),
            names.second(partition),
        ],
        [
            names.live(channel, partition),
            *pushing(settings),
            first,
            settings.depth_limit,
            fence_s or settings.fence_ttl_s,
            channel,
            settings.bucket_ttl_s,
            *events,
        ],
    )


def publish_reply(call: PublishCall, raw: Sequence[Any]) -> Accepted:
    """Read the script's answer."""
    status, taken = _text(raw[0]), int(raw[1])
    places = Places()
    if status == "ahead":
        return Accepted("ahead", taken, 0, "", places)
    added, newest, epoch, since, before = int(raw[2]), _text(raw[3]), _text(raw[4]), _text(raw[5]), _text(raw[6])
    held = taken - added
    if before:  # the part that a call before this one appended, all within its one millisecond
        earlier = Position.parse(before)
        known = range(max(int(since), call.first), min(held, call.first + len(call.events) - 1) + 1)
        if known:
            places.add(known, Position(earlier.ms, earlier.number - (held - known[-1])))
    if added:
        places.add(range(held + 1, taken + 1), Position.parse(newest))
    return Accepted("full" if status == "full" else "ok", taken, added, epoch, places)


def resume_request(names: Names, channel: str, partition: int, last: Position, count: int) -> Request:
    keys = [names.log(channel, partition), names.head(channel, partition)]
    return Request(script("resume"), keys, [str(last), count])


def resume_reply(raw: Sequence[Any]) -> Snapshot:
    epoch, newest = head_reply(raw[0])
    oldest, before = _text(raw[1]), _text(raw[2])
    return Snapshot(
        epoch,
        newest,
        Position.parse(oldest) if oldest else None,
        Position.parse(before) if before else None,
        entries_reply(raw[3]),
    )


def head_reply(raw: Any) -> tuple[str, Position]:
    """Epoch and newest position in a head key; empty and START where there is none."""
    if not raw:
        return "", START
    epoch, _, newest = _text(raw).partition(" ")
    return epoch, Position.parse(newest)


def entries_reply(raw: Sequence[Any]) -> list[Entry]:
    """Entries as stream commands return them; those deleted under a reader (no fields) are left out."""
    return [Entry(Position.parse(identity), payload(fields)) for identity, fields in raw if fields]


def payload(fields: Any) -> bytes:
    """The event's bytes in a log entry, which has one field; a script gives fields as a list, a client as a dict."""
    return next(iter(fields.values())) if isinstance(fields, dict) else fields[1]  # type: ignore[no-any-return]


def _text(raw: Any) -> str:
    return raw.decode() if isinstance(raw, bytes) else str(raw)
