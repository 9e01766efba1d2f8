"""The section of the events page: which channels there are, and how much flows in each. Pure."""

from __future__ import annotations

import msgspec

from headrace.channels import BUILT_IN
from headrace.dashboard.state import State

CHANNELS_SHOWN = 100


class ChannelRow(msgspec.Struct, frozen=True):
    """One channel: events a second, and entries in its log; None where the frame does not say."""

    name: str
    rate: float | None = None
    length: int | None = None


class Events(msgspec.Struct, frozen=True):
    """Built-in channels first, in their own order, then those of the user's own."""

    channels: list[ChannelRow]


def events(state: State) -> Events:
    """All channels that are known."""
    views = {view.name: view for view in state.frame.channels} if state.frame else {}
    names = [*BUILT_IN, *sorted(views.keys() - set(BUILT_IN))][:CHANNELS_SHOWN]
    return Events(
        [
            ChannelRow(name, round(views[name].rate.s5, 1), views[name].length) if name in views else ChannelRow(name)
            for name in names
        ]
    )
