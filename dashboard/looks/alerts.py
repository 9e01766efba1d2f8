"""Alerts that are over, with when they were raised and cleared, from the newest entries of their log."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import msgspec

from headrace.backwards import through
from headrace.bus import Bus
from headrace.channels import ALERTS
from headrace.codec import decode
from headrace.dashboard.state import State
from headrace.errors import CodecError
from headrace.events import Alert
from headrace.positions import START, Position

READ = 200
"""Entries that one look reads at most."""
SHOWN = 50


class Over(msgspec.Struct, frozen=True, kw_only=True):
    """One alert that is over; times are Unix seconds, and `since` is 0 if the log does not say any more."""

    name: str
    subject: str
    severity: str
    text: str
    since: float
    cleared: float


class Cleared(msgspec.Struct, frozen=True):
    """The section `cleared`, the one cleared last first. `more`: older ones are in the log."""

    alerts: list[Over]
    more: bool


class ClearedAlerts:
    """Reads the log again when it has grown; of the moment `at` (Unix ms) as far as it was then."""

    def __init__(self, at: int | None = None) -> None:
        self._stop = None if at is None else through(at)
        self._newest: tuple[str, Position] = ("", START)
        self._found = Cleared([], False)

    def wants(self, name: str) -> bool:
        return name == "cleared"

    async def look(self, bus: Bus, state: State, names: Collection[str]) -> Mapping[str, msgspec.Struct]:
        newest = await bus.last(ALERTS)
        if newest != self._newest:
            entries = await bus.read(ALERTS, stop=self._stop, count=READ, newest_first=True)
            events = []
            for entry in entries:
                try:
                    event = decode(entry.payload)
                except CodecError:
                    continue
                if isinstance(event, Alert):
                    events.append((event, entry.position.ms / 1000))
            found = over(events)
            self._found = Cleared(found[:SHOWN], len(found) > SHOWN or len(entries) == READ)
            self._newest = newest
        return {"cleared": self._found}


def over(events: Iterable[tuple[Alert, float]]) -> list[Over]:
    """The alerts that were cleared, from (event, when it was logged), newest first."""
    found: list[Over] = []
    waiting: dict[tuple[str, str], list[tuple[Alert, float]]] = {}

    def settle(key: tuple[str, str], raised: tuple[Alert, float] | None) -> None:
        for event, at in waiting.pop(key, ()):
            told = event.since or (raised[1] if raised else 0.0)
            found.append(
                Over(
                    name=event.name,
                    subject=event.subject,
                    severity=event.severity,
                    text=event.text or (raised[0].text if raised else ""),
                    since=told,
                    cleared=at,
                )
            )

    for event, at in events:
        key = event.name, event.subject
        if event.state == "cleared":
            settle(key, None)
            waiting[key] = [(event, at)]
        else:
            settle(key, (event, at))
    for key in list(waiting):
        settle(key, None)
    return sorted(found, key=lambda one: -one.cleared)
