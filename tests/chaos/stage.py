"""The stage of one scenario: a server, scorers, a load; everything it starts ends with it."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from headrace.audit import Audit, audit
from headrace.bus import Bus
from headrace.bus.connection import connect_sync
from headrace.channels import REQUESTS, SCORERS
from headrace.codec import decode
from headrace.embedded import EmbeddedServer, EmbeddedSettings
from headrace.errors import BusError
from headrace.events import PredictionRequested
from headrace.forwards import forwards
from headrace.models.registry import Registry
from headrace.models.training import train
from headrace.settings import Settings
from tests.chaos.dawdling import Disk

CLAIM_MS = 400
STEP_S = 0.02
READY_S = 60.0
START_S = 240.0
"""Until processes are there: on a machine with too much to do Python needs a minute to load what scores."""
GRACE_S = 20.0
WORDS_BYTES = 600
"""So much of what a process said last is shown when something was waited for in vain."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much of a scenario: faults, requests at least, requests a second."""

    faults: int
    requests: int
    rate: int


@dataclass(slots=True)
class Outcome:
    """What a scenario found. `lost` counts accepted requests without an outcome or missing from the log unannounced."""

    faults: int = 0
    accepted: int = 0
    results: int = 0
    dead: int = 0
    doubled: int = 0
    lost: int = 0
    announced: int = 0
    """Accepted requests that the publisher itself reported as lost with the server's data."""
    recoveries_s: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What did not hold; empty if all did."""
    left_out: str = ""
    """Why nothing was tried here; empty if it was."""

    @property
    def balanced(self) -> bool:
        return not (self.notes or self.doubled or self.lost)


class Load:
    """A process that publishes, and what it said last."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.told: dict[str, Any] = {"offered": 0, "accepted": 0, "waiting": 0, "lost": 0}
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            with suppress(json.JSONDecodeError):
                self.told = json.loads(line)

    async def finish(self) -> dict[str, Any]:
        """Let it come to its end, and what it said last."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        await asyncio.wait_for(self.process.wait(), 180)
        await self._reading
        return self.told

    async def kill(self, number: int = signal.SIGKILL) -> dict[str, Any]:
        """End it in the middle of whatever it does, and what it said last."""
        self.process.send_signal(number)
        await self.process.wait()
        await self._reading
        return self.told


class Stage:
    """A context manager. `bus` talks to the server directly, processes through `url` if one was given."""

    def __init__(
        self,
        folder: Path,
        models: Path,
        seed: int,
        *,
        fsync: str = "everysec",
        disk: Disk | None = None,
        **changes: Any,
    ) -> None:
        self.draw = random.Random(seed)
        self.folder = folder
        self.data = folder / "data"
        self.models = models
        self.disk = disk
        self.server = EmbeddedServer(EmbeddedSettings(data_dir=self.data, appendfsync=fsync), disk and disk.binary)  # type: ignore[arg-type]
        self._changes = {"claim_ms": CLAIM_MS, **changes}
        self.processes: list[subprocess.Popen[bytes]] = []
        self.loads: list[Load] = []
        self.outcome = Outcome()
        self.url = ""

    async def __aenter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        await asyncio.to_thread(self.server.start)
        self.settings = Settings(
            redis_url=self.server.url, prefix="chaos", models=self.models, spill=self.folder / "spill", **self._changes
        )
        self.url = self.server.url
        self.bus = Bus(self.settings)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        for load in self.loads:
            if load.process.returncode is None:
                await load.kill()
        await self.bus.close()
        await asyncio.to_thread(self.server.stop)
        shutil.rmtree(self.folder, ignore_errors=True)

    # processes

    def environ(self, **more: str) -> dict[str, str]:
        named = {f"HEADRACE_{name.upper()}": str(value) for name, value in self._changes.items()}
        return (
            os.environ
            | {
                "REDIS_URL": self.url,
                "HEADRACE_PREFIX": self.settings.prefix,
                "HEADRACE_MODELS": str(self.models),
                "HEADRACE_SPILL": str(self.settings.spill),
                "OMP_NUM_THREADS": "1",
            }
            | named
            | more
        )

    def start(self, kind: str, *words: str) -> subprocess.Popen[bytes]:
        """Start `headrace KIND`."""
        log = (self.folder / f"{kind}.log").open("ab")
        process = subprocess.Popen(
            [sys.executable, "-m", "headrace", kind, *words],
            env=self.environ(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        log.close()
        self.processes.append(process)
        return process

    async def load(self, size: Size, **more: Any) -> Load:
        """Start to publish."""
        return await self.tell("load", {"least": size.requests, "rate": size.rate, **more})

    async def tell(self, module: str, asked: dict[str, Any]) -> Load:
        """Start a process of this package that is asked for something in a line of JSON."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            f"tests.chaos.{module}",
            env=self.environ(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps(asked).encode() + b"\n")
        await process.stdin.drain()
        load = Load(process)
        self.loads.append(load)
        return load

    async def begin(self, size: Size, scorers: int = 2, **more: Any) -> tuple[Load, list[subprocess.Popen[bytes]]]:
        """Scorers and a load that are well under way."""
        workers = [self.start("scorer") for _ in range(scorers)]
        load = await self.load(size, **more)
        await self.until(lambda: self.above(0), "the first results", START_S)
        return load, workers

    # faults

    async def pause(self, low_s: float = 0.1, high_s: float = 0.5) -> None:
        """A seeded moment until the next fault."""
        await asyncio.sleep(self.draw.uniform(low_s, high_s))

    async def fault(self, inflict: Callable[[], Awaitable[object]]) -> None:
        """Do it, and measure how long it takes until requests are decided again."""
        before, began = await self.decided(), time.monotonic()
        await inflict()
        self.outcome.faults += 1
        await self.until(lambda: self.above(before), "requests to be decided again")
        self.outcome.recoveries_s.append(time.monotonic() - began)

    async def repeat(
        self, times: int, inflict: Callable[[int], Awaitable[object]], low_s: float = 0.1, high_s: float = 0.5
    ) -> None:
        """Inflict a fault so often, at seeded moments; `inflict` is told which time it is."""
        for turn in range(times):
            await self.pause(low_s, high_s)
            await self.fault(partial(inflict, turn))

    async def decided(self) -> int:
        """Requests that have an outcome, as the group tells; 0 while there is no group or no server."""
        with suppress(BusError):
            _, newest = await self.bus.last(REQUESTS)
            for group in await self.bus.groups(REQUESTS):
                if group.name == SCORERS:
                    return newest.number - group.lag - group.in_flight
        return 0

    async def above(self, count: int) -> bool:
        return await self.decided() > count

    async def until(self, holds: Callable[[], Awaitable[bool]], what: str, patience_s: float = READY_S) -> None:
        """Wait; note what did not come."""
        end = time.monotonic() + patience_s
        while time.monotonic() < end:
            if await holds():
                return
            await asyncio.sleep(STEP_S)
        raise AssertionError(f"waited {patience_s:g} s in vain for {what}{self._last_words()}")

    def _last_words(self) -> str:
        """What the processes said last."""
        said = {log.stem: log.read_text(errors="replace")[-WORDS_BYTES:] for log in sorted(self.folder.glob("*.log"))}
        return "".join(f"; {kind} said: {text!r}" for kind, text in said.items() if text)

    async def reachable(self) -> bool:
        try:
            await self.bus.check()
        except BusError:
            return False
        return True

    def admin(self, *words: Any) -> Any:
        """A command as an operator gives it."""
        client: Any = connect_sync(self.settings, timeout_s=10.0)
        try:
            return client.execute_command(*words)
        finally:
            client.close()

    async def end_well(self, process: subprocess.Popen[bytes]) -> None:
        """SIGTERM, once it listens to that; it must end by itself with status 0."""
        await self.until(
            lambda: asyncio.to_thread(_listens, process), "a process to begin, which was to be asked to end"
        )
        process.send_signal(signal.SIGTERM)
        try:
            status = await asyncio.to_thread(process.wait, GRACE_S)
        except subprocess.TimeoutExpired:
            self.outcome.notes.append("a process did not end within its grace")
            return
        if status != 0:
            self.outcome.notes.append(f"a process that was asked to end had status {status}")

    async def kept_back(self, process: subprocess.Popen[bytes]) -> list[str]:
        """Entries that an ended worker neither decided nor handed back for others to take at once; empty if none."""
        client: Any = connect_sync(self.settings, timeout_s=10.0)
        log = self.bus.names.log(REQUESTS, 0)
        pending = await asyncio.to_thread(client.xpending_range, log, SCORERS, "-", "+", 100_000)
        client.close()
        held = [row for row in pending if f"-{process.pid}-" in str(row["consumer"])]
        fresh = [row for row in held if int(row["time_since_delivered"]) < CLAIM_MS]
        return [f"a worker ended with {len(fresh)} entries that it held back"] if fresh else []

    # books

    async def settle(self, load: Load, *, exact: bool = True) -> Outcome:
        """Let everything come to its end, and balance the books."""
        told = await load.finish()
        if not told.get("done") or told["waiting"]:
            self.outcome.notes.append(f"the publisher could not deliver: {told}")
        return await self.balance(told["accepted"], told["lost"], exact=exact)

    async def balance(self, accepted: int, announced: int = 0, *, exact: bool = True) -> Outcome:
        """Compare what was accepted with the log, the log with its outcomes, the statistics with a recount."""
        outcome = self.outcome
        await self.until(self.all_decided, "every request to be decided", 120)
        books = await audit(self.bus)
        ids = await self.ids()
        outcome.accepted, outcome.announced = accepted, announced
        outcome.results, outcome.dead = books.scored, books.dead
        outcome.doubled = books.doubled + len(ids) - len(set(ids))
        outcome.lost = books.lost + (max(0, accepted - announced - books.published) if exact else 0)
        if exact and books.published > accepted:
            outcome.notes.append(f"{books.published} are in the log, {accepted} were accepted")
        if books.differing:
            outcome.notes.append(f"statistics differ: {books.differing[0]}")
        if books.waiting or books.trimmed:
            outcome.notes.append(f"not judged: {books.waiting} waiting, {books.trimmed} trimmed")
        return outcome

    async def books(self) -> Audit:
        return await audit(self.bus)

    async def all_decided(self) -> bool:
        try:
            _, newest = await self.bus.last(REQUESTS)
        except BusError:
            return False
        return await self.decided() >= newest.number

    async def ids(self) -> list[str]:
        """Event ids of all requests in the log."""
        found: list[str] = []
        _, newest = await self.bus.last(REQUESTS)
        async for page in forwards(self.bus, REQUESTS, 0, newest):
            for entry in page:
                event = decode(entry.payload)
                if isinstance(event, PredictionRequested):
                    found.append(event.id)
        return found


def prepare_models(folder: Path) -> Path:
    """Two versions of a real model, the first in service."""
    registry = Registry(folder)
    if not registry.names():
        for strength in (0.03, 0.3):
            trained = train("digits", {"C": strength})
            registry.save(trained.estimator, trained.card)
        registry.promote("digits", 1)
    return folder


def _listens(process: subprocess.Popen[bytes]) -> bool:
    """Whether SIGTERM would not just end it; as far as the system tells."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return True
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return process.poll() is not None or bool(int(caught.split()[1], 16) & 1 << (signal.SIGTERM - 1))
