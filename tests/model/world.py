"""The world of the model: one producer and its events, two workers, the server, what is on the wire, what is on disk.

Every step that somebody can take and every fault that can befall them, at any time, in any order. Replies get lost, a
request may arrive after its sender has given it up, workers die, sleep and wake, entries are taken from whoever holds
them, the group is deleted, and a power cut takes everything written since the disk was last written to: all as often
as they like, except for power cuts and forgotten events, whose number is bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

from tests.model import server as model
from tests.model.search import Step
from tests.model.server import NOBODY, Rules, Server

Entries = tuple[tuple[int, int], ...]
"""Positions and the events read there."""


class Bounds(NamedTuple):
    """How large the world is, and which faults there are in it."""

    events: int = 2
    accepted: int = 0
    """Events in the log at the beginning."""
    workers: int = 2
    batch: int = 2
    cuts: int = 0
    forgets: int = 0
    wire: bool = False
    """Requests may arrive after their sender has given them up."""
    deletions: int = 0
    trims: bool = False
    retries: bool = False
    isolates: bool = False
    """A claim may take an entry out of its batch and fail on the way."""


class Producer(NamedTuple):
    """What it knows: accepted up to `known`, kept from `kept` on, and how many it counted as lost."""

    name: int = 0
    known: int = 0
    kept: int = 1
    lost: int = 0


class Worker(NamedTuple):
    """What it holds in memory: a batch under a name, entries to be tried again, and outcomes read for a rebuild."""

    name: int = NOBODY
    batch: Entries = ()
    whole: bool = True
    retries: Entries = ()
    plan: frozenset[int] | None = None
    half: tuple[int, ...] = ()
    """Outcomes written, acknowledgement to follow: only without the rule of one script."""

    def __str__(self) -> str:
        kept = f", keeps {[position for position, _ in self.retries]}" if self.retries else ""
        return f"holds {[position for position, _ in self.batch]} as {self.name}{kept}"


IDLE = Worker()


class Publication(NamedTuple):
    """A publish call under way."""

    name: int
    first: int
    last: int


class Commitment(NamedTuple):
    """A commit under way."""

    name: int
    decided: Entries
    kept: int
    whole: bool


class World(NamedTuple):
    """One state."""

    server: Server
    disk: Server
    """What a power cut would leave."""
    producer: Producer
    workers: tuple[Worker, ...]
    wire: Publication | Commitment | None = None
    era: int = 0
    forgets: int = 0
    deletions: int = 0

    def __str__(self) -> str:
        server = self.server
        log = " ".join(f"{position}:e{event}" for position, event in server.log)
        pending = " ".join(f"{position}@{name or '-'}" for position, name in server.pending)
        outcomes = " ".join(f"{position}=e{event}" for position, event in server.outcomes)
        group = f"read to {server.cursor}, pending [{pending}]" if server.group else "no group"
        workers = "; ".join(
            f"{who} {worker}" for who, worker in zip("AB", self.workers, strict=False) if worker != IDLE
        )
        return f"log [{log}] {group}, outcomes [{outcomes}] | accepted {self.producer.known} | {workers or 'idle'}"


def begin(bounds: Bounds) -> World:
    """The first state: the group is there, and so are the first events, safe on disk."""
    server = Server(
        log=tuple((n, n) for n in range(1, bounds.accepted + 1)),
        number=bounds.accepted,
        fences=((0, bounds.accepted),) if bounds.accepted else (),
    )
    producer = Producer(known=bounds.accepted)
    return World(server, server, producer, (IDLE,) * bounds.workers)


def promise(rules: Rules, world: World) -> str | None:
    """The promise that this state breaks, if any."""
    server, producer = world.server, world.producer
    entries = {**dict(server.trimmed), **dict(server.log)}
    positions = [position for position, _ in (*server.trimmed, *server.log)]
    events = [event for _, event in (*server.trimmed, *server.log)]
    if len(set(positions)) < len(positions) or positions != sorted(positions):
        return "no number is given twice"
    if len(set(events)) < len(events) or events != sorted(events):
        return "an accepted event is in the log once, in order"
    decided = {position for position, _ in server.outcomes}
    if len(decided) < len(server.outcomes):
        return "an entry has at most one outcome"
    if any(entries.get(position) != event for position, event in server.outcomes):
        return "an outcome is that of its entry"
    if any(position not in decided for position, _ in server.trimmed):
        return "nothing is trimmed before it has its outcome"
    if server.group:
        pending = {position for position, _ in server.pending}
        if any(p <= server.cursor and p not in decided and p not in pending for p, _ in server.log):
            return "an entry that nobody will get any more has an outcome"
        if any(position in decided for position in pending) and rules.one_script:
            return "an entry with an outcome is delivered to nobody"
    if world.era == 0 and not set(range(1, producer.known + 1)) <= set(events):
        return "nothing accepted is lost without a power cut"
    return None


def settled(bounds: Bounds, world: World) -> bool:
    """Whether all is accepted, confirmed and decided, and nothing is under way."""
    server, producer = world.server, world.producer
    return (
        world.wire is None
        and producer.known == bounds.events
        and dict(server.fences).get(producer.name, producer.name) == producer.known
        and all(worker == IDLE for worker in world.workers)
        and (not world.workers or (server.group and not server.pending and server.log[-1][0] <= server.cursor))
    )


def account(bounds: Bounds, world: World) -> str | None:
    """What a settled state breaks: every event is in the log and decided, or the producer counted it as lost."""
    there = {event for _, event in (*world.server.trimmed, *world.server.log)}
    missing = bounds.events - len(there)
    if missing != world.producer.lost:
        return f"what is not in the log is counted as lost ({missing} missing, {world.producer.lost} counted)"
    if missing and not (world.era and world.forgets):
        return "only a power cut beyond the producer's buffer loses anything"
    return None


def steps(rules: Rules, bounds: Bounds, world: World) -> Iterator[Step[World]]:
    """Everything that can happen next."""
    yield from _publishing(rules, bounds, world)
    for what, after, fault in _nature(rules, bounds, world):
        yield what, _tidy(rules, after), fault
    for who in range(bounds.workers):
        for what, after, fault in _working(rules, bounds, world, who):
            yield f"worker {'AB'[who]} {what}", _tidy(rules, after), fault


def _publishing(rules: Rules, bounds: Bounds, world: World) -> Iterator[Step[World]]:
    producer = world.producer
    first = producer.known + 1
    if first > bounds.events and dict(world.server.fences).get(producer.name, producer.name) == producer.known:
        return  # asking now would change nothing
    for last in range(first - 1 if first > bounds.events else first, min(bounds.events, first + 1) + 1):
        what = f"producer sends {first}..{last}" if last >= first else "producer asks what is held"
        call = Publication(producer.name, first, last)
        server, status, taken = model.publish(rules, world.server, world.era, *call)
        known = world._replace(server=server, producer=_answered(rules, producer, taken))
        yield f"{what}: {status}, {taken} held", known, False
        if last >= first:
            yield f"{what}: {status}, reply lost", world._replace(server=server), True
            if bounds.wire and world.wire is None:
                yield f"{what}: given up, still on its way", world._replace(wire=call), True
    if world.forgets < bounds.forgets and producer.kept <= producer.known:
        forgotten = producer._replace(kept=producer.kept + 1)
        yield f"producer forgets {producer.kept}", world._replace(producer=forgotten, forgets=world.forgets + 1), True


def _answered(rules: Rules, producer: Producer, taken: int) -> Producer:
    if taken >= producer.known or not rules.send_again:
        return producer._replace(known=max(taken, producer.known))
    missing = max(0, producer.kept - 1 - taken)
    back = producer.kept - 1 if missing else taken
    name = back if missing else producer.name
    return Producer(name, back, max(producer.kept, name + 1), producer.lost + missing)


def _nature(rules: Rules, bounds: Bounds, world: World) -> Iterator[Step[World]]:
    if bounds.cuts and world.disk != world.server and world.era < bounds.cuts:
        yield "the disk is written to", world._replace(disk=world.server), False
        era = world.era + 1
        yield "POWER CUT", world._replace(server=world.disk, wire=None, era=era), True
    if world.deletions < bounds.deletions and world.server.group:
        gone = world.server._replace(group=False, cursor=0, pending=())
        yield "THE GROUP IS DELETED", world._replace(server=gone, deletions=world.deletions + 1), True
    if bounds.trims and (trimmed := model.trim(rules, world.server)) != world.server:
        yield "the oldest entry is trimmed", world._replace(server=trimmed), False
    match world.wire:
        case Publication() as call:
            server, status, _ = model.publish(rules, world.server, world.era, *call)
            yield f"the delayed events arrive: {status}", world._replace(server=server, wire=None), False
        case Commitment() as call if world.server.group:
            server, left = model.commit(rules, world.server, *call)
            said = "written" if left is None else "refused"
            yield f"the delayed commit arrives: {said}", world._replace(server=server, wire=None), False
        case Commitment():
            yield "the delayed commit arrives: no group", world._replace(wire=None), False
        case _:
            pass


def _working(rules: Rules, bounds: Bounds, world: World, who: int) -> Iterator[Step[World]]:
    worker, server = world.workers[who], world.server
    if worker != IDLE:
        yield "DIES and comes back", _with(world, who, IDLE), True
    if worker.half:
        acknowledged = model.acknowledge(server, list(worker.half))
        yield "acknowledges", _with(world._replace(server=acknowledged), who, worker._replace(half=())), False
        return
    if not server.group or worker.plan is not None:
        yield from _rebuilding(rules, world, who)
        if not server.group:
            return
    if worker.batch:
        yield from _committing(rules, bounds, world, who)
        stolen = tuple(p for p, name in server.pending if name != worker.name and p in dict(worker.batch))
        if stolen:
            taken, _ = model.claim(server, worker.name, stolen)
            yield f"renews its claim on {list(stolen)}", world._replace(server=taken), True
        return
    name = _fresh(rules, world, who)
    if worker.retries:
        taken, got = model.claim(server, name, tuple(p for p, _ in worker.retries))
        again = worker._replace(name=name, batch=got, retries=()) if got else IDLE
        yield "takes its retries", _with(world._replace(server=taken), who, again), False
        yield "takes its retries, reply lost", _with(world._replace(server=taken), who, IDLE), True
    for count in range(1, bounds.batch + 1):
        handed, got = model.read(server, name, count)
        if len(got) < count:
            break
        after = world._replace(server=handed)
        positions = [position for position, _ in got]
        reader = worker._replace(name=name, batch=got, whole=True)
        yield f"reads {positions} as {name}", _with(after, who, reader), False
        yield f"reads {positions} as {name}, reply lost", _with(after, who, _lost(rules, worker, name)), True
    if rules.claims:
        yield from _claiming(rules, bounds, world, who, name)


def _claiming(rules: Rules, bounds: Bounds, world: World, who: int, name: int) -> Iterator[Step[World]]:
    worker, server = world.workers[who], world.server
    free = [position for position, _ in server.pending]
    for size in range(1, min(len(free), bounds.batch) + 1):
        for wanted in combinations(free, size):
            taken, got = model.claim(server, name, wanted)
            after = world._replace(server=taken)
            owner = worker._replace(name=name, batch=got, whole=True)
            yield f"claims {list(wanted)} as {name}", _with(after, who, owner), False
            yield f"claims {list(wanted)} as {name}, reply lost", _with(after, who, _lost(rules, worker, name)), True
            if bounds.isolates and size > 1:
                part = owner._replace(batch=got[:-1], whole=False)
                what = f"claims {list(wanted)} as {name}, fails to take the last one out, and works on the others"
                yield what, _with(after, who, part), True


def _lost(rules: Rules, worker: Worker, name: int) -> Worker:
    """After a read whose reply is lost the name is abandoned, unless it is the worker's only one."""
    return worker if rules.fresh_names else worker._replace(name=name)


