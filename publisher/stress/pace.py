"""A signal at each moment of a schedule, from a thread: an event loop's own clock ticks in milliseconds."""

from __future__ import annotations

import asyncio
import threading
import time

from headrace.publisher.stress.schedule import Times

GAP_S = 0.0005
"""Shortest time between two signals; one signal stands for all moments before it."""


class Pace:
    """Sets `due` at each moment of `times`, seconds after `begin_s` of time.perf_counter. A context manager."""

    def __init__(self, times: Times, begin_s: float) -> None:
        self.due = asyncio.Event()
        self._times, self._begin_s = times, begin_s
        self._loop = asyncio.get_running_loop()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._signal, name="headrace-pace", daemon=True)

    def __enter__(self) -> Pace:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()

    def _signal(self) -> None:
        at = next(self._times, None)
        while at is not None and not self._over.is_set():
            time.sleep(max(GAP_S, min(1.0, at - self._now_s())))
            now_s = self._now_s()
            if at > now_s:
                continue
            while at is not None and at <= now_s:
                at = next(self._times, None)
            try:
                self._loop.call_soon_threadsafe(self.due.set)
            except RuntimeError:  # the loop has ended
                return

    def _now_s(self) -> float:
        return time.perf_counter() - self._begin_s
