"""The faults. Each scenario inflicts its own, again and again at seeded moments, and balances the books afterwards."""

from __future__ import annotations

from tests.chaos.scenario import ALL
from tests.chaos.scenarios import disk, front, network, server, training, workers

__all__ = ["ALL", "disk", "front", "network", "server", "training", "workers"]
