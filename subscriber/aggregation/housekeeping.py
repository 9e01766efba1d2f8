"""Keeping logs as long as they are wanted and no longer, and noticing groups that nobody works for.

What a group still needs is never trimmed; that is the bus's rule. Here stands only how long things are wanted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from headrace.bus import Bus, GroupState
from headrace.channels import ACTIONS, AGGREGATORS, ALERTS, DEAD, FRAMES, FRAMES_LONG, MODELS, RUNS, TAIL
from headrace.events import ServerView
from headrace.settings import Settings
from headrace.subscriber.aggregation.frame import Place, silences

FORGET_MS: Final = 60_000
"""Consumer names that hold nothing for so long are left over from a worker that died."""
REMOVE_FACTOR: Final = 144
"""An abandoned group is removed after so many times the silence that raises the alert: a day, by default."""
ROOMY: Final = 0.75
"""As long as no more of the server's memory is used, logs are kept as long as they are wanted."""
_FRAME_SHARE: Final = 4
"""Frames and samples are worth less than requests: a fourth of the bytes."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long the entries of a channel are wanted, and how many bytes of them."""

    age_s: int
    keep_bytes: int


def room(server: ServerView) -> float:
    """Share of the bytes wanted that may be kept: 1 while the server has room, 0 when it is full."""
    if not server.memory_limit_bytes:
        return 1.0
    used = server.memory_bytes / server.memory_limit_bytes
    return min(1.0, max(0.0, (1.0 - used) / (1.0 - ROOMY)))


def retention(channel: str, settings: Settings, share: float = 1.0) -> Retention:
    """The retention of a channel; channels of the user's own are kept like requests.

    On a server that gets full what is done with makes room for what comes, down to a `share` of the bytes: better a
    shorter past than publishers that are refused. Runs, models, alerts, actions and dead letters are kept all the same.
    """
    keep_bytes = int(settings.retention_bytes * share)
    if channel in (FRAMES, TAIL):
        return Retention(settings.frames_s, keep_bytes // _FRAME_SHARE)
    if channel == FRAMES_LONG:
        return Retention(settings.frames_long_s, keep_bytes // _FRAME_SHARE)
    if channel in (RUNS, MODELS, ALERTS, ACTIONS, DEAD):
        return Retention(settings.runs_s, settings.retention_bytes)
    return Retention(settings.retention_s, keep_bytes)


@dataclass(slots=True)
class Silence:
    """How long nobody has worked for each group: pure fold of what the server says of the groups."""

    _since: dict[tuple[str, str], float] = field(default_factory=dict)

    def step(self, groups: Iterable[tuple[Place, list[GroupState]]], now: float) -> dict[tuple[str, str], float]:
        """Seconds of silence for each (channel, group) at `now`, Unix seconds.

        A reader that waits for entries counts as working. A group without members is silent since that was first seen.
        """
        found = silences(groups)
        self._since = {
            key: now - idle_ms / 1000 if member else self._since.get(key, now)
            for key, (member, idle_ms) in found.items()
        }
        return {key: max(0.0, now - since) for key, since in self._since.items()}


def outdated(silent_s: dict[tuple[str, str], float], settings: Settings) -> list[tuple[str, str]]:
    """Groups silent for so long that they are removed, lest they keep their logs from being trimmed for ever."""
    bound_s = REMOVE_FACTOR * settings.abandoned_s
    return [key for key, seconds in silent_s.items() if seconds >= bound_s and key[1] != AGGREGATORS]


async def tidy(
    bus: Bus, places: Iterable[Place], groups: dict[Place, list[GroupState]], now: float, share: float = 1.0
) -> int:
    """Trim every log by its retention and remove left-over consumer names: entries removed."""
    removed = 0
    for place in places:
        rule = retention(place.channel, bus.settings, share)
        before_ms = int((now - rule.age_s) * 1000)
        removed += await bus.trim(place.channel, place.partition, before_ms=before_ms, keep_bytes=rule.keep_bytes)
        for state in groups.get(place, ()):
            if state.consumers > 1:
                await bus.forget(place.channel, place.partition, state.name, idle_ms=FORGET_MS)
    return removed
