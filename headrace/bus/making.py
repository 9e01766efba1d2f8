"""Making a group: from the beginning, from now on, or again after somebody has deleted it.

A deleted group is made from what the logs say is decided. That is sound because nothing can be decided while there is
none; so each making leaves its name beside the log, and one that began before another came and went begins again.
"""

from __future__ import annotations

import secrets
from typing import Any, Literal

from headrace.bus.bus import Bus, Decided
from headrace.bus.connection import answered
from headrace.bus.scripts import Argument, Request, script
from headrace.positions import START

MADE_MEANWHILE = -1
"""What the script says if the group was made by another and deleted again: what was decided then is not known here."""


async def make_group(
    bus: Bus, channel: str, partition: int, group: str, start: Literal["start", "now"], decided: Decided | None
) -> None:
    """Make the group if it is not there; with `decided`, without what is decided already."""
    while await _make(bus, channel, partition, group, start, decided) == MADE_MEANWHILE:
        pass


async def _make(
    bus: Bus, channel: str, partition: int, group: str, start: Literal["start", "now"], decided: Decided | None
) -> int:
    made = bus.names.made(channel, partition, group)
    keys, making = [bus.names.log(channel, partition), made], secrets.token_hex(5)
    client: Any = bus._client
    async with answered(bus.settings, channel):
        last_made = await client.get(made) or b""  # before looking for the group: see rebuild.lua
    _, newest = await bus.last(channel, partition)
    if any(one.name == group for one in await bus.groups(channel, partition)):
        return 0  # if it is deleted at this moment, the next read finds that out and knows what to do
    if decided and newest != START:
        begin, after = await decided(bus, partition, group)
        ahead = after[-1].number - begin.number if after else 0
        args: list[Argument] = [group, making, last_made, str(begin), begin.number, ahead]
        args += [bus.settings.claim_ms, *[str(position) for position in after]]
        return int(await bus.call(Request(script("rebuild"), keys, args), channel))
    args = [group, "0" if start == "start" else "$", making]
    return int(await bus.call(Request(script("group"), keys, args), channel))
