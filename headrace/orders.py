"""What an operator does about dead letters: requeue or discard, each exactly once.

The events that are published again, the marks and the audit event are one commit, so that none of them can be there
without the others. Commits are made under a lease, and each attempt takes the lease anew: a click that comes twice,
another operator, or a call whose reply was lost finds the mark; a call that is still on its way writes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from headrace.bus import Bus, Commit
from headrace.channels import ACTIONS, DEAD
from headrace.errors import FullError, HeadraceError, LeaseLostError, UnavailableError
from headrace.events import ActionTaken, new_id
from headrace.letters import LATEST, NAME, Action, Letter, Mark, read_marks, unfit
from headrace.positions import Position

COMMIT = 500
COMMIT_BYTES = 4 * 1024 * 1024
"""Letters and bytes of one commit: it holds the server for a few milliseconds."""
LEASE_MS = 5_000
"""The lease has the name of the saved state."""
PATIENCE_S = 8.0
"""How long an action waits for another one: longer than the lease of one that died."""
ATTEMPTS = 3
NAMED = 5


@dataclass(slots=True)
class Tally:
    """What an action did: letters done, those that had been dealt with before, and why others were left."""

    done: int = 0
    already: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    """Reasons by handle."""


async def requeue(bus: Bus, chosen: Sequence[Letter], *, actor: str, now: float, text: str = "") -> Tally:
    """Publish the payload of each letter again, unchanged, to the channel and partition it came from: once for ever.

    Every group of the channel gets it. Raises FullError if a channel has no room for all of its letters (nothing was
    done then), LeaseLostError if another action holds on, and UnavailableError; in doubt call it again.
    """
    return await _act(bus, "requeue", chosen, actor, now, text)


async def discard(bus: Bus, chosen: Sequence[Letter], *, actor: str, now: float, text: str = "") -> Tally:
    """Mark the letters as dealt with; nothing else happens, and they stay in the log. Errors as those of `requeue`."""
    return await _act(bus, "discard", chosen, actor, now, text)


async def _act(bus: Bus, action: Action, chosen: Sequence[Letter], actor: str, now: float, text: str) -> Tally:
    tally = Tally()
    act = new_id()
    fit: dict[int, dict[Position, Letter]] = {}
    for letter in chosen:
        why = unfit(letter, bus.settings.event_limit_bytes) if action == "requeue" else ""
        if why:
            tally.refused[str(letter.place)] = why
        else:
            fit.setdefault(letter.place.partition, {})[letter.place.position] = letter
    if action == "requeue":
        for partition, held in fit.items():
            await _check_room(bus, partition, held.values())
    for partition, held in fit.items():
        await _act_in(bus, partition, held, Mark(action, now, actor, act), text, tally)
    return tally


async def _act_in(
    bus: Bus, partition: int, held: Mapping[Position, Letter], mark: Mark, text: str, tally: Tally
) -> None:
    """All of one partition. An attempt whose reply was lost is made again with what its marks leave to do."""
    for attempt in range(ATTEMPTS):
        try:
            async with _leading(bus, partition) as token:
                marks = await read_marks(bus, partition)
                mine = sum(marks[at].act == mark.act for at in held if at in marks)
                left = [letter for at, letter in held.items() if at not in marks]
                already = len(held) - len(left) - mine
                for part in _parts(left):
                    work = _decision(partition, part, mark, text)
                    work.drop(NAME, [str(at) for at in await _trimmed(bus, partition, marks)])
                    work.under_lease(NAME, token)
                    await bus.commit(work)
                tally.done += len(left) + mine
                tally.already += already
                return
        except (UnavailableError, LeaseLostError):
            if attempt == ATTEMPTS - 1:
                raise


def _decision(partition: int, part: Sequence[Letter], mark: Mark, text: str) -> Commit:
    """The commit of some letters: published again if so asked, marked, and told."""
    work = Commit(partition)
    if mark.action == "requeue":
        for letter in part:
            work.append(letter.event.channel, [letter.event.payload])
    value = msgspec.json.encode(mark)
    work.save(NAME, {str(letter.place.position): value for letter in part})
    names = ", ".join(str(letter.place) for letter in part[:NAMED])
    more = f" and {len(part) - NAMED:,} more" if len(part) > NAMED else ""
    channels = ", ".join(sorted({letter.event.channel for letter in part}))
    told = ActionTaken(
        id=f"{mark.act}.{part[0].place}",
        time=mark.time,
        subject=f"dead letters of {channels}",
        action=mark.action,
        actor=mark.actor,
        text=f"{text + ': ' if text else ''}{names}{more}",
        count=len(part),
    )
    work.append(ACTIONS, [told])
    return work


def _parts(left: Sequence[Letter]) -> Iterable[list[Letter]]:
    """In portions that one commit can carry, in the order they died."""
    part: list[Letter] = []
    size = 0
    for letter in sorted(left, key=lambda one: one.place):
        part.append(letter)
        size += len(letter.event.payload)
        if len(part) == COMMIT or size >= COMMIT_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


async def _check_room(bus: Bus, partition: int, held: Iterable[Letter]) -> None:
    """Raises FullError where requeueing would take a channel beyond the bound that publishers keep."""
    for channel, count in Counter(letter.event.channel for letter in held).items():
        depths = [group.lag + group.in_flight for group in await bus.groups(channel, partition)]
        if max(depths, default=0) + count > bus.settings.depth_limit:
            raise FullError(channel)


@contextlib.asynccontextmanager
async def _leading(bus: Bus, partition: int) -> AsyncIterator[str]:
    """The only one who acts on the letters of a partition. Raises LeaseLostError if another one does for too long."""
    token = new_id()
    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    try:
        while not await bus.lease(NAME, token, LEASE_MS, partition):
            if asyncio.get_running_loop().time() > deadline:
                raise LeaseLostError(NAME)
            await asyncio.sleep(0.05)
        yield token
    finally:  # also when the reply to the taking was lost
        with contextlib.suppress(HeadraceError):
            await bus.release(NAME, token, partition)


async def _trimmed(bus: Bus, partition: int, marks: Mapping[Position, Mark]) -> list[Position]:
    """Marks of letters that retention has removed."""
    if not marks:
        return []
    first = await bus.read(DEAD, partition, count=1)
    oldest = first[0].position if first else LATEST
    return [at for at in marks if at < oldest]
