"""The live endpoint: what a browser says it shows goes in, what is new to it goes out.

Both sides send JSON objects whose keys are all optional.

    browser -> dashboard
        show     sections that are on screen
        after    [epoch, number] of the newest frame it has, when it connects again
        pause    true while nobody looks; nothing but pongs is sent then
        seen     serial of the newest message it has taken in
        ping     any number; comes back as `pong` with the dashboard's clock beside it
    dashboard -> browser
        serial   to be answered with `seen`
        epoch, number   the newest frame
        past     everything, for a browser that has nothing or was away too long
        moments  what each frame since added, oldest first
        sections those of the sections shown that changed
        skipped  frames that this browser got late, several at once, because it was slow
        pong, now   the number that came with `ping`, and Unix seconds

A browser that does not answer is sent nothing more after `WINDOW` messages: it later gets the newest state at once,
and no queue grows for it, here or in the network between.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from headrace.dashboard.feed import Feed
from headrace.errors import HeadraceError

WINDOW = 8
MOST_SECTIONS = 16
HEARD_BYTES = 8_192
NOT_UNDERSTOOD = 1003


class ViewerError(HeadraceError):
    """A browser said something that is no part of the protocol."""


class Heard(msgspec.Struct, frozen=True):
    """What a browser says."""

    show: list[str] | None = None
    after: tuple[str, int] | None = None
    pause: bool | None = None
    seen: int | None = None
    ping: float | None = None


_heard = msgspec.json.Decoder(Heard)


class Viewer:
    """One browser: what it shows, what it has, and so what to send it next. No I/O."""

    def __init__(self, feed: Feed, clock: Callable[[], float] = time.time) -> None:
        self._feed = feed
        self._clock = clock
        self._show: tuple[str, ...] | None = None
        self._epoch, self._number = "", 0
        self._paused = False
        self._late = True
        """Whether frames that wait were held back on purpose, so that they do not count as skipped."""
        self._serial = self._seen = 0
        self._sent: dict[str, bytes] = {}
        self._ping: float | None = None
        self.skipped = 0

    @property
    def watched(self) -> tuple[str, ...]:
        """Sections that somebody looks at now."""
        return () if self._paused else self._show or ()

    def hear(self, text: str) -> None:
        """Take in what the browser says. Raises ViewerError."""
        if len(text) > HEARD_BYTES:
            raise ViewerError(f"{len(text)} characters are more than a browser has to say")
        try:
            heard = _heard.decode(text)
        except msgspec.DecodeError as error:
            raise ViewerError(f"not understood: {error}") from None
        if heard.show is not None:
            self._show = tuple(heard.show[:MOST_SECTIONS])
            self._sent = {name: made for name, made in self._sent.items() if name in self._show}
        if heard.after is not None:
            self._epoch, self._number = heard.after
        if heard.pause is not None:
            self._paused = heard.pause
            self._late = True
        if heard.seen is not None:
            self._seen = min(heard.seen, self._serial)
        if heard.ping is not None:
            self._ping = heard.ping

    def next(self) -> str | None:
        """The message to send now, or None."""
        message: dict[str, object] = {}
        if self._ping is not None:
            message |= {"pong": self._ping, "now": self._clock()}
            self._ping = None
        if self._show is not None and not self._paused and self._serial - self._seen < WINDOW:
            message |= self._news(self._show)
        return msgspec.json.encode(message).decode() if message else None

    def _news(self, show: tuple[str, ...]) -> dict[str, object]:
        news: dict[str, object] = {}
        feed, state = self._feed, self._feed.state
        if state.frame is not None and (state.epoch, state.number) != (self._epoch, self._number):
            moments = state.since(self._epoch, self._number)
            if moments is None:
                news["past"] = msgspec.Raw(feed.sections.history())
            else:
                news["moments"] = [msgspec.Raw(feed.sections.moment(moment)) for moment in moments]
                self.skipped += 0 if self._late else len(moments) - 1
            self._epoch, self._number, self._late = state.epoch, state.number, False
            news |= {"epoch": state.epoch, "number": state.number, "skipped": self.skipped}
        changed = {}
        for name in show:
            made = feed.sections.section(name)
            if made is not None and made is not self._sent.get(name):
                changed[name] = msgspec.Raw(made)
                self._sent[name] = made
        if changed:
            news["sections"] = changed
        if news:
            self._serial += 1
            news["serial"] = self._serial
        return news


async def live(socket: WebSocket, feed: Feed) -> None:
    """Serve one browser until it goes; the origin was checked before."""
    await socket.accept()
    viewer, wake = Viewer(feed), asyncio.Event()

    async def listen() -> None:
        while (message := await socket.receive())["type"] == "websocket.receive":
            if (text := message.get("text")) is None:
                raise ViewerError("the protocol is text")
            viewer.hear(text)
            wake.set()

    with feed.watch(wake, lambda: viewer.watched):
        listening = asyncio.create_task(listen(), name="listening to a browser")
        listening.add_done_callback(lambda _: wake.set())
        try:
            while not listening.done():
                wake.clear()
                message = viewer.next()
                if message is not None:
                    await socket.send_text(message)
                else:
                    await wake.wait()
            await listening
        except ViewerError as error:
            await socket.close(NOT_UNDERSTOOD, str(error)[:120])
        except WebSocketDisconnect:
            pass
        finally:
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError, WebSocketDisconnect, ViewerError):
                await listening
