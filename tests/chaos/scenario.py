"""What a scenario is, and the list of all: whoever defines one enters it by the decorator."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.stage import Outcome, Size, Stage

Run = Callable[[Stage, Size], Awaitable[Outcome]]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A fault, and what it is inflicted on. `settings` are those of all processes."""

    name: str
    run: Run
    fsync: str = "everysec"
    settings: dict[str, Any] = field(default_factory=dict)
    share: float = 1.0
    """Its part of the faults of a run: some need seconds each."""
    slow_disk: bool = False
    """Its server's fsync can be slowed down; left out where that cannot be done."""
    deep: bool = False
    """Another form of a fault that the test suite plays anyway; played there with `HEADRACE_DEEP=1` only."""


ALL: list[Scenario] = []


def scenario(
    name: str,
    *,
    fsync: str = "everysec",
    share: float = 1.0,
    slow_disk: bool = False,
    deep: bool = False,
    **settings: Any,
) -> Callable[[Run], Run]:
    """Enter a scenario into the list."""

    def enter(run: Run) -> Run:
        ALL.append(Scenario(name, run, fsync, settings, share, slow_disk, deep))
        return run

    return enter
