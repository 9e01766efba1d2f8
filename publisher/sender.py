"""The background thread of a publisher in plain code: it talks to the server, so that nobody else waits for it.

    publish ──(lock)──> buffer ──┐
    Run.log ──> deque, no lock ──┴──> thread ──> link ──> server

The thread starts with the first event, once a process: a forked child begins with an empty buffer and a new producer.
While events keep coming it looks every `linger_ms`, and forty times as rarely while only runs log: each look takes
time from the training. After a pause it sleeps until the next event wakes it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, cast

from headrace.channels import RUNS
from headrace.errors import BusError, FullError, HeadraceError
from headrace.events import Event, RunMetrics, new_id
from headrace.outbox import PACE, Leftover, Ticket
from headrace.positions import Handle
from headrace.publisher import lifetime
from headrace.publisher.buffer import METRICS, Buffer, Sealed
from headrace.publisher.spill import KINDS, Spill
from headrace.settings import Settings

if TYPE_CHECKING:
    from headrace.bus.scripts import Accepted, PublishCall
    from headrace.bus.sync import Link

logger = logging.getLogger("headrace")

ALIVE_S = 5.0
"""How often a run says that it is alive."""
QUIET_S = 0.1
"""How long after the last event the thread goes on looking by itself."""
DOZE_S = 0.2
"""Longest time between two looks while runs log."""
CROWD = 1_000
"""So many logged metrics wake the thread between two looks."""
GATHER = 5_000
"""Most metrics taken over in one turn, which bounds how long the lock is held."""
OF_RUNS = KINDS | {"run.candidate"}
"""Event types whose loss is no reason to raise when a publisher closes: a run never raises."""
EXIT_S = 3.0
"""How long the end of a process waits for the server."""

Logged = tuple[str, int, int, dict[str, float | None], float, dict[str, float | None]]
"""What `Run.log` leaves: run, rank, step, metrics, Unix time, and the run's summary, which takes the metrics over."""


class Placed(Protocol):
    """A ticket: told where its event went."""

    def placed(self, handle: Handle) -> None: ...


class Live(Protocol):
    """A run that is open: it says that it is alive, and that its process ended under it."""

    def alive(self) -> Event: ...

    def crash(self) -> None: ...


