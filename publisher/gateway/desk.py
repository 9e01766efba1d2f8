"""The gateway's publisher: for callers who must be told whether the server took what they sent, and who go away.

The buffer, the sending and the one reply subscription are those of AsyncPublisher; what comes together is published
together. Added here: nothing is offered while the server refuses, every acceptance is waited for, and whoever stops
waiting is forgotten.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from headrace.bus import Bus
from headrace.channels import REQUESTS
from headrace.errors import DeadlineError, FullError, HeadraceError
from headrace.events import Event
from headrace.positions import Handle
from headrace.publisher.aio import AsyncPrediction, AsyncPublisher
from headrace.publisher.buffer import Sealed
from headrace.publisher.gateway.problems import Problem
from headrace.publisher.predictions import Result

SOURCE = "gateway"
"""The `source` of an event that states none."""
CHUNK = 256
"""Events taken between two looks at other requests."""


class Placement(AsyncPrediction):
    """Stands for an event that is not a request: done when the server has it."""

    def placed(self, handle: Handle) -> None:
        self._handle = str(handle)
        self._done.set()

    async def wait(self) -> None:
        """Return once the event is in its log."""
        await self._done.wait()


class Desk(AsyncPublisher):
    """Publishes and asks for predictions on behalf of others. `listening` once the reply subscription stands."""

    def __init__(self, bus: Bus) -> None:
        super().__init__(bus=bus, source=SOURCE)
        self.settings = self.settings.with_(overflow="block")  # never drop what a caller waits for
        self.listening = False
        self._open: set[AsyncPrediction] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def asking(self) -> int:
        """Predictions that somebody waits for."""
        return len(self._open)

    def listen(self) -> None:
        """Subscribe for replies now, not at the first request."""
        if self._hearing is None:
            self._hearing = asyncio.create_task(self._hear(), name="headrace-replies")

    async def ask(self, model: str, rows: Any, *, version: int, label: bool, timeout_s: float) -> Result:
        """The result of a request.

        Raises RejectedError; DeadlineError with the handle when the request is in its log; FullError or
        UnavailableError when it was not offered to the server, and Problem 503 when the server did not take it in time.
        """
        self._check(REQUESTS)
        deadline = asyncio.get_running_loop().time() + timeout_s
        try:
            async with asyncio.timeout(timeout_s):  # only a full buffer makes this wait
                prediction = await self.submit(model, rows, version=version, label=label)
        except TimeoutError:
            raise self._late(timeout_s) from None
        self._open.add(prediction)
        self._idle.clear()
        try:
            return await prediction.result(max(0.0, deadline - asyncio.get_running_loop().time()))
        except DeadlineError:
            if prediction.handle:
                raise
            raise self._late(timeout_s) from None
        finally:
            self._waiting.forget(prediction.request)
            self._open.discard(prediction)
            if not self._open:
                self._idle.set()

    async def accept(self, events: Sequence[tuple[str, Event]], timeout_s: float) -> list[HeadraceError | None]:
        """Publish events on channels; for each, in order, None once the server has it, or why it has not."""
        answers: list[HeadraceError | None] = [None] * len(events)
        batches: dict[tuple[str, int], list[tuple[int, Sealed]]] = {}
        for index, (channel, event) in enumerate(events):
            try:
                self._check(channel)
                sealed = self._buffer.seal(channel, event)
            except HeadraceError as error:
                answers[index] = error
            else:
                batches.setdefault((sealed.channel, sealed.partition), []).append((index, sealed))
            if index % CHUNK == CHUNK - 1:
                await asyncio.sleep(0)
        await asyncio.gather(*(self._place(batch, answers, timeout_s) for batch in batches.values()))
        return answers

    async def release(self, after_s: float) -> None:
        """Give whoever waits `after_s` more seconds for a result, then answer that it is queued."""
        with suppress(TimeoutError):
            async with asyncio.timeout(after_s):
                await self._idle.wait()
        for prediction in self._open:
            prediction.told(DeadlineError(prediction.handle, after_s))

    async def _look_up(self, request: str | None = None) -> None:
        if request is None:  # asked for all: the subscription has just been confirmed
            self.listening = True
        await super()._look_up(request)

    async def _place(
        self, batch: list[tuple[int, Sealed]], answers: list[HeadraceError | None], timeout_s: float
    ) -> None:
        """Publish events of one partition. They are taken in order, so the last one stands for all."""
        placement = Placement(self, "")
        *before, last = (sealed for _, sealed in batch)
        try:
            async with asyncio.timeout(timeout_s):
                await self._take(before)
                await self._take([last], ticket=placement)
                await placement.wait()
        except TimeoutError:
            for index, _ in batch:
                answers[index] = self._late(timeout_s)

    def _check(self, channel: str) -> None:
        """Offer nothing that the server would not take now. Raises FullError, UnavailableError or another BusError."""
        trouble = self._buffer.trouble
        if trouble is not None and not (isinstance(trouble, FullError) and trouble.channel != channel):
            raise trouble

    def _late(self, timeout_s: float) -> Problem:
        """The server has not taken an event in time, and its buffer cannot take it back."""
        code = "full" if isinstance(self._buffer.trouble, FullError) else "unavailable"
        fix = (
            "The gateway goes on trying, so it may still be accepted. If doubles matter, look before sending it again."
        )
        return Problem(503, code, str(self._buffer.refused(timeout_s)), fix)
