"""The look at the server's clock."""

from __future__ import annotations

import pytest

from headrace.clocks import REMEMBERED
from headrace.dashboard.looks.clock import Clock, Clocks
from headrace.dashboard.state import State
from headrace.settings import Settings
from tests.unit.frames import Story, StoryBus


class Far(StoryBus):
    """A server whose clock is seven seconds ahead; its answers take as long as `trips` say, all on the way back."""

    def __init__(self, trips: list[float]) -> None:
        super().__init__(Settings(), Story(), past_s=0)
        self.now, self.trips = 1000.0, trips

    async def time(self) -> float:
        said = self.now + 7.0
        self.now += self.trips.pop(0)
        return said


@pytest.mark.parametrize("trips", [[0.5, 0.01, 0.2], [0.01] + [0.5] * (REMEMBERED - 1)])
async def test_the_quickest_answer_is_believed(trips: list[float]) -> None:
    bus = Far(list(trips))
    look = Clocks(lambda: bus.now, lambda: bus.now)
    for _ in trips:
        found = (await look.look(bus, State(), ["clock"]))["clock"]
    assert isinstance(found, Clock)
    assert found.trip_s == pytest.approx(0.01)
    assert abs(found.offset_s - 7.0) <= found.trip_s / 2 + 1e-6


async def test_an_old_answer_is_forgotten() -> None:
    bus = Far([0.01] + [0.5] * REMEMBERED)
    look = Clocks(lambda: bus.now, lambda: bus.now)
    for _ in range(1 + REMEMBERED):
        found = (await look.look(bus, State(), ["clock"]))["clock"]
    assert isinstance(found, Clock)
    assert found.trip_s == pytest.approx(0.5)
