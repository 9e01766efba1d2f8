"""The server's clock against that of each host, from what its processes say, and against that of each named source.

A stamp tells its source. That of most publishers names their host; one that was given a name of its own is known by the
hosts from which reports of this name came. If these are several, its clock lies somewhere between theirs. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from headrace.events import ClockView, PublisherReport, WorkerAlive

HOSTS: Final = 50
"""Hosts whose clocks are known; of more than that those heard of last."""
SOURCES: Final = 50
"""Named sources whose hosts are known; of more than that those heard of last."""
RENEWED_S: Final = 120.0
"""A clock may have moved since: after so long a less certain estimate takes the place of an older one."""
HOST, SOURCE = "clock:", "source:"
"""Begin the names of saved fields."""


class _Clock(msgspec.Struct, array_like=True):
    offset_s: float
    error_s: float
    at: float


class Clocks:
    """A fold of signs of life and reports, logged at Unix second `at`. Fields to save are told as they change."""

    def __init__(self) -> None:
        self._hosts: dict[str, _Clock] = {}
        self._sources: dict[str, list[str]] = {}
        """Hosts of each source, sources by when they were last heard of."""

    def take(self, event: WorkerAlive | PublisherReport, at: float) -> dict[str, bytes | None]:
        """Fold one event: what is to be saved since, None for a field to be dropped."""
        if event.clock_offset_s is None or not event.host:
            return {}
        changes: dict[str, bytes | None] = {}
        self._compare(event.host, _Clock(event.clock_offset_s, event.clock_error_s, at), changes)
        if isinstance(event, PublisherReport) and event.source and event.source.rpartition(":")[0] != event.host:
            self._name(event.source, event.host, changes)
        return changes

    def views(self) -> dict[str, ClockView]:
        """By host and by named source. A host is never taken for a source that bears its name."""
        found: dict[str, ClockView] = {}
        for source, hosts in self._sources.items():
            clocks = [self._hosts[host] for host in hosts if host in self._hosts]
            if clocks:
                low = min(clock.offset_s - clock.error_s for clock in clocks)
                high = max(clock.offset_s + clock.error_s for clock in clocks)
                found[source] = ClockView(offset_s=round((low + high) / 2, 6), error_s=round((high - low) / 2, 6))
        for host, clock in self._hosts.items():
            found[host] = ClockView(offset_s=clock.offset_s, error_s=clock.error_s)
        return found

    def load(self, saved: Mapping[str, bytes]) -> None:
        """Go on from what `take` told to save. Raises msgspec.DecodeError."""
        for name, payload in saved.items():
            if name.startswith(HOST):
                self._hosts[name.removeprefix(HOST)] = msgspec.msgpack.decode(payload, type=_Clock)
            elif name.startswith(SOURCE):
                self._sources[name.removeprefix(SOURCE)] = msgspec.msgpack.decode(payload, type=list[str])

    def _compare(self, host: str, found: _Clock, changes: dict[str, bytes | None]) -> None:
        """Of what the processes of a host say of its clock the surest counts."""
        known = self._hosts.get(host)
        if known is not None and found.error_s >= known.error_s and found.at - known.at < RENEWED_S:
            return
        self._hosts[host] = found
        changes[HOST + host] = msgspec.msgpack.encode(found)
        if len(self._hosts) > HOSTS:
            oldest = min(self._hosts, key=lambda one: self._hosts[one].at)
            del self._hosts[oldest]
            changes[HOST + oldest] = None

    def _name(self, source: str, host: str, changes: dict[str, bytes | None]) -> None:
        hosts = self._sources.pop(source, [])
        self._sources[source] = [*(one for one in hosts if one != host and one in self._hosts), host]
        if self._sources[source] != hosts:
            changes[SOURCE + source] = msgspec.msgpack.encode(self._sources[source])
        if len(self._sources) > SOURCES:
            oldest = next(iter(self._sources))
            del self._sources[oldest]
            changes[SOURCE + oldest] = None
