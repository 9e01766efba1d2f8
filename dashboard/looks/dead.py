"""Whether there is anything new about dead letters: section `dead`. The page asks for the letters when there is."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from headrace.bus import Bus
from headrace.channels import ACTIONS, DEAD
from headrace.dashboard.state import State


class DeadNews(msgspec.Struct, frozen=True):
    """The section: letters ever written, and a text that is another one whenever a letter or an action came."""

    written: int
    news: str


class Letters:
    """Reads no letter: only where the logs end."""

    def wants(self, name: str) -> bool:
        return name == "dead"

    async def look(self, bus: Bus, state: State, names: Collection[str]) -> Mapping[str, msgspec.Struct]:
        written, ends = 0, []
        for partition in bus.names.partitions_of(DEAD):
            for channel in (DEAD, ACTIONS):
                epoch, newest = await bus.last(channel, partition)
                ends.append(f"{epoch} {newest}")
                written += newest.number if channel == DEAD else 0
        return {"dead": DeadNews(written, " ".join(ends))}
