"""The truth of predictions in the tail, from the newest entries of the log of labels that met their predictions."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from headrace.bus import Bus
from headrace.channels import JOINED
from headrace.codec import decode
from headrace.dashboard.state import State
from headrace.errors import CodecError
from headrace.positions import Position

PAGE = 50
"""Entries that one look reads; of a flood of labels only the newest are looked at."""


class Labels:
    """Folds what it finds into the state."""

    def __init__(self) -> None:
        self._looked: dict[int, Position] = {}

    def wants(self, name: str) -> bool:
        """The tail is part of every page."""
        return name == "status"

    async def look(self, bus: Bus, state: State, names: Collection[str]) -> Mapping[str, msgspec.Struct]:
        if state.unlabelled:
            for partition in bus.names.partitions_of(JOINED):
                await self._look(bus, state, partition)
        return {}

    async def _look(self, bus: Bus, state: State, partition: int) -> None:
        start = self._looked.get(partition)
        if start is None:
            _, self._looked[partition] = await bus.last(JOINED, partition)
            return
        entries = await bus.read(JOINED, partition, start=start, count=PAGE)
        for entry in entries:
            try:
                state.fold(decode(entry.payload), entry.position)
            except CodecError:
                continue
        if len(entries) == PAGE:
            _, newest = await bus.last(JOINED, partition)
            self._looked[partition] = Position(newest.ms, newest.number + 1)
        elif entries:
            last = entries[-1].position
            self._looked[partition] = Position(last.ms, last.number + 1)
