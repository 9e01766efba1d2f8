"""Every channel, and every Redis key and live channel name; nowhere else is a name of a key built.

A key is `PREFIX:{PARTITION}:...`. The braces make the partition the hash tag, so all keys of one commit share a slot
of a Redis Cluster. `C` stands for a channel, `P` for a partition:

    PREFIX:{P}:C:log               stream   the log side; entry id = position, one field `e` = the event's bytes
    PREFIX:{P}:C:head              string   "EPOCH MS-NUMBER" of the newest event; written with the log, in one script
    PREFIX:{P}:C:fence:PRODUCER    string   "SEQUENCE FIRST MS-NUMBER", what is accepted of one producer;       TTL
    PREFIX:{P}:C:made:GROUP        string   which making of a group was the last one;                           TTL
    PREFIX:{P}:C:seen:ID           string   an id taken in from plain PUBLISH;                                  TTL
    PREFIX:{P}:second:S            hash     counters of Unix second S;                                          TTL
    PREFIX:{P}:await:M             hash     predictions of Unix minute M that wait for a label;                 TTL
    PREFIX:{P}:state:NAME          hash     saved state of the aggregator, and what became of dead letters
    PREFIX:{P}:lease:NAME          string   who leads;                                                          TTL
    PREFIX:{P}:C:live              pub/sub  the live side: envelopes [EPOCH, [POSITION, EVENT, ...]]
    PREFIX:in:C                    pub/sub  plain PUBLISH of JSON events, from anybody
    PREFIX:reply:CLIENT            pub/sub  results for one client process
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from headrace.errors import SettingsError

REQUESTS: Final = "requests"
RESULTS: Final = "results"
LABELS: Final = "labels"
JOINED: Final = "joined"
TAIL: Final = "tail"
RUNS: Final = "runs"
MODELS: Final = "models"
WORKERS: Final = "workers"
ALERTS: Final = "alerts"
ACTIONS: Final = "actions"
DEAD: Final = "dead"
FRAMES: Final = "frames"
FRAMES_LONG: Final = "frames-long"

PARTITIONED: Final = frozenset({REQUESTS, RESULTS, LABELS, JOINED, TAIL, DEAD, ACTIONS})
"""Channels that one commit about a request or a letter writes to; the others have partition 0 only."""

BUILT_IN: Final = (
    REQUESTS,
    RESULTS,
    LABELS,
    JOINED,
    TAIL,
    RUNS,
    MODELS,
    WORKERS,
    ALERTS,
    ACTIONS,
    DEAD,
    FRAMES,
    FRAMES_LONG,
)

SCORERS: Final = "scorers"
"""The group of the scorers on `requests`."""
AGGREGATORS: Final = "aggregators"
"""The group of the aggregator on `runs`, `labels`, `models`, `workers` and `alerts`."""

FIELD: Final = b"e"
"""The one field of a log entry."""


@dataclass(frozen=True, slots=True)
class Names:
    """All names of one prefix and partition count."""

    prefix: str
    partitions: int = 1

    def partitions_of(self, channel: str) -> range:
        """The partitions that `channel` has."""
        return range(self.partitions if channel in PARTITIONED else 1)

    def partition_for(self, channel: str, key: str) -> int:
        """The partition of `channel` for a key: the same key always goes to the same one."""
        count = len(self.partitions_of(channel))
        return zlib.crc32(key.encode()) % count if count > 1 else 0

    def tag(self, partition: int) -> str:
        return f"{self.prefix}:{{{partition}}}"

    def log(self, channel: str, partition: int = 0) -> str:
        return f"{self.tag(partition)}:{checked(channel)}:log"

    def head(self, channel: str, partition: int = 0) -> str:
        return f"{self.tag(partition)}:{channel}:head"

    def live(self, channel: str, partition: int = 0) -> str:
        return f"{self.tag(partition)}:{channel}:live"

    def fence(self, channel: str, partition: int, producer: str) -> str:
        return f"{self.tag(partition)}:{channel}:fence:{producer}"

    def made(self, channel: str, partition: int, group: str) -> str:
        """Which making of a group was the last one."""
        return f"{self.tag(partition)}:{channel}:made:{group}"

    def seen(self, channel: str, partition: int) -> str:
        """Beginning of the keys of ids taken in; the id follows."""
        return f"{self.tag(partition)}:{channel}:seen:"

    def second(self, partition: int) -> str:
        """Beginning of the keys of the per-second statistics; the Unix second follows."""
        return f"{self.tag(partition)}:second:"

    def waiting(self, partition: int, ms: int) -> str:
        """The predictions made from requests of the minute of `ms` that wait for their labels."""
        return f"{self.tag(partition)}:await:{ms // 60_000}"

    def state(self, name: str, partition: int = 0) -> str:
        return f"{self.tag(partition)}:state:{name}"

    def lease(self, name: str, partition: int = 0) -> str:
        return f"{self.tag(partition)}:lease:{name}"

    def intake(self, channel: str) -> str:
        return f"{self.prefix}:in:{channel}"

    @property
    def intake_pattern(self) -> str:
        return f"{self.prefix}:in:*"

    def reply(self, client: str) -> str:
        return f"{self.prefix}:reply:{client}"


@lru_cache(maxsize=256)
def checked(channel: str) -> str:
    """The channel's name if it can be one. Raises SettingsError."""
    if not channel or len(channel) > 100 or not all(c.isalnum() or c in "-_." for c in channel):
        raise SettingsError(f"{channel!r} cannot be a channel: use letters, digits, dash, underscore and dot")
    return channel
