"""forwards: every entry once and in order, in pages that large events do not make larger than memory."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import msgspec

from headrace.bus import Bus
from headrace.channels import REQUESTS
from headrace.events import Matrix, PredictionRequested, new_id
from headrace.forwards import FIRST, PAGE_BYTES, forwards
from headrace.positions import START, Position

if TYPE_CHECKING:
    from tests.contract.conftest import Events

LARGE_BYTES = 400_000


async def read(bus: Bus, newest: Position, start: Position | None = None) -> list[list[int]]:
    """Numbers of the entries, page by page."""
    return [[entry.position.number for entry in page] async for page in forwards(bus, "runs", 0, newest, start=start)]


async def test_an_empty_log_has_no_pages(any_bus: Bus) -> None:
    assert await read(any_bus, START) == []


async def test_every_entry_once_and_in_order(any_bus: Bus, events: Events) -> None:
    receipt = await any_bus.publish("runs", events(100))
    places = receipt.positions
    pages = await read(any_bus, places[-1])
    assert list(chain(*pages)) == list(range(1, 101))
    assert [len(page) for page in pages] == [FIRST, 100 - FIRST]
    await any_bus.publish("runs", events(1, 101))
    assert list(chain(*await read(any_bus, places[-1], places[89]))) == list(range(90, 101))


async def test_pages_of_large_events_stay_within_their_bytes(any_bus: Bus) -> None:
    request = PredictionRequested(model="m", inputs=Matrix("<f4", (1, LARGE_BYTES // 4), bytes(LARGE_BYTES)))
    for _ in range(24):
        await any_bus.publish(REQUESTS, [msgspec.structs.replace(request, id=new_id())])
    _, newest = await any_bus.last(REQUESTS)
    pages = [page async for page in forwards(any_bus, REQUESTS, 0, newest)]
    assert [entry.position.number for page in pages for entry in page] == list(range(1, 25))
    assert len(pages[0]) == FIRST
    assert all(sum(len(entry.payload) for entry in page) <= PAGE_BYTES for page in pages[1:])
