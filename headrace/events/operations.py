"""Operations: dead letters, workers, publishers, models, alerts. Channels `dead`, `workers`, `models`, `alerts`."""

from __future__ import annotations

from typing import Literal

import msgspec

from headrace.events.base import Event


class BatchSample(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One batch of those that a worker decided lately. On the wire: a list in this order."""

    at: float
    """Unix time of its end, seconds."""
    size: int
    """Entries in it."""
    wait_ms: float
    """Mean time from the making of its entries to the read that brought them."""
    model_ms: float
    """Time in the model."""
    reason: str
    """Why it was released: `all that waited`, `entries bound`, `bytes bound`, `retry`, `claimed`."""


class EntryDead(Event, frozen=True, kw_only=True, tag="entry.dead"):
    """An entry became a dead letter: `payload` is the event's own bytes, so that it can be published again."""

    channel: str
    partition: int
    position: str
    group: str
    reason: str
    attempts: int
    payload: bytes
    worker: str = ""


class WorkerAlive(Event, frozen=True, kw_only=True, tag="worker.alive"):
    """One second in the life of a process of headrace. Counts are since its start; a gone worker stops sending."""

    worker: str
    kind: str
    """scorer, aggregator, dashboard, gateway, publisher"""
    host: str = ""
    pid: int = 0
    started: float = 0.0
    events: int = 0
    batches: int = 0
    failed: int = 0
    busy: float = 0.0
    """Share of the last second spent working, 0 to 1."""
    batch_mean: float = 0.0
    """Mean entries a batch in the last second."""
    memory_bytes: int = 0
    models: dict[str, int] = {}
    """Models loaded, and their version."""
    live: int = 0
    healed: int = 0
    lost: int = 0
    dropped: int = 0
    unknown: int = 0
    """Events of unknown type seen."""
    batch_samples: list[BatchSample] = []
    """Some batches of the last second, each as likely as any other; at most 12."""
    clock_offset_s: float | None = None
    """Seconds to add to the clock of this process to have the server's; None before it is known."""
    clock_error_s: float = 0.0
    """Within which the offset is known, to either side."""


class WorkerStopped(Event, frozen=True, kw_only=True, tag="worker.stopped"):
    """A process of headrace ended on purpose; what it held was handed back."""

    worker: str
    kind: str


class PublisherReport(Event, frozen=True, kw_only=True, tag="publisher.report"):
    """What became of a publisher's events so far: nothing is dropped without being counted here."""

    producer: str
    accepted: int = 0
    dropped: dict[str, int] = {}
    """Events given up, by event type."""
    spilled: int = 0
    lost: int = 0
    """Accepted events that the server lost in a power cut and that were no longer in the buffer."""
    host: str = ""
    pid: int = 0
    clock_offset_s: float | None = None
    """Seconds to add to the clock of this publisher to have the server's; None if it is not known."""
    clock_error_s: float = 0.0


class ModelPromoted(Event, frozen=True, kw_only=True, tag="model.promoted"):
    """`version` of a model is in service from now on, and `previous` (0 = none) no longer."""

    model: str
    version: int
    sha256: str
    previous: int = 0
    reason: str = ""


class ModelRefused(Event, frozen=True, kw_only=True, tag="model.refused"):
    """A worker could not load a version and keeps the one it has."""

    model: str
    version: int
    worker: str
    reason: str


class Alert(Event, frozen=True, kw_only=True, tag="alert"):
    """Something needs a person, or no longer does. `name` and `subject` together identify it."""

    name: str
    state: Literal["raised", "cleared"]
    severity: Literal["warning", "critical"] = "warning"
    text: str = ""
    since: float = 0.0
    """When it was raised, Unix seconds."""


class ActionTaken(Event, frozen=True, kw_only=True, tag="action.taken"):
    """Somebody did something by hand: `promote`, `rollback`, `requeue` or `discard`; `subject` is what it was done to.

    `sign in` tells of who came to the page: `subject` is the address, `text` says whether it signed in or was held up.
    """

    action: str
    actor: str = ""
    """Who: `local` without a login, else the role that signed in; empty if nobody did."""
    text: str = ""
    count: int = 1
    """How many things it was done to."""
