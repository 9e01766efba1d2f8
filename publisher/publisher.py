"""The publisher for plain code: buffered and sent in the background, each event into its log exactly once."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Iterable
from itertools import islice
from types import TracebackType
from typing import Any, Self

from headrace.channels import LABELS
from headrace.errors import BusError
from headrace.events import Event
from headrace.publisher.predictions import Result, labelled
from headrace.publisher.replies import Prediction, Replies
from headrace.publisher.sender import Sender
from headrace.settings import Settings

CHUNK = 256
"""Events encoded before the buffer is locked once for them."""


class Publisher:
    """Publishes events, asks for predictions and labels them, from any thread, without waiting for the server.

    Events are buffered, sent by a background thread and kept until the server has accepted them, through its absence
    and its restart; nothing is given up without being counted. A context manager; the end of the process closes it too.
    A forked child has a publisher of its own under the same name, with an empty buffer.

    `settings` (default: the environment) or `url` and `prefix` say where to; `source` is put on events that have none;
    `client` is a ready redis.Redis, for tests.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        url: str | None = None,
        prefix: str | None = None,
        source: str | None = None,
        client: Any = None,
    ) -> None:
        base = settings or Settings.load()
        changes = {"redis_url": url, "prefix": prefix}
        self.settings = base.with_(**{name: value for name, value in changes.items() if value is not None})
        self.sender = Sender(self.settings, source or "", client)
        self._replies = Replies(self.sender)
        _publishers.add(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except BusError:
            if error is None:
                raise

    def publish(self, channel: str, events: Event | bytes | Iterable[Event | bytes]) -> None:
        """Buffer one event or many for a channel, in order. Bytes must hold an encoded event.

        With a full buffer it waits for room, raises FullError or drops the oldest, as `settings.overflow` says. Raises
        EventError for an event that is too large and CodecError for bytes that are none; the events before it are sent.
        """
        seal, publish = self.sender.buffer.seal, self.sender.publish
        if isinstance(events, (Event, bytes)):
            publish([seal(channel, events)])
            return
        rest = iter(events)
        while chunk := list(islice(rest, CHUNK)):
            sealed = []
            try:
                for event in chunk:
                    sealed.append(seal(channel, event))  # noqa: PERF401 - keeps those before one that is refused
            finally:
                publish(sealed)

    def predict(
        self, model: str, rows: Any, *, timeout_s: float = 10.0, version: int = 0, label: bool = False
    ) -> Result:
        """Have rows scored and wait for the result, which is pushed. See `submit` and `Prediction.result`."""
        until_s = time.monotonic() + timeout_s
        prediction = self._replies.submit(model, rows, version=version, label=label, here=True)
        return prediction.result(max(0.0, until_s - time.monotonic()))

    def submit(self, model: str, rows: Any, *, version: int = 0, label: bool = False) -> Prediction:
        """Send a request and return a handle to its result at once.

        `rows`: nested sequences, a buffer, an array or a data frame; a flat sequence is one row. `version` 0 is the one
        in service; `label` says that `label` will be called later. Raises EventError for rows that cannot be sent.
        """
        return self._replies.submit(model, rows, version=version, label=label)

    def label(self, prediction: Prediction | Result | str, labels: Any) -> None:
        """Publish the truth about a prediction: a class name, class index or value, or a sequence with one a row."""
        handle = prediction if isinstance(prediction, str) else prediction.handle
        self.publish(LABELS, labelled(handle, labels))

    def flush(self, timeout_s: float = 10.0) -> None:
        """Return once the server has accepted all that was published.

        Raises what kept it from that: UnavailableError, FullError, or another BusError. The events stay buffered.
        """
        self.sender.flush(timeout_s)

    def close(self, timeout_s: float = 10.0) -> None:
        """Flush, report, and stop. Raises as `flush` does if events were given up that `publish` was to keep."""
        self._replies.close()
        self.sender.close(timeout_s)

    @property
    def accepted(self) -> int:
        """Events that the server has accepted from this publisher."""
        return self.sender.buffer.accepted_total

    @property
    def waiting(self) -> int:
        """Events that it has not accepted yet."""
        return self.sender.buffer.waiting

    @property
    def dropped(self) -> dict[str, int]:
        """Events given up, by type."""
        return dict(self.sender.buffer.dropped())

    @property
    def lost(self) -> int:
        """Accepted events that a power cut took from the server and that were no longer kept here."""
        return self.sender.buffer.lost


_publishers: weakref.WeakSet[Publisher] = weakref.WeakSet()
_shared: dict[Settings, Publisher] = {}
_shared_lock = threading.Lock()


def shared(settings: Settings | None = None) -> Publisher:
    """The one publisher of this process for these settings (default: the environment), which runs use."""
    wanted = settings or Settings.load()
    with _shared_lock:
        found = _shared.get(wanted)
        if found is None or found.sender.closed:
            found = _shared[wanted] = Publisher(wanted)
        return found


def _after_fork() -> None:
    global _shared_lock  # noqa: PLW0603 - another thread of the parent may have held it
    _shared_lock = threading.Lock()
    for publisher in list(_publishers):
        publisher._replies = Replies(publisher.sender)


os.register_at_fork(after_in_child=_after_fork)
