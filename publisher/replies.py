"""Predictions in plain code: handles to results that are pushed, all over one subscription a process."""

from __future__ import annotations

import threading
import time
from typing import Any

from headrace.channels import REQUESTS
from headrace.errors import HeadraceError
from headrace.events import new_id
from headrace.positions import Handle
from headrace.publisher.predictions import Asked, Outcome, Result, Search, Waiting, requested
from headrace.publisher.sender import Sender
from headrace.retry import Backoff

RECONNECT = Backoff(50, 2_000)
HEAR_S = 0.5
"""How long the reply thread waits before it looks whether it should end."""


class Prediction(Asked):
    """A request that was sent, and its result once there is one. Any thread may wait for it, more than once."""

    def __init__(self, replies: Replies, request: str) -> None:
        super().__init__(request)
        self._replies = replies
        self._done = threading.Event()

    @property
    def done(self) -> bool:
        """Whether `result` would answer at once."""
        return self._done.is_set()

    def result(self, timeout_s: float = 10.0) -> Result:
        """Wait for the result. Raises RejectedError with the reason, or DeadlineError: it may still come, ask again."""
        if not self._done.wait(timeout_s):
            self._replies.look_up(self.request)
        return self._settled(timeout_s)

    def placed(self, handle: Handle) -> None:
        """The request is in the log: the sender says where."""
        self._handle = str(handle)
        self._replies.placed(self.request, handle)

    def told(self, outcome: Outcome) -> None:
        """The outcome is here."""
        self._outcome = outcome
        self._done.set()


class Replies:
    """The reply channel of one process: a table of who waits, and a thread that listens from the first request on."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._lock = threading.Lock()
        self._waiting = Waiting()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.live = sender.buffer.names.reply(sender.buffer.producer)

    def submit(self, model: str, rows: Any, *, version: int, label: bool, here: bool = False) -> Prediction:
        """Send a request; its result will be pushed here. Raises EventError for rows that cannot be sent.

        `here`: the caller waits for the result next, so its own thread may send.
        """
        now_s, buffer = time.time(), self._sender.buffer
        event = requested(
            model,
            rows,
            request=new_id(),
            reply_to=self.live,
            now_s=now_s,
            version=version,
            label=label,
            source=buffer.source,
        )
        sealed = buffer.seal(REQUESTS, event)
        prediction = Prediction(self, event.id)
        with self._lock:
            self._waiting.expect(event.id, sealed.partition, now_s, prediction)
            self._start()
        try:
            self._sender.publish([sealed], urgent=True, here=here, ticket=prediction)
        except HeadraceError:
            with self._lock:
                self._waiting.forget(event.id)
            raise
        return prediction

    def placed(self, request: str, handle: Handle) -> None:
        with self._lock:
            self._waiting.placed(request, handle)

    def look_up(self, request: str | None = None) -> None:
        """Search the logs for the outcome of one request, or of all that wait. An unreachable server finds nothing."""
        with self._lock:
            search = self._waiting.search(None if request is None else [request])
            wanted = next(search, None)
        while wanted is not None:
            try:
                entries = self._sender.link.read(
                    wanted.channel, wanted.partition, start=wanted.start, count=wanted.count
                )
            except HeadraceError:
                return
            with self._lock:
                wanted = _answer(search, entries)

    def close(self) -> None:
        """Stop listening; predictions without an outcome keep none."""
        self._stopping.set()

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="headrace-replies", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                with self._sender.link.listen(self.live) as listener:
                    while not self._stopping.is_set():
                        heard = listener.hear(HEAR_S)
                        failures = 0
                        self._take(heard)
            except Exception:  # beside a lost connection: one that `close` took away while the client was reading
                failures += 1
                self._stopping.wait(RECONNECT.delay_ms(failures) / 1000)

    def _take(self, heard: list[bytes] | None) -> None:
        if heard is None:
            self.look_up()
            return
        for payload in heard:
            with self._lock:
                self._waiting.heard(payload)


def _answer(search: Search, entries: Any) -> Any:
    try:
        return search.send(entries)
    except StopIteration:
        return None
