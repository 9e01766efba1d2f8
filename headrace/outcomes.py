"""Outcomes read back from the logs: which requests of a partition were decided, and how.

The result log and the dead letters are the only truth about that; groups and statistics can be rebuilt from them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from headrace.bus import Bus
from headrace.channels import DEAD, REQUESTS, RESULTS
from headrace.codec import decode
from headrace.errors import CodecError, GroupLostError
from headrace.events import EntryDead, PredictionScored
from headrace.forwards import forwards
from headrace.positions import START, Entry, Position

SCORED, REJECTED, SEVERAL = 1, 2, 3


@dataclass(slots=True)
class Outcomes:
    """The outcomes in retention of one partition of requests.

    `by_number` maps request numbers to SCORED, REJECTED or SEVERAL. `recount` holds what the statistics of each second
    must say, by (second, counter). An outcome committed before `since_ms` may have been trimmed.
    """

    by_number: dict[int, int] = field(default_factory=dict)
    recount: Counter[tuple[int, str]] = field(default_factory=Counter)
    since_ms: int = 0


async def read_outcomes(bus: Bus, partition: int) -> Outcomes:
    """Read the result log and the dead letters of a partition once."""
    found = Outcomes()
    for channel in (RESULTS, DEAD):
        _, newest = await bus.last(channel, partition)
        begun = False
        async for page in forwards(bus, channel, partition, newest):
            if not begun and page[0].position.number > 1:
                found.since_ms = max(found.since_ms, page[0].position.ms)
            begun = True
            for entry in page:
                _add(entry, found)
    return found


async def decided(bus: Bus, partition: int, group: str) -> tuple[Position, list[Position]]:
    """Where a lost group of `requests` must begin again, and what after that place is decided already.

    Everything up to the first position is decided. Raises GroupLostError if outcomes that would tell were trimmed: then
    nobody can know which requests still need one.
    """
    outcomes = await read_outcomes(bus, partition)
    last_decided = max(outcomes.by_number, default=0)
    begin, after, complete, oldest = START, list[Position](), True, True
    _, newest = await bus.last(REQUESTS, partition)
    async for page in forwards(bus, REQUESTS, partition, newest):
        for position, _ in page:
            if oldest and position.number > 1:  # what was trimmed had been decided
                begin = Position(position.ms, position.number - 1)
            oldest = False
            if position.number > last_decided and position.ms >= outcomes.since_ms:
                return begin, after
            if position.number in outcomes.by_number:
                if complete:
                    begin = position
                else:
                    after.append(position)
            elif position.ms < outcomes.since_ms:
                why = (
                    f"request {partition}-{position} may have an outcome that was trimmed; publish it again if need be"
                )
                raise GroupLostError(REQUESTS, group, why)
            else:
                complete = False
    return begin, after


def _add(entry: Entry, found: Outcomes) -> None:
    second = entry.position.ms // 1000
    try:
        event = decode(entry.payload)
    except CodecError:
        return
    by_number, recount = found.by_number, found.recount
    match event:
        case PredictionScored():
            numbers = [int(spelled.rpartition("-")[2]) for spelled in event.positions.split(" ")]
            of = f"{event.model}:{event.version}"
            recount[second, f"req:{of}"] += len(numbers)
            recount[second, f"row:{of}"] += sum(event.rows) if event.rows else len(numbers)
            for number in numbers:
                by_number[number] = SEVERAL if number in by_number else SCORED
        case EntryDead() if event.channel == REQUESTS:
            number = Position.parse(event.position).number
            recount[second, f"dead:{event.channel}:{event.group}"] += 1
            by_number[number] = SEVERAL if number in by_number else REJECTED
        case _:
            pass
