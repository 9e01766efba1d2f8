"""What a peer is, and the process that has it work. Standard library, numpy and scikit-learn only: it runs in the
environment of the peer.

A peer is one file, `benchmarks/peers/NAME.py`: which packages it needs (PEP 723), its worker, and a `Peer` that asks
it. `make lock` locks the packages in `NAME.lock`, and `make bench ARGS=peers/NAME` does the rest.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

Row = list[float]
Scored = dict[str, Any]
"""`label` and `probabilities` of one row."""

READY_S = 240.0
DONE_S = 120.0
ANSWER_S = 30.0
END_S = 15.0
WARM = 20
"""Requests answered one after the other before anything is measured."""
WAITERS = 16
"""Threads that ask a peer whose client blocks: enough that a slow answer delays no other request."""
CLOSED = 64
"""Requests under way at once where there is no queue to fill."""
LEAD_S = 0.05


@dataclass(frozen=True)
class Way:
    """One way of using a peer: the requests that keep it busy for some seconds, and those it can answer a second."""

    backlog: int
    rate: float


class Peer(ABC):
    """The client of one peer. Methods may be coroutines or plain functions, which threads then call.

    A peer with a queue has `enqueue`, `done` and `labels`; one without is asked by 64 callers at once.
    """

    packages: ClassVar[tuple[str, ...]]
    """Whose versions matter."""
    ways: ClassVar[dict[str, Way]]
    queue: ClassVar[bool] = True

    def __init__(self, url: str, way: str, port: int) -> None:
        """`url` of the server, `way` one of `ways`, `port` free for peers that listen."""
        self.url, self.way, self.port = url, way, port

    @abstractmethod
    def command(self) -> list[str]:
        """How the worker is started: a program of this environment and its arguments. It finds PEER_URL, PEER_WAY,
        PEER_PORT and the model (see `model`) in its environment."""

    @abstractmethod
    def ask(self, row: Row) -> Any:
        """The label of one row, from the worker."""

    def enqueue(self, rows: Sequence[Row]) -> Any:
        """Leave these rows, one request each, to the worker, and remember them."""
        raise NotImplementedError

    def done(self) -> Any:
        """How many of them have a result."""
        raise NotImplementedError

    def labels(self) -> Any:
        """Their labels, in the order they were enqueued."""
        raise NotImplementedError

    def close(self) -> Any:  # noqa: B027 - few have anything to end
        """End what this client has begun; another of its kind may follow in this process."""


def score(rows: Sequence[Row]) -> list[Scored]:
    """What every worker does: the model's opinion of some rows, in one call."""
    probabilities = model()(np.asarray(rows, np.float32))
    labels = probabilities.argmax(axis=1)
    return [{"label": int(a), "probabilities": b.tolist()} for a, b in zip(labels, probabilities, strict=True)]


@cache
def model() -> Callable[[Any], Any]:
    """`predict_proba` of the file that all are measured with."""
    from skops.io import get_untrusted_types, load

    path = os.environ["PEER_MODEL"]
    estimator = load(path, trusted=get_untrusted_types(file=path))
    predict: Callable[[Any], Any] = estimator.predict_proba
    return predict


def serve(kind: type[Peer]) -> None:
    """Answer the requests of the benchmark from standard input until it ends."""
    asyncio.run(_Course(kind).serve())


