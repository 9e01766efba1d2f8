"""What a commit writes, gathered piece by piece and sent as one script call. Pure until `Bus.commit` sends it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from headrace.bus.scripts import Argument, Request, pushing, script
from headrace.channels import Names
from headrace.codec import encode
from headrace.errors import EventError
from headrace.events import Event
from headrace.positions import Position
from headrace.settings import Settings


@dataclass(frozen=True, slots=True)
class Left:
    """Nothing was written: only these of the entries are still pending; somebody else has decided the others."""

    positions: list[Position]


@dataclass(slots=True)
class Commit:
    """Everything that deciding a batch of one partition writes, together or not at all.

    `entries` are acknowledged. Methods return nothing and may be called in any order.
    """

    partition: int
    channel: str = ""
    group: str = ""
    consumer: str = ""
    entries: list[bytes] = field(default_factory=list)
    """Positions as the log spells them."""
    kept: int = 0
    """Entries of the same read that stay pending, to be tried again."""
    whole: bool = True
    """`entries` and `kept` are all that the consumer name was ever given; else each entry is proven by itself."""
    _outputs: dict[str, list[bytes]] = field(default_factory=dict)
    _counters: dict[str, int] = field(default_factory=dict)
    _saves: dict[str, tuple[int, dict[str, bytes]]] = field(default_factory=dict)
    _drops: dict[str, list[str]] = field(default_factory=dict)
    _replies: list[tuple[str, bytes]] = field(default_factory=list)
    _waits: dict[int, dict[str, bytes]] = field(default_factory=dict)
    _joined: dict[int, list[str]] = field(default_factory=dict)
    _lease: tuple[str, str] | None = None

    def append(self, channel: str, events: Sequence[Event | bytes]) -> None:
        """Append events to the log and live side of `channel`, in the same partition."""
        payloads = [event if isinstance(event, bytes) else encode(event) for event in events]
        if payloads:
            self._outputs.setdefault(channel, []).extend(payloads)

    def count(self, name: str, n: int = 1) -> None:
        """Add to a counter of the current second."""
        if n:
            self._counters[name] = self._counters.get(name, 0) + n

    def save(self, name: str, values: Mapping[str, bytes]) -> None:
        """Set fields of the saved state `name`."""
        if values:
            self._saves.setdefault(name, (0, {}))[1].update(values)

    def drop(self, name: str, names: Sequence[str]) -> None:
        """Remove fields of the saved state `name`."""
        if names:
            self._drops.setdefault(name, []).extend(names)

    def wait_for_label(self, position: Position, prediction: bytes) -> None:
        """Keep a prediction until its label comes, for settings.join_ttl_s."""
        self._waits.setdefault(position.ms // 60_000, {})[str(position)] = prediction

    def joined(self, position: Position) -> None:
        """A prediction met its label: keep it no longer."""
        self._joined.setdefault(position.ms // 60_000, []).append(str(position))

    def reply(self, live: str, payload: bytes) -> None:
        """Push `payload` to a client's live channel."""
        self._replies.append((live, payload))

    def under_lease(self, name: str, token: str) -> None:
        """Write only while `token` holds the lease `name` of this partition."""
        self._lease = (name, token)

    def request(self, names: Names, settings: Settings) -> Request:
        """The script call. Raises EventError for an output that is empty or too large."""
        partition = self.partition
        source = names.log(self.channel, partition) if self.channel else names.tag(partition)
        keys = [source, names.second(partition)]
        lease = 0
        if self._lease:
            keys.append(names.lease(self._lease[0], partition))
            lease = len(keys)
        kept = self.kept if self.whole else -1
        args: list[Argument] = [self.group, self.consumer, kept, lease, self._lease[1] if self._lease else ""]
        args += [*pushing(settings), settings.bucket_ttl_s]
        args += [len(self.entries), *self.entries]

        args.append(len(self._outputs))
        for channel, payloads in self._outputs.items():
            for payload in payloads:
                if not 0 < len(payload) <= 2 * settings.event_limit_bytes:
                    raise EventError(f"an outcome of {len(payload)} bytes is too large for channel {channel!r}")
            keys.append(names.log(channel, partition))
            args += [len(keys), names.live(channel, partition), channel, len(payloads), *payloads]
            keys.append(names.head(channel, partition))

        counters = dict(self._counters)
        if self.entries:
            counters[f"ack:{self.channel}:{self.group}"] = len(self.entries)
        args.append(len(counters))
        for name, amount in counters.items():
            args += [name, amount]

        hashes: list[tuple[str, int, dict[str, bytes]]] = [
            (names.state(name, partition), ttl, values) for name, (ttl, values) in self._saves.items()
        ]
        hashes += [
            (names.waiting(partition, minute * 60_000), settings.join_ttl_s + 60, values)
            for minute, values in self._waits.items()
        ]
        args.append(len(hashes))
        for key, ttl, values in hashes:
            keys.append(key)
            args += [len(keys), ttl, len(values)]
            for name, value in values.items():
                args += [name, value]

        drops = [(names.state(name, partition), dropped) for name, dropped in self._drops.items()]
        drops += [(names.waiting(partition, minute * 60_000), gone) for minute, gone in self._joined.items()]
        args.append(len(drops))
        for key, dropped in drops:
            keys.append(key)
            args += [len(keys), len(dropped), *dropped]

        args.append(len(self._replies))
        for live, payload in self._replies:
            args += [live, payload]
        return Request(script("commit"), keys, args)


def commit_reply(raw: Sequence[Any]) -> list[Position] | Left | None:
    """Newest position of each output; or what is left; or None when the lease belongs to another."""
    verdict = int(raw[0])
    if verdict < 0:
        return None
    positions = [Position.parse(item) for item in raw[1:]]
    return positions if verdict == 1 else Left(positions)
