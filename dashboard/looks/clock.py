"""The server's clock against the dashboard's own, from round trips: the quickest of the last ones says it best."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping

import msgspec

from headrace.bus import Bus
from headrace.clocks import ServerClock
from headrace.dashboard.state import State


class Clock(msgspec.Struct, frozen=True):
    """The section `clock`: seconds to add to the dashboard's clock, known to within half the round trip `trip_s`."""

    offset_s: float
    trip_s: float


class Clocks:
    """Asks the server for its time, once a second; see `headrace.clocks`."""

    def __init__(self, clock: Callable[[], float] = time.time, ticks: Callable[[], float] = time.perf_counter) -> None:
        self._clock, self._ticks = clock, ticks
        self._server = ServerClock()

    def wants(self, name: str) -> bool:
        return name == "clock"

    async def look(self, bus: Bus, state: State, names: Collection[str]) -> Mapping[str, msgspec.Struct]:
        asked, began = self._clock(), self._ticks()
        said = await bus.time()
        trip_s = self._ticks() - began
        self._server.take(asked, said, trip_s)
        best = self._server.estimate
        return {"clock": Clock(round(best.offset_s, 6), round(2 * best.error_s, 6))} if best else {}
