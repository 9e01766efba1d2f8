"""The publisher for asyncio: the names of the plain one, the same buffer and waiting table, driven by tasks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress
from itertools import islice
from types import TracebackType
from typing import Any, Self

from headrace.bus import Accepted, Bus
from headrace.channels import LABELS, REQUESTS
from headrace.ending import end
from headrace.errors import BusError, FullError, HeadraceError
from headrace.events import Event, new_id
from headrace.positions import Handle
from headrace.publisher.buffer import Buffer, Sealed
from headrace.publisher.predictions import Asked, Outcome, Result, Waiting, labelled, requested
from headrace.retry import Backoff
from headrace.settings import Settings

CHUNK = 256
"""Events encoded between two looks at other tasks."""
RELISTEN = Backoff(50, 2_000)


class AsyncPrediction(Asked):
    """A request that was sent, and its result once there is one. Any task may wait for it, more than once."""

    def __init__(self, publisher: AsyncPublisher, request: str) -> None:
        super().__init__(request)
        self._publisher = publisher
        self._done = asyncio.Event()

    @property
    def done(self) -> bool:
        """Whether `result` would answer at once."""
        return self._done.is_set()

    async def result(self, timeout_s: float = 10.0) -> Result:
        """Wait for the result. Raises RejectedError with the reason, or DeadlineError: it may still come, ask again."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._done.wait()
        except TimeoutError:
            await self._publisher._look_up(self.request)
        return self._settled(timeout_s)

    def placed(self, handle: Handle) -> None:
        """The request is in the log: the publisher says where."""
        self._handle = str(handle)
        self._publisher._waiting.placed(self.request, handle)

    def told(self, outcome: Outcome) -> None:
        """The outcome is here."""
        self._outcome = outcome
        self._done.set()


