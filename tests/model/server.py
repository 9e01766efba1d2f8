"""The server of the model: what the scripts publish, commit, rebuild and trim do to one partition, and nothing else.

Pure: every operation takes a server and gives the next one. A position is an integer that orders entries; `era` times
ERA is the part of it that the clock gives, so that a position taken back by a power cut is not given out again.
`Rules` are the rules of the real scripts and of the consumer; switching one off makes the mutation whose fault the
search must find.
"""

from __future__ import annotations

from typing import NamedTuple

ERA = 100

NOBODY = 0
"""The name of whoever will never commit: a name that was abandoned, or that of a dead worker."""

Held = tuple[int, int]
"""A pending entry: position, consumer name."""
Outcome = tuple[int, int]
"""An outcome in the result log: the position that it decides, and the event that the worker had read there."""


class Rules(NamedTuple):
    """All on: the real thing."""

    fence: bool = True
    """publish skips what it has of a producer."""
    ahead: bool = True
    """publish refuses a batch behind a gap."""
    numbered_by_head: bool = True
    """The next number follows the head key, not the length of the log."""
    dated: bool = True
    """Positions carry the clock, which goes on after a power cut."""
    fresh_names: bool = True
    """A consumer name serves one read."""
    proof: bool = True
    """commit proves that all its entries are pending."""
    parts_alone: bool = True
    """A batch that is only part of what its name was given is proven entry by entry, not by counting."""
    one_script: bool = True
    """Outcome and acknowledgement are one step."""
    skip_decided: bool = True
    """A group that is made again knows what is decided already."""
    one_rebuild: bool = True
    """A group is made again only while there is none."""
    keep_needed: bool = True
    """trim leaves what a group has not committed."""
    claims: bool = True
    """What a silent worker holds is taken over."""
    send_again: bool = True
    """The producer sends again what a power cut took."""


class Server(NamedTuple):
    """One partition: its log, the head's number, the fences of the producer's names, the group, the result log."""

    log: tuple[tuple[int, int], ...] = ()
    """Entries in retention: position, event."""
    number: int = 0
    fences: tuple[tuple[int, int], ...] = ()
    """By producer name: the sequence held. A name is the sequence that it begins behind."""
    group: bool = True
    cursor: int = 0
    pending: tuple[Held, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    trimmed: tuple[tuple[int, int], ...] = ()
    """What retention removed: known to the checks only."""


def publish(rules: Rules, server: Server, era: int, name: int, first: int, last: int) -> tuple[Server, str, int]:
    """Append the events first..last of a producer name: the next server, the status, the sequence held."""
    fences = dict(server.fences)
    taken = fences.get(name, name)
    if rules.ahead and first > taken + 1:
        return server, "ahead", taken
    begin = max(first, taken + 1) if rules.fence else first
    if begin > last:
        return server, "ok", taken
    log, number = server.log, server.number
    for event in range(begin, last + 1):
        number = number + 1 if rules.numbered_by_head else len(log) + 1
        log += (((era if rules.dated else 0) * ERA + number, event),)
    fences[name] = max(last, taken)
    return server._replace(log=log, number=number, fences=tuple(sorted(fences.items()))), "ok", fences[name]


def read(server: Server, name: int, count: int) -> tuple[Server, tuple[tuple[int, int], ...]]:
    """New entries for a consumer name, as (position, event)."""
    found = tuple(entry for entry in server.log if entry[0] > server.cursor)[:count]
    if not found:
        return server, ()
    pending = tuple(sorted((*server.pending, *((position, name) for position, _ in found))))
    return server._replace(cursor=found[-1][0], pending=pending), found


def claim(server: Server, name: int, wanted: tuple[int, ...]) -> tuple[Server, tuple[tuple[int, int], ...]]:
    """Give pending entries to another consumer name, whoever holds them."""
    events = dict(server.log)
    got = tuple((position, events[position]) for position, _ in server.pending if position in wanted)
    pending = tuple((position, name if position in wanted else holder) for position, holder in server.pending)
    return server._replace(pending=pending), got


def commit(
    rules: Rules, server: Server, name: int, decided: tuple[tuple[int, int], ...], kept: int, whole: bool
) -> tuple[Server, tuple[int, ...] | None]:
    """Write outcomes and acknowledge: None, or the positions that are left if nothing was written."""
    positions = [position for position, _ in decided]
    held = [position for position, holder in server.pending if holder == name]
    if rules.proof and ((rules.parts_alone and not whole) or len(held) != len(decided) + kept):
        pending = {position for position, _ in server.pending}
        left = tuple(position for position in positions if position in pending)
        if len(left) < len(positions):
            return server, left
    return acknowledge(server._replace(outcomes=server.outcomes + decided), positions), None


def acknowledge(server: Server, positions: list[int]) -> Server:
    """Only acknowledge: half a commit, for the rule that there is none."""
    return server._replace(pending=tuple(held for held in server.pending if held[0] not in positions))


def rebuild(rules: Rules, server: Server, decided: frozenset[int]) -> Server:
    """Make the deleted group again: everything undecided is delivered once more, nothing decided is."""
    if server.group and rules.one_rebuild:
        return server
    known = decided if rules.skip_decided else frozenset[int]()
    newest = max(known, default=0)
    free = tuple((position, NOBODY) for position, _ in server.log if position <= newest and position not in known)
    return server._replace(group=True, cursor=newest, pending=free)


def trim(rules: Rules, server: Server) -> Server:
    """Remove the oldest entry, if no group needs it and it is not the newest one."""
    if len(server.log) < 2:
        return server
    oldest = server.log[0]
    needed = server.group and (oldest[0] >= server.cursor or any(held[0] == oldest[0] for held in server.pending))
    if rules.keep_needed and needed:
        return server
    held = tuple(held for held in server.pending if held[0] != oldest[0])
    return server._replace(log=server.log[1:], trimmed=(*server.trimmed, oldest), pending=held)
