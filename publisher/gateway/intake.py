"""Events that come by HTTP: cut out of the body, and each one checked. Pure.

One that is refused never stops the others; each refusal names its line (in JSON lines) or its place (in an array),
counted from 1.
"""

from __future__ import annotations

from typing import Annotated, Final, NamedTuple

import msgspec
from msgspec import Meta

from headrace.channels import BUILT_IN, LABELS, REQUESTS, RUNS, Names, checked
from headrace.codec import decode
from headrace.errors import EventError, HeadraceError
from headrace.events import (
    AnyEvent,
    PredictionLabelled,
    PredictionRequested,
    RunAlive,
    RunCandidate,
    RunFinished,
    RunMetrics,
    RunStarted,
)
from headrace.positions import Handle

LINES: Final = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"})

_array = msgspec.json.Decoder(list[msgspec.Raw])


class Refusal(msgspec.Struct):
    """An event that was not taken, and why."""

    line: Annotated[int, Meta(description="Line or place in the body, counted from 1.")]
    reason: str


class Accepted(msgspec.Struct):
    """What became of the events of a body. The accepted ones are in the log."""

    accepted: int
    refused: list[Refusal] = []


class Checked(NamedTuple):
    """A valid event, and the channel it goes to."""

    line: int
    channel: str
    event: AnyEvent


def cut(body: bytes, content_type: str) -> list[tuple[int, bytes]]:
    """The events of a body as (line or place, bytes): JSON lines by content type, else an array, else one event.

    Raises EventError if an array is broken, as then nothing in it can be told apart.
    """
    if content_type.partition(";")[0].strip().lower() in LINES:
        return [(line, text) for line, text in enumerate(body.split(b"\n"), 1) if text.strip()]
    if body[:64].lstrip()[:1] == b"[":
        try:
            return [(place, bytes(raw)) for place, raw in enumerate(_array.decode(body), 1)]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise EventError(f"the body is not a JSON array of events: {error}") from None
    return [(1, body)] if body.strip() else []


def check(line: int, payload: bytes, channel: str, names: Names) -> Checked | Refusal:
    """The event in `payload`, if outsiders may publish it there; `channel` empty = where its type belongs.

    Channels of headrace's own take only the types that belong there; any other channel takes any event.
    """
    try:
        event = decode(payload)
        home = _home(event, names)
        where = checked(channel) if channel else home
        if not where or (where != home and where in BUILT_IN):
            kind = event.__struct_config__.tag
            raise EventError(f"{kind} events are not taken{f' on {where!r}' if where else ' from outside'}")
    except HeadraceError as error:
        return Refusal(line, str(error))
    return Checked(line, where, event)


def _home(event: AnyEvent, names: Names) -> str:
    """The channel that a type belongs to; empty if it is not for outsiders. Raises EventError."""
    match event:
        case RunStarted() | RunMetrics() | RunAlive() | RunCandidate() | RunFinished():
            return RUNS
        case PredictionRequested():
            if event.reply_to and not event.reply_to.startswith(names.reply("")):
                raise EventError(f"reply_to must begin with {names.reply('')!r}: {event.reply_to!r:.80} does not")
            return REQUESTS
        case PredictionLabelled():
            if Handle.parse(event.prediction).partition not in names.partitions_of(LABELS):
                raise EventError(f"there is no prediction {event.prediction!r:.80}: it names a partition too many")
            return LABELS
        case _:
            return ""