def _committing(rules: Rules, bounds: Bounds, world: World, who: int) -> Iterator[Step[World]]:
    worker = world.workers[who]
    choices = [(worker.batch, Entries())]
    if bounds.retries:
        choices.append((worker.batch[1:], worker.batch[:1]))
    for decided, kept in choices:
        call = Commitment(worker.name, decided, len(kept), worker.whole)
        server, left = model.commit(rules, world.server, *call)
        what = f"commits {[p for p, _ in decided]}" + f" and keeps {[p for p, _ in kept]}" * bool(kept)
        if left is not None:
            remaining = tuple(entry for entry in worker.batch if entry[0] in left or (left and entry in kept))
            part = (
                worker._replace(batch=remaining, whole=False) if remaining else worker._replace(batch=(), name=NOBODY)
            )
            yield f"{what}: only {list(left)} left", _with(world, who, part), False
            continue
        over = worker._replace(batch=(), whole=True, name=NOBODY, retries=tuple(sorted({*worker.retries, *kept})))
        if rules.one_script:
            yield f"{what}: written", _with(world._replace(server=server), who, over), False
            yield f"{what}: written, reply lost", world._replace(server=server), True
            if bounds.wire and world.wire is None:
                yield f"{what}: given up, still on its way", world._replace(wire=call), True
        elif decided:
            written = world.server._replace(outcomes=server.outcomes)
            half = over._replace(half=tuple(p for p, _ in decided))
            yield f"{what}: written, not acknowledged yet", _with(world._replace(server=written), who, half), False


