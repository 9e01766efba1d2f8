"""The dashboard as it was: a State of an earlier moment, made by the same fold, shown through the same sections.

The frames of the minute before a moment are folded one by one. Of the quarter of an hour before that, one frame of two
seconds is folded, and the closed steps of the series are put under it; both are the same for all moments, so they are
read once, by blocks, and kept. Curves are those of now, cut at the step that their run had then. What was looked up
then is looked up in the logs as they were then (`looks/`). All that is read is bounded, and other tasks run between any
two pages of it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import msgspec

from headrace.bus import Bus
from headrace.channels import FRAMES
from headrace.curves import Curve, read_curves, run_state
from headrace.dashboard.feed import Feed
from headrace.dashboard.history import TIERS, History, Row, Tier
from headrace.dashboard.looks import looks_at
from headrace.dashboard.looks.earlier import JUDGED, until
from headrace.dashboard.record import Kept, PastError, Record, fold_entry
from headrace.dashboard.sections import Sections, Status
from headrace.dashboard.series import values
from headrace.dashboard.state import State
from headrace.errors import CodecError
from headrace.events import RunView
from headrace.positions import Entry, Position

__all__ = ["LATEST_MS", "Archive", "Earlier", "PastError"]

LATEST_MS = 10**14
"""A moment so far away is a mistake."""
KEPT = 8
"""Moments kept ready: several viewers of one, and a reader who goes to and fro."""
FOUND = 64
"""Sections of one moment that were looked up and are kept; those found first give way."""
BLOCK_S = 30
"""Steps of all tiers end where a block ends, so that blocks can be put together."""
MINUTE_S = 60
QUARTER_S = 900
BLOCKS = 64
"""Blocks kept: about half an hour."""
THIN_S = 2.0
"""Time between two frames of a block that are folded."""
TOGETHER = 4
"""Such frames folded without letting others run."""
MARGIN_MS = 2_000
"""How far the time of a frame may lie from that of its position."""
Key = tuple[str, str, Position]
"""Epoch, channel and position of the newest frame."""


@dataclass(frozen=True, slots=True)
class Block:
    """Half a minute: the closed steps of each tier, and some of the frames."""

    steps: tuple[list[Row], ...]
    frames: list[Entry]


class Earlier:
    """One moment: `state` is what the dashboard knew then, `sections` the bytes of it and of what was looked up."""

    def __init__(self, bus: Bus, state: State, status: Callable[[], Status]) -> None:
        self.state = state
        self._found: dict[str, msgspec.Struct] = {}
        self.sections = Sections(lambda: state, status, self._found)
        self._bus = bus
        self._looks = looks_at(state.position.ms)
        self._turn = asyncio.Lock()

    async def look(self, names: Iterable[str]) -> None:
        """Look up those of the sections that no frame holds, each once. Raises HeadraceError."""
        async with self._turn:
            for look in self._looks:
                wanted = [name for name in names if look.wants(name) and name not in self._found]
                if wanted:
                    self._found.update(await look.look(self._bus, self.state, wanted))
            while len(self._found) > FOUND:
                del self._found[next(iter(self._found))]


class Archive:
    """Earlier moments, each built once for all viewers. Raises PastError and HeadraceError."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self.record = Record(feed.bus)
        self._epoch = ""
        self._kept: OrderedDict[Key, Earlier] = OrderedDict()
        self._blocks: OrderedDict[int, Block] = OrderedDict()
        self._building: dict[Key, asyncio.Task[Earlier]] = {}
        self._turn = asyncio.Semaphore(1)

    async def at(self, at_ms: int) -> Earlier:
        """What it was at `at_ms`: everything up to the newest frame at or before it."""
        await self._follow()
        kept = await self.record.newest(at_ms)
        key = self._epoch, kept.channel, kept.position
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        task = self._building.get(key)
        if task is None:
            task = self._building[key] = asyncio.create_task(self._make(kept), name="building a past")
            task.add_done_callback(lambda done: self._made(key, done))
        return await asyncio.shield(task)

    async def _follow(self) -> None:
        """Forget everything when the log was replaced."""
        epoch, _ = await self._feed.bus.last(FRAMES)
        if epoch != self._epoch:
            self._epoch = epoch
            self._kept, self._blocks = OrderedDict(), OrderedDict()

    def _made(self, key: Key, task: asyncio.Task[Earlier]) -> None:
        del self._building[key]
        if not task.cancelled() and task.exception() is None:
            self._kept[key] = task.result()
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)

    async def _make(self, kept: Kept) -> Earlier:
        async with self._turn:
            state = await self._state(kept)
        return Earlier(self._feed.bus, state, self._feed.status)

    async def _state(self, kept: Kept) -> State:
        first = int((kept.frame.time - MINUTE_S) // BLOCK_S)
        state = State(epoch=self._epoch)
        history = await self._long_ago(state, first)
        state.history = history
        start_ms = first * BLOCK_S * 1000
        beside = await self.record.beside(start_ms - QUARTER_S * 1000, kept.position)
        async for page in self.record.frames(start_ms - MARGIN_MS, kept.position):
            for entry, frame in page:
                await beside.fold(state, entry.position.ms)
                if frame.time >= first * BLOCK_S:
                    state.fold(frame, entry.position)
        await beside.fold(state)
        state.restore(await self._curves(kept.frame.runs))
        return state

    async def _long_ago(self, state: State, end: int) -> History:
        """Fold some frames of the quarter of an hour before the block `end`; the series of all of them."""
        blocks, numbers = self._blocks, range(end - QUARTER_S // BLOCK_S, end)
        missing = [number for number in numbers if number not in blocks]
        if missing:
            blocks.update(await self._read(missing[0], missing[-1] + 1))
        steps: list[list[Row]] = [[] for _ in TIERS]
        for number in numbers:
            block = blocks[number]
            blocks.move_to_end(number)
            for rows, more in zip(steps, block.steps, strict=True):
                rows.extend(more)
            for turn, entry in enumerate(block.frames):
                fold_entry(state, entry)
                if turn % TOGETHER == 0:
                    await asyncio.sleep(0)
        while len(blocks) > BLOCKS:
            blocks.popitem(last=False)
        history = History()
        history.go_on(steps)
        return history

    async def _read(self, first: int, end: int) -> dict[int, Block]:
        """The blocks from `first` to the one before `end`."""
        tiers = {number: [Tier(step_s, BLOCK_S) for step_s, _ in TIERS if step_s] for number in range(first, end)}
        thin: dict[int, dict[int, Entry]] = {number: {} for number in tiers}
        stop = Position(end * BLOCK_S * 1000 + MARGIN_MS, 0)
        async for page in self.record.frames(first * BLOCK_S * 1000 - MARGIN_MS, stop):
            for entry, frame in page:
                number = int(frame.time // BLOCK_S)
                if number in tiers:
                    added = values(frame)
                    for tier in tiers[number]:
                        tier.add(frame.time, added)
                    thin[number].setdefault(int(frame.time // THIN_S), entry)
        return {
            number: Block(([], *(tier.close() for tier in made)), list(thin[number].values()))
            for number, made in tiers.items()
        }

    async def _curves(self, runs: Sequence[RunView]) -> dict[str, dict[str, Curve]]:
        now = self._feed.state
        later = {run.run: run for run in now.frame.runs} if now.frame else {}
        found = {}
        for run in runs:
            curves = now.curves.get(run.run)
            if curves is None:
                curves = {}
                with contextlib.suppress(CodecError):
                    curves = read_curves(await self._feed.bus.state(run_state(run.run)))
            since = later.get(run.run)
            cut: dict[str, Curve] = {}
            for metric, curve in curves.items():
                counts = metric.startswith(JUDGED)
                step = run.candidates if counts else run.step
                went_on = not run.ended and (since is None or (since.candidates if counts else since.step) > step)
                as_then = until(curve, step, went_on)
                if len(as_then):  # a run that had begun and told nothing yet had no curve
                    cut[metric] = as_then
                await asyncio.sleep(0)
            if cut:
                found[run.run] = cut
        return found
