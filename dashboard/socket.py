"""The live endpoint: what a browser says it shows goes in, what is new to it goes out.

Both sides send JSON objects whose keys are all optional.

    browser -> dashboard
        show     sections that are on screen
        after    [epoch, number] of the newest frame it has, when it connects again
        pause    true while nobody looks; nothing but pongs is sent then
        at       Unix ms of the moment to be shown instead of the present; null for the present
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
        at       in answer to `at`, with `past` and all sections: everything is of that moment, and nothing live but
                 `status` follows; or with `gone`, why it cannot be shown, and `oldest`, the oldest moment kept, if any

A browser that does not answer is sent nothing more after `WINDOW` messages: it later gets the newest state at once,
and no queue grows for it, here or in the network between.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from headrace.dashboard.feed import Feed
from headrace.dashboard.past import LATEST_MS, Archive, Earlier, PastError
from headrace.dashboard.sections import MAKERS
from headrace.errors import HeadraceError

WINDOW = 8
RETRY_S = 2.0
"""A moment that could not be read, because no server answered, is read again after so long."""
OF_NOW = frozenset({"status", "clock"})
"""Sections about the dashboard itself and its server, not about what it shows."""
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
    at: int | msgspec.UnsetType | None = msgspec.UNSET


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
        self.at: int | None = None
        """Unix ms of the moment that the browser wants to see; None is the present."""
        self._past: Earlier | None = None
        self._answer: dict[str, object] = {}
        self._looked: set[str] = set()
        """Sections that were looked up for it at that moment."""

    @property
    def watched(self) -> tuple[str, ...]:
        """Sections of the present that somebody looks at now."""
        if self._paused or self._show is None:
            return ()
        return self._show if self.at is None else tuple(name for name in self._show if name in OF_NOW)

    @property
    def waits(self) -> bool:
        """Whether it wants a moment that it was not given yet."""
        return self.at is not None and self._past is None

    @property
    def missing(self) -> tuple[Earlier, list[str]] | None:
        """The moment that it was given, and sections that are still to be looked up there."""
        if self.at is None or self._past is None or self._show is None:
            return None
        made = MAKERS.keys() | OF_NOW
        names = [name for name in self._show if name.partition(":")[0] not in made and name not in self._looked]
        return (self._past, names) if names else None

    def give(self, at: int, past: Earlier) -> None:
        """Here is what it was at the moment `at`; nothing happens if another is wanted by now."""
        if at == self.at:
            state = past.state
            self._past, self._sent, self._looked = past, {}, set()
            self._answer = {
                "at": at,
                "past": msgspec.Raw(past.sections.history()),
                "epoch": state.epoch,
                "number": state.number,
                "skipped": self.skipped,
            }

    def looked(self, names: Iterable[str]) -> None:
        """These sections were looked up at the moment shown, whatever was found."""
        self._looked.update(names)

    def refuse(self, at: int, error: HeadraceError) -> None:
        """The moment `at` cannot be shown, and why."""
        if at == self.at:
            oldest = error.oldest_ms if isinstance(error, PastError) else None
            self._answer = {"at": at, "gone": str(error), "oldest": oldest}

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
        if heard.at is not msgspec.UNSET:
            if heard.at is not None and not 0 <= heard.at < LATEST_MS:
                raise ViewerError(f"at={heard.at} is no moment: Unix milliseconds are expected")
            self.at, self._past, self._answer, self._sent = heard.at, None, {}, {}
            self._epoch, self._number, self._late = ("", 0, True) if heard.after is None else (*heard.after, True)

    def next(self) -> str | None:
        """The message to send now, or None."""
        message: dict[str, object] = {}
        if self._ping is not None:
            message |= {"pong": self._ping, "now": self._clock()}
            self._ping = None
        if self._show is not None and not self._paused and self._serial - self._seen < WINDOW:
            news = self._news(self._show) if self.at is None else self._then(self._show)
            if news:
                self._serial += 1
                message |= news | {"serial": self._serial}
        return msgspec.json.encode(message).decode() if message else None

    def _then(self, show: tuple[str, ...]) -> dict[str, object]:
        """What is new of the past: its moment once, and sections once each; the dashboard's own state is of now."""
        news, self._answer = self._answer, {}
        now = self._feed.sections
        then = self._past.sections if self._past else None

        def section(name: str) -> bytes | None:
            if name in OF_NOW:
                return now.section(name)
            return then.section(name) if then else None

        changed = self._changed(show, section)
        if changed:
            news["sections"] = changed
        return news

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
        if changed := self._changed(show, feed.sections.section):
            news["sections"] = changed
        return news

    def _changed(self, show: tuple[str, ...], section: Callable[[str], bytes | None]) -> dict[str, msgspec.Raw]:
        changed = {}
        for name in show:
            made = section(name)
            if made is not None and made is not self._sent.get(name):
                changed[name] = msgspec.Raw(made)
                self._sent[name] = made
        return changed


async def live(socket: WebSocket, feed: Feed, archive: Archive) -> None:
    """Serve one browser until it goes; the origin was checked before."""
    await socket.accept()
    viewer, wake, asked = Viewer(feed), asyncio.Event(), asyncio.Event()

    async def listen() -> None:
        while (message := await socket.receive())["type"] == "websocket.receive":
            if (text := message.get("text")) is None:
                raise ViewerError("the protocol is text")
            viewer.hear(text)
            wake.set()
            asked.set()

    async def travel() -> None:
        while True:
            await asked.wait()
            asked.clear()
            while viewer.waits and (at := viewer.at) is not None:
                try:
                    viewer.give(at, await archive.at(at))
                except PastError as error:
                    viewer.refuse(at, error)
                    wake.set()
                    break
                except HeadraceError as error:
                    viewer.refuse(at, error)
                    wake.set()
                    await asyncio.sleep(RETRY_S)
                wake.set()
            if (missing := viewer.missing) is not None:
                earlier, names = missing
                try:
                    await earlier.look(names)
                except HeadraceError:
                    await asyncio.sleep(RETRY_S)
                else:
                    viewer.looked(names)
                wake.set()
                asked.set()

    with feed.watch(wake, lambda: viewer.watched):
        listening = asyncio.create_task(listen(), name="listening to a browser")
        travelling = asyncio.create_task(travel(), name="building what a browser wants to see")
        for task in (listening, travelling):
            task.add_done_callback(lambda _: wake.set())
        try:
            while not listening.done() and not travelling.done():
                wake.clear()
                message = viewer.next()
                if message is not None:
                    await socket.send_text(message)
                else:
                    await wake.wait()
            await (listening if listening.done() else travelling)
        except ViewerError as error:
            await socket.close(NOT_UNDERSTOOD, str(error)[:120])
        except WebSocketDisconnect:
            pass
        finally:
            for task in (listening, travelling):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, WebSocketDisconnect, ViewerError):
                    await task
