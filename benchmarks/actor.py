"""Processes of their own that do what they are asked, one request at a time.

A line of JSON in, a line of JSON out. They start once and wait idle for their turn, so that imports, connections to be
made and models to be opened cost nothing while something is measured.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

ROOT = Path(__file__).parents[1]
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
END_TIMEOUT_S = 30.0

Answer = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


class Actor:
    """The process `python -m benchmarks.NAME`, with one BLAS thread; `python` may be that of another environment. A
    context manager."""

    def __init__(self, name: str, python: Path = Path(sys.executable)) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [str(python), "-m", f"benchmarks.{name}"],
            cwd=ROOT,
            env={**os.environ, **ONE_THREAD, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def tell(self, **request: Any) -> None:
        """Ask without waiting; `answer` takes the answer later."""
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(request) + b"\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """The next answer. Raises RuntimeError if the process ended instead; its own words are on standard error."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process benchmarks.{self.name} ended with {self._process.wait()}")
        answer: dict[str, Any] = msgspec.json.decode(line)
        return answer

    def ask(self, **request: Any) -> dict[str, Any]:
        """Ask and wait for the answer."""
        self.tell(**request)
        return self.answer()


def serve(answer: Answer) -> None:
    """Answer requests from standard input until it ends."""

    async def loop() -> None:
        while line := await asyncio.to_thread(sys.stdin.readline):
            sys.stdout.write(msgspec.json.encode(await answer(msgspec.json.decode(line))).decode() + "\n")
            sys.stdout.flush()

    asyncio.run(loop())