def _rebuilding(rules: Rules, world: World, who: int) -> Iterator[Step[World]]:
    """The group is gone: forget what was held, read the outcomes, make the group again."""
    worker, server = world.workers[who], world.server
    if worker.plan is None:
        plan = frozenset(position for position, _ in server.outcomes)
        yield f"finds no group and reads that {sorted(plan)} are decided", _with(world, who, Worker(plan=plan)), False
        return
    made = world._replace(server=model.rebuild(rules, server, worker.plan))
    yield f"makes the group again without {sorted(worker.plan)}", _with(made, who, IDLE), False


def _with(world: World, who: int, worker: Worker) -> World:
    if worker._replace(name=NOBODY, whole=True) == IDLE:
        worker = IDLE
    workers = world.workers
    return world._replace(workers=(*workers[:who], worker, *workers[who + 1 :]))


def _fresh(rules: Rules, world: World, who: int) -> int:
    """A name that nobody has; without the rule, the worker's only one."""
    if not rules.fresh_names:
        return who + 1
    taken = {worker.name for worker in world.workers} | {_name_on(world.wire)}
    name = 1
    while name in taken:
        name += 1
    return name


def _tidy(rules: Rules, world: World) -> World:
    """The same world with names that nobody will commit under made one: they make no difference."""
    if not rules.fresh_names:
        return world
    alive = frozenset(worker.name for worker in world.workers if worker.batch) | {_name_on(world.wire)}
    server, disk = _orphaned(world.server, alive), _orphaned(world.disk, alive)
    return world if server is world.server and disk is world.disk else world._replace(server=server, disk=disk)


def _orphaned(server: Server, alive: frozenset[int]) -> Server:
    if all(name == NOBODY or name in alive for _, name in server.pending):
        return server
    return server._replace(pending=tuple((p, name if name in alive else NOBODY) for p, name in server.pending))


def _name_on(wire: Publication | Commitment | None) -> int:
    return wire.name if isinstance(wire, Commitment) else NOBODY
