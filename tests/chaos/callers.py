"""Callers of a gateway, and what each of them was told."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Any, Self

import httpx

from headrace.models.datasets import load

CALLERS = 8
DEADLINE_MS = 20_000
PATIENCE_S = 60.0
AGAIN_S = 0.05


class Callers:
    """A context manager: so many callers ask for predictions one after the other, each until it is told to stop."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self._rows: list[list[float]] = load("digits").held_out_x.tolist()
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.told: dict[str, int] = {}
        """Status by the handle of the prediction."""
        self.refused: Counter[int] = Counter()
        """Answers without a prediction, by status."""
        self.broken = 0
        """Calls that had no answer: the connection could not be made, or ended."""
        self.doubled: list[str] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._ask(place)) for place in range(CALLERS)]
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.finish()

    async def finish(self) -> None:
        """Let each have its last answer."""
        self._stop.set()
        for task in self._tasks:
            await task
        self._tasks = []

    async def _ask(self, place: int) -> None:
        # Each call has a connection of its own: one kept open may be closed just when the next call begins.
        limits = httpx.Limits(max_keepalive_connections=0)
        async with httpx.AsyncClient(base_url=self._url, limits=limits, timeout=PATIENCE_S) as client:
            while not self._stop.is_set():
                place = (place + CALLERS) % len(self._rows)
                body = {"rows": [self._rows[place]], "deadline_ms": DEADLINE_MS}
                try:
                    answer = await client.post("/v1/models/digits/predict", json=body)
                except httpx.HTTPError:
                    self.broken += 1
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._stop.wait(), AGAIN_S)
                    continue
                self._note(answer.status_code, answer.json())

    def _note(self, status: int, body: dict[str, Any]) -> None:
        if status not in (200, 202):
            self.refused[status] += 1
            return
        handle = body["id"]
        if handle in self.told:
            self.doubled.append(handle)
        self.told[handle] = status
