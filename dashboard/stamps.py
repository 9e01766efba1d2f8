"""The stamps of a prediction, brought to the server's clock as far as the clocks of their hosts are known. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from headrace.events import ClockView, Frame, PredictionSampled

AGREES = ClockView()
"""A host that has told nothing is taken to have the server's time."""


class Stamps(NamedTuple):
    """Unix seconds by the server's clock, 0 where it is not known; `tolerance_s` is how well the clocks are known."""

    created: float
    received: float
    scored: float
    tolerance_s: float


def stamps(event: PredictionSampled, frame: Frame | None) -> Stamps:
    """When it was asked for by its publisher, read and scored by its worker."""
    clocks: Mapping[str, ClockView] = frame.clocks if frame else {}
    hosts = {worker.worker: worker.host for worker in frame.workers} if frame and clocks else {}
    asked = clocks.get(event.publisher) or clocks.get(event.publisher.rpartition(":")[0], AGREES)
    worked = clocks.get(hosts.get(event.worker, ""), AGREES)
    return Stamps(
        event.created and event.created + asked.offset_s,
        event.received and event.received + worked.offset_s,
        event.scored and event.scored + worked.offset_s,
        max(asked.error_s, worked.error_s),
    )
