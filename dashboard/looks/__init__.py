"""What is not in the frames is looked up: once a second, and only while somebody watches the sections that need it.

So the cost of a look depends on who watches, not on how much is published. A look bounds what it reads. Made for a
moment of the past it reads the logs no further than that, and is asked once: it finds what it would have found then.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

import msgspec

from headrace.bus import Bus
from headrace.dashboard.looks.alerts import ClearedAlerts
from headrace.dashboard.looks.clock import Clocks
from headrace.dashboard.looks.dead import Letters
from headrace.dashboard.looks.earlier import EarlierRuns
from headrace.dashboard.looks.labels import Labels
from headrace.dashboard.looks.mistakes import PAST_READS, Worst
from headrace.dashboard.looks.runs import Runs
from headrace.dashboard.looks.tail import Tails
from headrace.dashboard.looks.versions import Stored
from headrace.dashboard.state import State


class Look(Protocol):
    """One question to the server."""

    def wants(self, name: str) -> bool:
        """Whether it fills the section of this name."""

    async def look(self, bus: Bus, state: State, names: Collection[str]) -> Mapping[str, msgspec.Struct]:
        """What it found of the sections watched. Raises HeadraceError; a second later it is asked again."""


def looks() -> list[Look]:
    """Those of one dashboard, of the present."""
    return [ClearedAlerts(), Clocks(), Labels(), Runs(), Stored(), Worst(), Tails(), Letters()]


def looks_at(ms: int) -> list[Look]:
    """Those of one moment of the past, Unix ms. Its labels are in its state, and its clocks are those of now."""
    return [ClearedAlerts(ms), EarlierRuns(), Stored(ms), Worst(PAST_READS), Tails(ms), Letters(ms)]
