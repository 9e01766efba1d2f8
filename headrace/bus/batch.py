"""What one read of a group brought, and the decision about it. Pure until the decision is committed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from headrace.bus.commit import Commit
from headrace.bus.scripts import payload
from headrace.channels import DEAD
from headrace.events import EntryDead
from headrace.positions import Entry, Position
from headrace.settings import EVENT_LIMIT_BYTES, REASON_CHARS


@dataclass(slots=False)
class Batch:
    """What one read brought: `ids` are positions as the log spells them, `payloads` the events' bytes, in log order."""

    consumer: str
    ids: list[bytes]
    payloads: list[bytes]
    attempts: dict[bytes, int] = field(default_factory=dict)
    """Deliveries of entries that were delivered before; missing means that this is the first."""
    read_at: float = 0.0
    """Unix time of the read, seconds."""
    whole: bool = True
    """Whether this is all that its consumer name was ever given; a part is proven entry by entry."""
    full: bool = False
    """Whether the read brought as many entries as it asked for, so that more may be waiting."""

    @classmethod
    def read(cls, consumer: str, raw: Any) -> Batch | None:
        """From the answer of a stream command; None if it brought nothing."""
        ids: list[bytes] = []
        payloads: list[bytes] = []
        for identity, fields in raw or ():
            if fields:  # an entry deleted by somebody's hand has no fields any more
                ids.append(identity)
                payloads.append(payload(fields))
        return cls(consumer, ids, payloads, read_at=time.time(), whole=len(ids) == len(raw)) if ids else None

    def part(self, keep: set[bytes]) -> Batch:
        """The same batch with only some of its entries."""
        pairs = [(i, p) for i, p in zip(self.ids, self.payloads, strict=True) if i in keep]
        return Batch(
            self.consumer,
            [i for i, _ in pairs],
            [p for _, p in pairs],
            {i: n for i, n in self.attempts.items() if i in keep},
            self.read_at,
            self.whole and len(pairs) == len(self),
        )

    @cached_property
    def entries(self) -> list[Entry]:
        """The same as entries with parsed positions."""
        return [Entry(Position.parse(i), p) for i, p in zip(self.ids, self.payloads, strict=True)]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(slots=True)
class Decision(Commit):
    """The commit of one batch: every entry is acknowledged, unless `retry` keeps it or `dead` gives it up."""

    batch: Batch = field(default_factory=lambda: Batch("", [], []))
    worker: str = ""
    max_attempts: int = 1
    limit_bytes: int = EVENT_LIMIT_BYTES
    retries: list[bytes] = field(default_factory=list)

    def retry(self, position: Position | bytes, reason: str) -> bool:
        """Keep an entry for another attempt; False if it had its last one and became a dead letter for `reason`."""
        spelled = _spelled(position)
        if self.batch.attempts.get(spelled, 1) >= self.max_attempts:
            self.dead(spelled, f"{reason} (given up after {self.max_attempts} attempts)")
            return False
        self.entries.remove(spelled)
        self.retries.append(spelled)
        self.kept += 1
        self.count(f"retry:{self.channel}:{self.group}")
        return True

    def dead(self, position: Position | bytes, reason: str) -> None:
        """Give an entry up: it becomes a dead letter with its reason, its bytes and its attempts.

        Of an entry that is larger than an event may be, only so much is kept.
        """
        spelled = _spelled(position)
        letter = EntryDead(
            id=f"{self.group}.{self.channel}.{self.partition}-{spelled.decode()}",
            time=time.time(),
            channel=self.channel,
            partition=self.partition,
            position=spelled.decode(),
            group=self.group,
            reason=reason[:REASON_CHARS],
            attempts=self.batch.attempts.get(spelled, 1),
            payload=self.batch.payloads[self.batch.ids.index(spelled)][: self.limit_bytes],
            worker=self.worker,
        )
        self.append(DEAD, [letter])
        self.count(f"dead:{self.channel}:{self.group}")


GivenUp = Callable[[Decision, str], None]
"""Told of the decision that makes a dead letter of an entry whose workers all died, and the reason, to add to it."""


def _spelled(position: Position | bytes) -> bytes:
    return position if isinstance(position, bytes) else str(position).encode()
