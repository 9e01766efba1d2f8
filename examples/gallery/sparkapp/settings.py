"""What varies between a laptop, a test and a cluster; nothing else of the application does."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AppSettings:
    """`master` says where Spark runs; the rest is the size of the work."""

    master: str = "local[2]"
    partitions: int = 2
    rows: int = 20_000
    iterations: int = 12
    batches: int = 6
    """Micro-batches of the structured stream."""
