"""What was published, as the logs have it."""

from __future__ import annotations

from typing import Any

from headrace import Publisher
from headrace.bus.sync import Link
from headrace.channels import RUNS
from headrace.codec import decode
from headrace.events import AnyEvent, RunFinished, RunMetrics
from headrace.settings import Settings


def log(settings: Settings, channel: str, partition: int = 0) -> list[AnyEvent]:
    """All events in a log."""
    return [decode(entry.payload) for entry in Link(settings).read(channel, partition, count=100_000)]


def events(publisher: Publisher) -> list[Any]:
    """All events of runs, once the server has them."""
    publisher.flush()
    return log(publisher.settings, RUNS)


def metrics(publisher: Publisher) -> list[tuple[int, dict[str, float | None]]]:
    """Steps and metrics that were logged."""
    return [(event.step, event.metrics) for event in events(publisher) if isinstance(event, RunMetrics)]


def ended(publisher: Publisher) -> RunFinished:
    """The end of the one run that ended."""
    [finished] = [event for event in events(publisher) if isinstance(event, RunFinished)]
    return finished
