"""The books: what was published, what became of it, and whether the statistics agree; recounted from the logs alone.

Nothing that headrace counted while it ran is believed: every entry in retention is read again. A request is lost if all
groups are done with it and no outcome is in the log, doubled if there are two, waiting if its group still has it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from headrace.bus import Bus
from headrace.channels import REQUESTS, SCORERS
from headrace.forwards import forwards
from headrace.outcomes import SCORED, SEVERAL, Outcomes, read_outcomes
from headrace.positions import START, Position

EXAMPLES = 5


@dataclass(slots=True)
class Audit:
    """What the books say, over all partitions. Counts of requests, unless the name says otherwise."""

    published: int = 0
    """Ever accepted into the logs."""
    trimmed: int = 0
    """No longer in the logs, after every group had committed them."""
    scored: int = 0
    dead: int = 0
    waiting: int = 0
    lost: int = 0
    doubled: int = 0
    unjudged: int = 0
    """In the log, but their outcomes are so old that they were trimmed."""
    seconds: int = 0
    """Seconds of statistics compared with a recount."""
    differing: list[str] = field(default_factory=list)
    """Statistics that differ from the recount, a few of them."""
    examples: list[str] = field(default_factory=list)
    """A few of the lost and doubled."""

    @property
    def balanced(self) -> bool:
        """Nothing lost, nothing doubled, and all statistics equal to the recount."""
        return not (self.lost or self.doubled or self.differing)

    def text(self) -> str:
        """The books as a table for people."""
        rows = [
            ("published", self.published, "requests accepted"),
            ("scored", self.scored, "with exactly one result"),
            ("dead letters", self.dead, "rejected once, with a reason"),
            ("waiting", self.waiting, "not decided yet"),
            ("trimmed", self.trimmed + self.unjudged, "decided, and older than the retention"),
            ("lost", self.lost, "decided without an outcome"),
            ("doubled", self.doubled, "with more than one outcome"),
            ("statistics", len(self.differing), f"differ from the recount of {self.seconds} seconds"),
        ]
        lines = [f"  {name:<13}{n:>12,}  {meaning}" for name, n, meaning in rows]
        lines += [f"  ! {example}" for example in [*self.differing, *self.examples]]
        lines.append("  the books balance" if self.balanced else "  THE BOOKS DO NOT BALANCE")
        return "\n".join(lines)


async def audit(bus: Bus) -> Audit:
    """Recount all requests and outcomes in retention. Reads every log once; safe while the pipeline runs."""
    books = Audit()
    for partition in bus.names.partitions_of(REQUESTS):
        await _audit_partition(bus, partition, books)
    return books


async def _audit_partition(bus: Bus, partition: int, books: Audit) -> None:
    # Requests are fixed first and outcomes read after, so that a running pipeline cannot make a request look lost.
    _, newest = await bus.last(REQUESTS, partition)
    waiting_from = await _undecided_from(bus, partition, newest)
    books.published += newest.number
    if newest == START:
        return
    first = await bus.read(REQUESTS, partition, count=1)
    oldest = first[0].position
    books.trimmed += oldest.number - 1
    closed = int(await bus.time())
    outcomes = await read_outcomes(bus, partition)
    async for page in forwards(bus, REQUESTS, partition, newest):
        for entry in page:
            at = entry.position
            found = outcomes.by_number.get(at.number, 0)
            if found == 0 and at >= waiting_from:
                books.waiting += 1
            elif found == 0 and at.ms < outcomes.since_ms:
                books.unjudged += 1
            elif found == 0:
                books.lost += 1
                _note(books, f"request {partition}-{at} has no outcome")
            elif found == SEVERAL:
                books.doubled += 1
                _note(books, f"request {partition}-{at} has more than one outcome")
            elif found == SCORED:
                books.scored += 1
            else:
                books.dead += 1
    await _compare(bus, partition, outcomes, closed, books)


async def _undecided_from(bus: Bus, partition: int, newest: Position) -> Position:
    """The first request that the scorers have not decided; all before it must have an outcome."""
    for group in await bus.groups(REQUESTS, partition):
        if group.name == SCORERS:
            return group.oldest or Position(newest.ms, newest.number + 1)
    return START


async def _compare(bus: Bus, partition: int, outcomes: Outcomes, closed: int, books: Audit) -> None:
    """Hold the statistics of every whole second in retention, before the second `closed`, against the recount."""
    truths: dict[int, dict[str, int]] = defaultdict(dict)
    for (second, name), n in outcomes.recount.items():
        truths[second][name] = n
    if not truths:
        return
    first = min(truths) + (1 if outcomes.since_ms else 0)  # a log may be trimmed in the middle of a second
    oldest = closed - bus.settings.bucket_ttl_s + 60
    for second in range(max(first, oldest), min(max(truths) + 1, closed)):
        counted = await bus.counters(partition, second)
        counted = {name: n for name, n in counted.items() if name.startswith(("req:", "row:", f"dead:{REQUESTS}:"))}
        truth = truths.get(second, {})
        books.seconds += 1
        if counted != truth and len(books.differing) < EXAMPLES:
            books.differing.append(f"second {second} of partition {partition}: counted {counted}, recounted {truth}")


def _note(books: Audit, example: str) -> None:
    if len(books.examples) < EXAMPLES:
        books.examples.append(example)
