"""The faults. Each scenario inflicts its own, again and again at seeded moments, and balances the books afterwards."""

from __future__ import annotations

from tests.chaos.scenario import ALL
from tests.chaos.scenarios import network, server, workers

__all__ = ["ALL", "network", "server", "workers"]