class AsyncPublisher:
    """Publishes events, asks for predictions and labels them from one event loop. A context manager.

    The same guarantees as `Publisher`: what `publish` took is in its log exactly once when `flush` returns. `bus` is
    used if given, and stays open.
    """

    def __init__(self, settings: Settings | None = None, *, bus: Bus | None = None, source: str = "") -> None:
        self.settings = bus.settings if bus is not None else settings or Settings.load()
        self.bus = bus if bus is not None else Bus(self.settings)
        self._own = bus is None
        self._buffer = Buffer(self.settings, source)
        self._waiting = Waiting()
        self._live = self._buffer.names.reply(self._buffer.producer)
        self._news = asyncio.Event()
        self._moved = asyncio.Event()
        self._sending: asyncio.Task[None] | None = None
        self._hearing: asyncio.Task[None] | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.close()
        except BusError:
            if error is None:
                raise

    async def publish(self, channel: str, events: Event | bytes | Iterable[Event | bytes]) -> None:
        """Buffer one event or many for a channel, in order. Bytes must hold an encoded event.

        With a full buffer it waits for room, raises FullError or drops the oldest, as `settings.overflow` says. Raises
        EventError for an event that is too large and CodecError for bytes that are none; the events before it are sent.
        """
        if isinstance(events, (Event, bytes)):
            await self._take([self._buffer.seal(channel, events)])
            return
        rest = iter(events)
        while chunk := list(islice(rest, CHUNK)):
            sealed: list[Sealed] = []
            try:
                for event in chunk:
                    sealed.append(self._buffer.seal(channel, event))  # noqa: PERF401 - keeps those before a refused one
            finally:
                await self._take(sealed)

    async def predict(
        self, model: str, rows: Any, *, timeout_s: float = 10.0, version: int = 0, label: bool = False
    ) -> Result:
        """Have rows scored and wait for the result, which is pushed. See `submit` and `AsyncPrediction.result`."""
        prediction = await self.submit(model, rows, version=version, label=label)
        return await prediction.result(timeout_s)

    async def submit(self, model: str, rows: Any, *, version: int = 0, label: bool = False) -> AsyncPrediction:
        """Send a request and return a handle to its result; waits only for room in the buffer.

        `rows`: nested sequences, a buffer, an array or a data frame; a flat sequence is one row. `version` 0 is the one
        in service; `label` says that `label` will be called later. Raises EventError for rows that cannot be sent.
        """
        now_s, buffer = time.time(), self._buffer
        event = requested(
            model,
            rows,
            request=new_id(),
            reply_to=self._live,
            now_s=now_s,
            version=version,
            label=label,
            source=buffer.source,
        )
        sealed = buffer.seal(REQUESTS, event)
        prediction = AsyncPrediction(self, event.id)
        self._waiting.expect(event.id, sealed.partition, now_s, prediction)
        if self._hearing is None:
            self._hearing = asyncio.create_task(self._hear(), name="headrace-replies")
        try:
            await self._take([sealed], ticket=prediction)
        except BaseException:
            self._waiting.forget(event.id)
            raise
        return prediction

    async def label(self, prediction: AsyncPrediction | Result | str, labels: Any) -> None:
        """Publish the truth about a prediction: a class name, class index or value, or a sequence with one a row."""
        handle = prediction if isinstance(prediction, str) else prediction.handle
        await self.publish(LABELS, labelled(handle, labels))

    async def flush(self, timeout_s: float = 10.0) -> None:
        """Return once the server has accepted all that was published.

        Raises what kept it from that: UnavailableError, FullError, or another BusError. The events stay buffered.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while self._buffer.waiting or self._buffer.under_way:
                    self._buffer.hurry(time.monotonic())
                    self._start()
                    await self._move()
        except TimeoutError:
            raise self._buffer.refused(timeout_s) from None

    async def close(self, timeout_s: float = 10.0) -> None:
        """Flush, report, and stop. Raises as `flush` does if events were given up."""
        if self._closed:
            return
        self._closed = True
        try:
            await self.flush(timeout_s)
            report = self._buffer.report(time.monotonic(), last=True)
            if report is not None:
                self._buffer.offer(report, time.monotonic(), droppable=True)
                await self.flush(min(timeout_s, 1.0))
        finally:
            await end(self._sending, self._hearing)
            self._buffer.take_back()
            if self._own:
                await self.bus.close()

    @property
    def accepted(self) -> int:
        """Events that the server has accepted from this publisher."""
        return self._buffer.accepted_total

    @property
    def waiting(self) -> int:
        """Events that it has not accepted yet."""
        return self._buffer.waiting

    @property
    def dropped(self) -> dict[str, int]:
        """Events given up, by type."""
        return dict(self._buffer.dropped())

    @property
    def lost(self) -> int:
        """Accepted events that a power cut took from the server and that were no longer kept here."""
        return self._buffer.lost

    async def _take(self, sealed: list[Sealed], ticket: AsyncPrediction | None = None) -> None:
        if self._closed:
            raise BusError("this publisher is closed: events can be published before close() only")
        droppable = self.settings.overflow == "drop" and ticket is None
        for taken, item in enumerate(sealed):
            while not self._buffer.offer(item, time.monotonic(), droppable=droppable, ticket=ticket) and not droppable:
                if self.settings.overflow != "block":
                    raise FullError(item.channel, taken)
                self._start()
                await self._move()
        if ticket is not None:
            self._buffer.hurry(time.monotonic())
        self._start()

    def _start(self) -> None:
        if self._sending is None:
            self._sending = asyncio.create_task(self._send(), name="headrace-publisher")
        self._news.set()

    async def _move(self) -> None:
        """Wait for an answer of the server."""
        self._moved.clear()
        await self._moved.wait()

    async def _send(self) -> None:
        buffer = self._buffer
        while True:
            self._news.clear()
            now = time.monotonic()
            call = buffer.next_call(now)
            if call is None:
                if buffer.accepted_total:
                    await buffer.clock.ask_async(now, self.bus.time)
                wake_at = buffer.wake_at()
                with suppress(TimeoutError):
                    async with asyncio.timeout(None if wake_at is None else max(0.0, wake_at - now)):
                        await self._news.wait()
                continue
            try:
                answer = await self.bus.publish_batch(call)
            except Exception as caught:  # whatever it is, the events must stay and the task must go on
                error = caught if isinstance(caught, HeadraceError) else BusError(f"publishing failed: {caught!r}")
                buffer.failed(error, time.monotonic())
            else:
                self._settle(answer)
            self._moved.set()

    def _settle(self, answer: Accepted) -> None:
        """The server answered: say where the requests are, and report what was dropped."""
        now = time.monotonic()
        placed = self._buffer.accepted(answer, now)
        report = self._buffer.report(now)
        if report is not None:
            self._buffer.offer(report, now, droppable=True)
        for ticket, handle in placed:
            if isinstance(ticket, AsyncPrediction):
                ticket.placed(handle)

    async def _hear(self) -> None:
        failures = 0
        while True:
            try:
                async for pushed in self.bus.listen(self._live):
                    failures = 0
                    if pushed is None:
                        await self._look_up()
                    for _, payload in pushed or ():
                        self._waiting.heard(payload)
            except Exception:  # as above
                failures += 1
                await asyncio.sleep(RELISTEN.delay_ms(failures) / 1000)

    async def _look_up(self, request: str | None = None) -> None:
        """Search the logs for the outcome of one request, or of all that wait. An unreachable server finds nothing."""
        search = self._waiting.search(None if request is None else [request])
        with suppress(StopIteration, HeadraceError):
            wanted = next(search)
            while True:
                wanted = search.send(
                    await self.bus.read(wanted.channel, wanted.partition, start=wanted.start, count=wanted.count)
                )
