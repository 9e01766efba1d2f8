"""The one way in: a single subscription of the process, folded into the state; whoever watches is woken.

On start, and whenever the log of frames was replaced or went back, the state is built anew from the logs (frames, and
the samples and labels between them) and from the aggregator's saved curves, so that a restarted dashboard shows the
same as before.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Iterator

import msgspec

from headrace.bus import Bus, Counts, Delivery, Entry, Lost, Subscription
from headrace.channels import ALERTS, FRAMES, TAIL
from headrace.codec import decode
from headrace.curves import Curve, read_curves, run_state
from headrace.dashboard.looks import looks
from headrace.dashboard.record import Record
from headrace.dashboard.sections import Sections, Status
from headrace.dashboard.state import State
from headrace.errors import CodecError, HeadraceError
from headrace.heartbeat import Tally
from headrace.positions import START, Position

PAST_S = 900
PAGE = 500
LOOK_S = 1.0
CONNECTING = "connecting"
SILENT = "no server answers"
BACKOFF_S = (0.2, 5.0)

log = logging.getLogger(__name__)


class Feed:
    """Follows the bus for ever; `state` is what it knows, `sections` the bytes of it. Run `run` as a task."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.state = State()
        self.found: dict[str, msgspec.Struct] = {}
        """Sections that looks found."""
        self.sections = Sections(lambda: self.state, self.status, self.found)
        self.watching: dict[asyncio.Event, Callable[[], Collection[str]]] = {}
        """Who is woken for news, and what sections each watches."""
        self.unknown = 0
        """Events that could not be read: of another version, or broken."""
        self.frames = 0
        self._subscription: Subscription | None = None
        self._up = False
        self._reason = CONNECTING
        self._looks = looks()

    def status(self) -> Status:
        """The dashboard's own condition."""
        tally = self.tally()
        return Status(
            bus="up" if self.connected else "starting" if self._reason == CONNECTING else "down",
            reason="" if self.connected else self._reason,
            viewers=len(self.watching),
            prefix=self.bus.settings.prefix,
            server=self.bus.settings.shown_url,
            live=tally.live,
            healed=tally.healed,
            lost=tally.lost,
            unknown=tally.unknown,
        )

    def tally(self) -> Tally:
        """The dashboard's own counts, for its heartbeat."""
        counts = self._subscription.counts if self._subscription else Counts()
        return Tally(
            events=self.frames,
            batches=self.frames,
            live=counts.live,
            healed=counts.healed,
            lost=counts.lost,
            unknown=self.unknown,
        )

    @property
    def connected(self) -> bool:
        return self._up and self._subscription is not None and self._subscription.connected

    @contextlib.contextmanager
    def watch(self, wake: asyncio.Event, watched: Callable[[], Collection[str]] = lambda: ()) -> Iterator[None]:
        """Have `wake` set whenever there is something new to see; `watched` tells which sections are looked at."""
        self.watching[wake] = watched
        try:
            yield
        finally:
            del self.watching[wake]

    async def run(self) -> None:
        """Follow the bus for ever: what fails is said in `status` and tried again."""
        delay_s = BACKOFF_S[0]
        while True:
            try:
                async with self.bus.subscribe(FRAMES, TAIL, ALERTS) as subscription:
                    self._subscription = subscription
                    await self._load()
                    self._tell(up=True, reason=CONNECTING)
                    delay_s = BACKOFF_S[0]
                    async for delivery in subscription:
                        await self._take(delivery)
                self._tell(up=False, reason="the subscription ended")
            except (HeadraceError, OSError) as error:
                self._tell(up=False, reason=str(error))
            except Exception as error:  # the page must say it, not freeze
                log.exception("the feed failed and starts again")
                self._tell(up=False, reason=f"{type(error).__name__}: {error}")
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, BACKOFF_S[1])

    async def look(self) -> None:
        """Once a second, for ever: say when the connection changes, and look up what is watched but in no frame."""
        connected = False
        while True:
            await asyncio.sleep(LOOK_S)
            if connected != self.connected:
                connected = self.connected
                self._wake()
            if connected:
                self._reason = SILENT
                await self._look()

    async def _look(self) -> None:
        watched = {name for names in self.watching.values() for name in names()}
        for gone in self.found.keys() - watched:
            del self.found[gone]
        for look in self._looks:
            names = [name for name in watched if look.wants(name)]
            if not names:
                continue
            try:
                self.found.update(await look.look(self.bus, self.state, names))
            except HeadraceError:
                continue
            except Exception:  # one look must not end the others
                log.exception("a look failed")
        if watched:
            self._wake()

    async def _load(self) -> None:
        """Bring the state up to the newest frame: from where it is, or from 15 minutes ago if it knows nothing."""
        epoch, newest = await self.bus.last(FRAMES)
        state = self.state
        if epoch != state.epoch or newest < state.position:
            state = State(epoch=epoch)
        start = Position(max(state.position.ms, int((time.time() - PAST_S) * 1000)), 0)
        # What went on without this process fills the tail; what it saw itself is in the tail already.
        beside = await Record(self.bus).beside(start.ms if state.position == START else newest.ms + 1, newest)
        while entries := await self.bus.read(FRAMES, start=start, count=PAGE):
            for entry in entries:
                await beside.fold(state, entry.position.ms)
                self._fold(state, entry)
            if len(entries) < PAGE:
                break
            last = entries[-1].position
            start = Position(last.ms, last.number + 1)
            await asyncio.sleep(0)
        await beside.fold(state)
        state.restore(await self._saved_curves(state))
        self.state = state
        self._wake()

    async def _saved_curves(self, state: State) -> dict[str, dict[str, Curve]]:
        saved = {}
        for run in state.frame.runs if state.frame else ():
            with contextlib.suppress(CodecError):
                if curves := read_curves(await self.bus.state(run_state(run.run))):
                    saved[run.run] = curves
        return saved

    async def _take(self, delivery: Delivery) -> None:
        if delivery.notice is not None and not isinstance(delivery.notice, Lost) and delivery.channel == FRAMES:
            await self._load()
        for entry in delivery.entries:
            self._fold(self.state, entry)
        if delivery.channel == FRAMES:
            if not self.state.epoch:
                self.state.epoch, _ = await self.bus.last(FRAMES)
            self.frames += len(delivery.entries)
            self._wake()

    def _fold(self, state: State, entry: Entry) -> None:
        try:
            state.fold(decode(entry.payload), entry.position)
        except CodecError:
            self.unknown += 1

    def _tell(self, *, up: bool, reason: str) -> None:
        self._up, self._reason = up, reason
        self._wake()

    def _wake(self) -> None:
        for wake in self.watching:
            wake.set()