class _Course:
    """What a peer has to go through."""

    def __init__(self, kind: type[Peer]) -> None:
        self._kind = kind
        self._threads = ThreadPoolExecutor(WAITERS)
        self._log: Any = None
        self._worker: subprocess.Popen[bytes] | None = None

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while line := await loop.run_in_executor(None, sys.stdin.readline):
                asked = json.loads(line)
                answer = await getattr(self, asked.pop("do"))(**asked)
                print(json.dumps(answer), flush=True)
        finally:
            await self.finish()
            self._threads.shutdown(wait=False)

    async def describe(self) -> dict[str, Any]:
        """What this peer is."""
        return {
            "ways": {name: asdict(way) for name, way in self._kind.ways.items()},
            "versions": ", ".join(f"{name} {version(name)}" for name in self._kind.packages),
            "queue": self._kind.queue,
        }

    async def start(self, way: str, url: str, model: str, rows: str, labels: str, port: int) -> dict[str, Any]:
        """Start the worker, and ask it until it answers and has warmed up."""
        self._rows = np.load(rows).tolist()
        self._expected = np.load(labels).tolist()
        environment = {"PEER_URL": url, "PEER_WAY": way, "PEER_PORT": str(port), "PEER_MODEL": model}
        os.environ.update(environment)
        self._peer = self._kind(url, way, port)
        program, *arguments = self._peer.command()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - `finish` closes it
        self._worker = subprocess.Popen(  # noqa: ASYNC220 - nothing else runs yet
            [str(Path(sys.executable).with_name(program)), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        began = time.perf_counter()
        while True:
            try:
                await asyncio.wait_for(self._ask(0), ANSWER_S)
                break
            except Exception as error:
                if self._worker.poll() is not None or time.perf_counter() - began > READY_S:
                    raise RuntimeError(f"the worker does not answer ({error!r}); it said:\n{self._said()}") from error
                await asyncio.sleep(0.1)
        ready_s = time.perf_counter() - began
        for turn in range(WARM):
            await self._ask(turn)
        return {"ready_s": ready_s}

    async def round(self, count: int) -> dict[str, Any]:
        """Have a backlog scored. The clock starts when the worker, warm and held still meanwhile, is let go."""
        if not self._kind.queue:
            return await self._closed(count)
        rows = [self._rows[at % len(self._rows)] for at in range(count)]
        self._signal(signal.SIGSTOP)
        try:
            enqueuing = time.perf_counter()
            await self._call(self._peer.enqueue, rows)
            enqueue_s = time.perf_counter() - enqueuing
            await asyncio.sleep(0.2)
            cpu_s = self._cpu_s()
        finally:
            self._signal(signal.SIGCONT)
        began = time.perf_counter()
        while True:
            looked = time.perf_counter()
            if await self._call(self._peer.done) >= count:
                break
            now = time.perf_counter()
            if now - began > DONE_S:
                raise RuntimeError(f"{count} requests were not scored within {DONE_S:g} s:\n{self._said()}")
            await asyncio.sleep(max(0.005, 10 * (now - looked)))
        wall_s, cpu_s = time.perf_counter() - began, self._cpu_s() - cpu_s
        found = await self._call(self._peer.labels)
        self._check(found, [self._expected[at % len(self._rows)] for at in range(count)])
        return {"enqueue_s": enqueue_s, "wall_s": wall_s, "cpu_s": cpu_s}

    async def latency(self, times: list[float]) -> dict[str, Any]:
        """Ask at `times`, seconds from now: the latency of each from then on, in seconds. A thread gives the signals,
        as the loop's own clock ticks in milliseconds."""
        loop = asyncio.get_running_loop()
        found = [0.0] * len(times)
        asking: list[asyncio.Task[None]] = []
        begin = time.perf_counter() + LEAD_S

        async def one(turn: int) -> None:
            await asyncio.wait_for(self._ask(turn), ANSWER_S)
            found[turn] = time.perf_counter() - begin - times[turn]

        def begin_one(turn: int) -> None:
            asking.append(loop.create_task(one(turn)))

        def signals() -> None:
            for turn, at in enumerate(times):
                left = begin + at - time.perf_counter()
                if left > 0:
                    time.sleep(left)
                loop.call_soon_threadsafe(begin_one, turn)

        await loop.run_in_executor(None, signals)
        await asyncio.sleep(0)
        await asyncio.gather(*asking)
        return {"latencies_s": found}

    async def finish(self) -> dict[str, Any]:
        """End the worker and whatever it started."""
        worker, self._worker = self._worker, None
        if worker is None:
            return {}
        await self._call(self._peer.close)
        family = _family(worker.pid)
        worker.terminate()
        try:
            await asyncio.get_running_loop().run_in_executor(None, worker.wait, END_S)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
        for pid in family - {worker.pid}:
            if _family(pid):
                _kill(pid)
        self._log.close()
        return {}

    async def _closed(self, count: int) -> dict[str, Any]:
        turns = iter(range(count))

        async def caller() -> None:
            for turn in turns:
                await self._ask(turn)

        cpu_s, began = self._cpu_s(), time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(CLOSED)))
        return {"enqueue_s": None, "wall_s": time.perf_counter() - began, "cpu_s": self._cpu_s() - cpu_s}

    async def _ask(self, turn: int) -> None:
        at = turn % len(self._rows)
        self._check([await self._call(self._peer.ask, self._rows[at])], [self._expected[at]])

    async def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        if inspect.iscoroutinefunction(function):
            coroutine: Awaitable[Any] = function(*arguments)
            return await coroutine
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    def _check(self, found: list[int], expected: list[int]) -> None:
        if found != expected:
            wrong = sum(a != b for a, b in zip(found, expected, strict=False)) + abs(len(found) - len(expected))
            raise RuntimeError(f"{wrong} of {len(expected)} labels are not the model's own")

    def _signal(self, number: int) -> None:
        assert self._worker is not None
        for pid in _family(self._worker.pid):
            os.kill(pid, number)

    def _cpu_s(self) -> float:
        assert self._worker is not None
        return sum(_cpu_s(pid) for pid in _family(self._worker.pid))

    def _said(self) -> str:
        self._log.seek(0)
        text: str = self._log.read().decode("utf-8", "replace")
        return text[-3000:]


def _family(pid: int) -> set[int]:
    """A process and all that it started, as far as they live; Linux."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
    found = {pid} & parents.keys()
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def _cpu_s(pid: int) -> float:
    """Processor time of a process and of its ended children."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