class Sender:
    """Buffers from any thread, sends from one, or from that of a caller who waits anyway.

    `publish` obeys the overflow policy; `record`, and what is left in `logged`, never blocks or raises.
    """

    def __init__(self, settings: Settings, source: str = "", client: Any = None) -> None:
        self.settings = settings
        self._given_source, self._client = source, client
        self.closed = False
        self.begin()
        lifetime.watch(self)

    def begin(self) -> None:
        """The state of this process; a forked child calls it again."""
        self.buffer = Buffer(self.settings, self._given_source)
        self.spill = Spill(self.settings)
        self.logged: deque[Logged | Event] = deque()
        """What runs said and the thread has not taken over: metrics, and other events whole."""
        self.overrun = 0
        self.asleep = True
        """Whether the thread must be woken, or started, for new events to be seen."""
        self._has_alarm = False
        """Whether the thread sleeps until it has to ask if what was accepted is still there."""
        self._dozes = False
        """Whether the thread looks seldom, as nobody but runs had anything to say lately."""
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._waiters = 0
        self._wake = threading.Event()
        self._news = self._published = False
        """Whether there are events that the thread has not seen, and some of others than runs among them."""
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._link: Link | None = None
        self._warm = False
        self._owed: list[tuple[Ticket, Handle]] = []
        """Who is to be told of accepted events once the next batch is on its way."""
        self._runs: dict[int, Live] = {}
        self._alive_at = 0.0
        self._spill_due = True
        self._warned: set[str] = set()

    # From any thread

    def publish(
        self, sealed: Iterable[Sealed], *, urgent: bool = False, here: bool = False, ticket: Ticket | None = None
    ) -> None:
        """Buffer events in order. With a full buffer, wait, raise FullError or drop, as `settings.overflow` says.

        `urgent` ones do not linger. With `here` they go out in the caller's thread, which waits for the server's answer
        then, unless the server is in trouble or another batch is under way: waking the thread costs more than sending.
        """
        droppable = self.settings.overflow == "drop" and ticket is None
        with self._lock:
            self._check_open()
            now = time.monotonic()
            for taken, item in enumerate(sealed):
                while not self.buffer.offer(item, now, droppable=droppable, ticket=ticket) and not droppable:
                    if self.settings.overflow != "block":
                        raise FullError(item.channel, taken)
                    self._wait_for_room()
                    now = time.monotonic()
            if urgent:
                self.buffer.hurry(now)
            self._news = self._published = True
            self._start()
            full = self.buffer.waiting >= self.settings.batch_events
            smooth = self._warm and not self._spill_due and self.buffer.trouble is None
            call = self.buffer.next_call(now) if here and smooth else None
        if call is not None:
            self._send(call)
            self._tell()
            with self._lock:
                self._news = self._published = urgent = full = self.buffer.waiting > 0
            if self._has_alarm and not urgent:
                return
        if urgent or full or self.asleep or self._dozes:
            self.rouse()

    def record(self, event: Event) -> None:
        """Send an event of a run without lingering. Without room it is spilled if its type may be, or else counted."""
        try:
            sealed = self.buffer.seal(RUNS, event)
        except HeadraceError as error:
            with self._lock:
                self._unsendable(event, error)
            return
        with self._lock:
            now = time.monotonic()
            self._gather(now, len(self.logged))
            taken = self._offer(sealed, now)
            self.buffer.hurry(now)
            self._news = True
            if taken:
                self._start()
        if taken:
            self.rouse()

    def settle(self) -> None:
        """Take over what `Run.log` left, so that the summaries of runs are complete."""
        with self._lock:
            self._gather(time.monotonic(), len(self.logged))

    def rouse(self) -> None:
        """Wake the thread; start it if there is none."""
        self.asleep = False
        if self._thread is None and not self.closed:
            with self._lock:
                self._start()
        if not self._wake.is_set():
            self._wake.set()

    def open_run(self, run: Live) -> None:
        with self._lock:
            if not self._runs:
                self._alive_at = time.monotonic() + ALIVE_S
            self._runs[id(run)] = run

    def close_run(self, run: Live) -> None:
        with self._lock:
            self._runs.pop(id(run), None)

    def flush(self, timeout_s: float) -> None:
        """Return once the buffer is empty. Raises what kept the server from that: UnavailableError, FullError."""
        deadline = time.monotonic() + timeout_s
        with self._lock:
            now = time.monotonic()
            self._gather(now, len(self.logged))
            self.buffer.hurry(now)
            self._news = True
            if not (self.buffer.waiting or self._owed):
                return
            self._start()
        self.rouse()
        with self._lock:
            self._waiters += 1
            try:
                while self.buffer.waiting or self.buffer.under_way or self._owed:
                    left = deadline - time.monotonic()
                    if left <= 0:
                        raise self.buffer.refused(timeout_s)
                    self._room.wait(left)
            finally:
                self._waiters -= 1

    def close(self, timeout_s: float) -> None:
        """Send what waits, report, end the thread. What the server did not accept is spilled or dropped.

        Raises as `flush` does if events were given up that neither a run nor the policy allowed to be dropped.
        """
        if self.closed:
            return
        trouble: BusError | None = None
        try:
            self.flush(timeout_s)
            with self._lock:
                report = self.buffer.report(time.monotonic(), last=True)
                if report is not None:
                    self.buffer.offer(report, time.monotonic(), droppable=True)
            self.flush(min(timeout_s, 1.0))
        except BusError as error:
            trouble = error
        with self._lock:
            self.closed = self._stopping = True
            given_up = self._give_up()
            self._room.notify_all()
        self._wake.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(EXIT_S)
        if self._link is not None:
            self._link.close()
        if trouble is not None and given_up:
            raise trouble

    def crash(self) -> None:
        """The process ends: runs still open crashed. Quiet, but for a warning when something could not be sent."""
        for run in list(self._runs.values()):
            run.crash()
        try:
            self.close(EXIT_S)
        except BusError as error:
            logger.warning("a publisher ended with events that were not sent: %s", error)

    @property
    def link(self) -> Link:
        """The way to the server, made when first needed."""
        with lifetime.loading():
            if self._link is None:
                from headrace.bus.sync import Link

                self._link = Link(self.settings, self._client)
            return self._link

    # Under the lock

    def _check_open(self) -> None:
        if self.closed:
            raise BusError("this publisher is closed: events can be published before close() only")

    def _wait_for_room(self) -> None:
        self._news = True
        self._waiters += 1
        try:
            self._start()
            self._wake.set()
            self._room.wait()
        finally:
            self._waiters -= 1
        self._check_open()

    def _gather(self, now: float, most: int = GATHER) -> bool:
        """Turn what `Run.log` left into events."""
        overrun, self.overrun = self.overrun, 0
        self.buffer.drop(METRICS, overrun)
        logged, buffer, source = self.logged, self.buffer, self.buffer.source
        taken = [logged.popleft() for _ in range(min(len(logged), most))]
        payloads: list[bytes] = []
        for one in taken:
            try:
                if isinstance(one, tuple):
                    run, rank, step, metrics, at, summary = one
                    summary.update(metrics)
                    payloads.append(
                        buffer.pack(
                            RunMetrics(
                                id=new_id(), source=source, time=at, run=run, step=step, metrics=metrics, rank=rank
                            )
                        )
                    )
                    continue
                self._offer_metrics(payloads, now)
                payloads = []
                self._offer(buffer.seal(RUNS, one), now)
            except (HeadraceError, TypeError, ValueError) as error:
                self._unsendable(one, error)
        self._offer_metrics(payloads, now)
        return bool(taken)

    def _offer_metrics(self, payloads: list[bytes], now: float) -> None:
        if self.closed:
            self.buffer.drop(METRICS, len(payloads))
        elif payloads:
            self.buffer.offer_metrics(payloads, now)

    def _offer(self, sealed: Sealed, now: float) -> bool:
        """Buffer an event of a run; without room it is spilled if its type must not be dropped, or else counted."""
        taken = not self.closed and self.buffer.offer(sealed, now)
        if not taken:
            self._spill_or_drop(sealed)
        return taken

    def _unsendable(self, one: Logged | Event, error: Exception) -> None:
        """Count what no server would take, and say so once for each type."""
        kind = METRICS if isinstance(one, tuple) else str(one.__struct_config__.tag)
        self.buffer.drop(kind)
        self._warn_once(kind, f"{kind} of a run was dropped: {error}")

    def _spill_or_drop(self, sealed: Sealed) -> None:
        item = (sealed.channel, sealed.partition, Leftover("", 0, sealed.payload, sealed.kind, False))
        if sealed.kind in KINDS and self.spill.write([item]):
            self.buffer.spilled += 1
            self._spill_due = True
        else:
            self.buffer.drop(sealed.kind)

    def _give_up(self) -> int:
        """Empty the buffer: to disk what must not be dropped. How many events are lost that somebody counts on."""
        left = self.buffer.take_back()
        precious = [item for item in left if item[2].kind in KINDS]
        written = self.spill.write(precious)
        self.buffer.spilled += written
        dropped = [item for item in left if item[2].kind not in KINDS] + precious[written:]
        for _, _, item in dropped:
            self.buffer.drop(item.kind)
        if left:
            logger.warning("%d events were dropped and %d kept on disk: no server took them", len(dropped), written)
        return sum(1 for _, _, item in dropped if not item.droppable and item.kind not in OF_RUNS)

    # The thread

    def _start(self) -> None:
        if self._thread is not None:
            return
        # The client, which the thread loads, needs this module, and it cannot be loaded any more while a script ends.
        import concurrent.futures.thread  # noqa: F401

        thread = threading.Thread(target=self._work, name="headrace-publisher", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the interpreter is ending: what waits is spilled or counted when the publisher closes
            return
        self._thread = thread
        lifetime.at_exit()

    def _work(self) -> None:
        with suppress(Exception):  # a fault shows again, and is told, at the first call
            _ = self.link
        linger_s = self.settings.linger_ms / 1000
        busy_at = heard_at = time.monotonic()
        rested = False
        while not self._stopping:
            self._wake.clear()
            with self._lock:
                now = time.monotonic()
                if self._published:
                    busy_at = now
                if self._gather(now) or self._news:
                    heard_at = now
                self._news = self._published = False
                self._say_alive(now)
                if self._waiters or rested:  # what was logged meanwhile has waited for company
                    self.buffer.hurry(now)
                rested = False
                call = self.buffer.next_call(now)
                wake_at = self.buffer.wake_at() if call is None else now
                if self._runs:
                    wake_at = self._alive_at if wake_at is None else min(wake_at, self._alive_at)
            if call is not None:
                if self._send(call) and self._spill_due:
                    self._send_spilled()
                continue
            self._tell()
            if self._warm:
                self.buffer.clock.ask(now, self.link.time)
            left = None if wake_at is None else max(0.0, wake_at - now)
            if now - heard_at < QUIET_S:
                self._dozes = now - busy_at >= QUIET_S
                look_s = min(PACE * linger_s, DOZE_S) if self._dozes and not self._published else linger_s
                rested = not self._wake.wait(look_s if left is None else min(left, look_s)) and self._dozes
                self._dozes = False
            else:
                self.asleep, self._has_alarm = True, left is not None
                if not (self.logged or self._news):
                    self._wake.wait(left)
                self.asleep = self._has_alarm = False
        self._tell()

    def _send(self, call: PublishCall) -> bool:
        """Send a batch and take in what came of it; False if there was no answer. `_tell` tells it. In any thread."""
        try:
            answer = self._publish(call)
        except Exception as caught:  # whatever it is, the events must stay and the thread must go on
            error = caught if isinstance(caught, HeadraceError) else BusError(f"publishing failed: {caught!r}")
            with self._lock:
                if self.buffer.trouble is None:
                    logger.warning("events are buffered until a server takes them: %s", error)
                self.buffer.failed(error, time.monotonic())
                self._spill_due = True
            return False
        with self._lock:
            now = time.monotonic()
            self._owed += self.buffer.accepted(answer, now)
            report = self.buffer.report(now)
            if report is not None:
                self.buffer.offer(report, now, droppable=True)
        return True

    def _tell(self) -> None:
        """Tell who waits for room, or for the handle of an event, what the server accepted.

        Only when the next batch is on its way: they begin to work then, and the server would wait for them.
        """
        with self._lock:
            for ticket, handle in self._owed:
                cast("Placed", ticket).placed(handle)
            self._owed.clear()
            if self._waiters:
                self._room.notify_all()

    def _publish(self, call: PublishCall) -> Accepted:
        if self._warm:
            return self.link.publish(call, self._meanwhile)
        with lifetime.loading():
            answer = self.link.publish(call)
        self._warm = True
        return answer

    def _meanwhile(self) -> None:
        """While the server works on this batch, tell of the last one and ready the next."""
        self._tell()
        with self._lock:
            call = self.buffer.upcoming()
        if call is not None:
            self.link.prepare(call)

    def _send_spilled(self) -> None:
        self._spill_due = False
        try:
            sent = self.spill.send(self.link.publish)
        except Exception:  # they stay on disk for the next time
            self._spill_due = True
        else:
            if sent:
                logger.info("%d events that waited on disk are sent", sent)

    def _say_alive(self, now: float) -> None:
        if not self._runs or now < self._alive_at:
            return
        self._alive_at = now + ALIVE_S
        for run in self._runs.values():
            self.buffer.offer(self.buffer.seal(RUNS, run.alive()), now, droppable=True)

    def _warn_once(self, about: str, text: str) -> None:
        if about not in self._warned:
            self._warned.add(about)
            logger.warning("%s (further ones are only counted)", text)
