"""The sections of runs that no frame holds, and how the name of a section leads to what fills it.

`runs.py` reads them as they are, `earlier.py` as they were at a moment of the past.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Collection, Mapping

import msgspec

from headrace.dashboard.sections.training import past_runs
from headrace.errors import CodecError
from headrace.events import RunView

Reader = Callable[[RunView], Awaitable[msgspec.Struct | None]]
"""Reads what a section says of one run; None if it has to wait."""


def wants(name: str) -> bool:
    """Whether a section is `runs`, `run:RUN` or `search:RUN`."""
    return name == "runs" or name.startswith(("run:", "search:"))


async def fill(
    names: Collection[str], views: Mapping[str, RunView], here: Collection[str], run: Reader, search: Reader
) -> dict[str, msgspec.Struct]:
    """The sections of these names, as far as their runs are known and what was saved of them can be read.

    `views` are all runs that are known, `here` those of them that the frame holds.
    """
    found: dict[str, msgspec.Struct] = {}
    for name in sorted(names):
        word, _, of = name.partition(":")
        if word == "runs":
            found[name] = past_runs(view for view in views.values() if view.run not in here)
        elif of in views:
            with contextlib.suppress(CodecError):
                section = await (run if word == "run" else search)(views[of])
                if section is not None:
                    found[name] = section
    return found
