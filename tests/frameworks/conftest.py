"""What the adapters of heavy frameworks are tried with: a publisher on fakeredis, and what it said.

`make frameworks` makes an environment for each requirements file here and runs the tests in it; elsewhere the tests of
what is missing are skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace import Publisher
from headrace.bus.sync import Link
from headrace.channels import RUNS
from headrace.codec import decode
from headrace.settings import Settings

Said = Callable[[], list[Any]]


@pytest.fixture
def publisher(headrace_settings: Settings, tmp_path: Path) -> Iterator[Publisher]:
    """A publisher of its own."""
    with Publisher(headrace_settings.with_(spill=tmp_path / "spill")) as one:
        yield one


@pytest.fixture
def said(publisher: Publisher) -> Said:
    """Asks for all events of runs that the server has by now."""

    def events() -> list[Any]:
        publisher.flush()
        return [decode(entry.payload) for entry in Link(publisher.settings).read(RUNS, 0, count=100_000)]

    return events
