"""What became of a prediction, by its handle: read from the logs, for whoever asks later."""

from __future__ import annotations

from headrace.bus import Bus
from headrace.channels import DEAD, REQUESTS, RESULTS
from headrace.codec import decode
from headrace.errors import CodecError, EventError, RejectedError
from headrace.events import EntryDead, PredictionScored
from headrace.positions import Handle, Position
from headrace.publisher.gateway.problems import Problem
from headrace.publisher.predictions import Result, unpacked

PAGE = 200
PAGES = 50
"""How far a search goes from the request on; each entry of the result log holds the results of a whole batch."""
LARGEST = 2**64 - 1


def parse(text: str, partitions: range) -> Handle:
    """The handle in a path. Raises Problem 404 for what cannot be one."""
    try:
        handle = Handle.parse(text)
    except EventError as error:
        raise Problem(404, "unknown_prediction", str(error)) from None
    if handle.partition not in partitions or max(handle.position) > LARGEST:
        raise Problem(404, "unknown_prediction", f"there is no prediction {text!r:.80}")
    return handle


async def find(bus: Bus, handle: Handle) -> Result | RejectedError | None:
    """The outcome of a request; None while it has none. Raises Problem 404 if nothing is known of it (any more)."""
    partition, position = handle
    for channel in (RESULTS, DEAD):
        start: Position | None = Position(position.ms, 0)  # an outcome is never older than its request
        for _ in range(PAGES):
            entries = await bus.read(channel, partition, start=start, count=PAGE)
            for entry in entries:
                outcome = outcome_in(entry.payload, handle)
                if outcome is not None:
                    return outcome
            if len(entries) < PAGE:
                break
            start = Position(entries[-1].position.ms, entries[-1].position.number + 1)
    if not await bus.read(REQUESTS, partition, start=position, stop=position, count=1):
        kept_s = bus.settings.retention_s
        raise Problem(404, "unknown_prediction", f"nothing is known of {handle}: results are kept for {kept_s} s")
    return None


def outcome_in(payload: bytes, handle: Handle) -> Result | RejectedError | None:
    """The outcome of one request in an entry of the results or the dead letters, if it is there."""
    spelled = str(handle.position)
    if spelled.encode() not in payload:  # cheap, and right: positions stand in an event as text
        return None
    try:
        event = decode(payload)
    except CodecError:
        return None
    match event:
        case PredictionScored() if spelled in event.positions.split(" "):
            try:
                return next((result for _, result in unpacked(event) if result.handle == str(handle)), None)
            except EventError:
                return None
        case EntryDead(channel=channel, position=position) if channel == REQUESTS and position == spelled:
            return RejectedError(str(handle), event.reason)
    return None
