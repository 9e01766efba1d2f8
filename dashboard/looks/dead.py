"""Whether there is anything new about dead letters: section `dead`. The page asks for the letters when there is."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from headrace.backwards import through
from headrace.bus import Bus
from headrace.channels import ACTIONS, DEAD
from headrace.dashboard.state import State
from headrace.positions import START


class DeadNews(msgspec.Struct, frozen=True):
    """The section: letters ever written, and a text that is another one whenever a letter or an action came."""

    written: int
    news: str


class Letters:
    """Reads no letter: only where the logs end, or ended at the moment `at` (Unix ms)."""

    def __init__(self, at: int | None = None) -> None:
        self._stop = None if at is None else through(at)

    def wants(self, name: str) -> bool:
        return name == "dead"

    async def look(self, bus: Bus, state: State, names: Collection[str]) -> Mapping[str, msgspec.Struct]:
        written, ends = 0, []
        for partition in bus.names.partitions_of(DEAD):
            for channel in (DEAD, ACTIONS):
                epoch, newest = await bus.last(channel, partition)
                if self._stop is not None:
                    entries = await bus.read(channel, partition, stop=self._stop, count=1, newest_first=True)
                    epoch, newest = (epoch, entries[0].position) if entries else ("", START)
                ends.append(f"{epoch} {newest}")
                written += newest.number if channel == DEAD else 0
        return {"dead": DeadNews(written, " ".join(ends))}
