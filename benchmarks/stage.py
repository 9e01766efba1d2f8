"""What every benchmark stands on: one server, the digits model, clean ground for each round, what the machine is."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from importlib.metadata import version
from itertools import cycle, islice
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import redis
from threadpoolctl import threadpool_limits

from headrace.bus.scripts import PublishCall
from headrace.bus.sync import Link
from headrace.channels import REQUESTS, Names
from headrace.codec import encode
from headrace.embedded import EmbeddedServer, EmbeddedSettings
from headrace.events import Matrix, PredictionRequested, new_id
from headrace.models.datasets import load
from headrace.models.registry import Registry
from headrace.models.training import train
from headrace.settings import Settings

MODEL = "digits"
BATCH = 500
PATIENCE_S = 30.0


class AbsentError(Exception):
    """What a benchmark needs is not there; the text says what."""


class Stage:
    """A real server with appendonly everysec, and a registry with the digits model in service. A context manager."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="headrace-bench-")
        self.server = EmbeddedServer(EmbeddedSettings(appendfsync="everysec", maxmemory_bytes=2 * 1024**3))
        self._prefixes = 0

    def __enter__(self) -> Self:
        self.server.start()
        self.client = redis.Redis.from_url(self.server.url)
        # A rewrite of the file in the middle of a round would be charged to whoever runs just then.
        self.client.config_set("auto-aof-rewrite-percentage", 0)
        registry = Registry(self.models)
        with threadpool_limits(1):  # idle threads that spin would hold up everybody on few cores
            trained = train(MODEL)
        stored = registry.save(trained.estimator, trained.card)
        registry.promote(MODEL, stored.version)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()
        self.server.stop()
        self._folder.cleanup()

    @property
    def folder(self) -> Path:
        """Removed at the end."""
        return Path(self._folder.name)

    @property
    def models(self) -> Path:
        """The registry's folder."""
        return self.folder / "models"

    def fresh(self) -> Settings:
        """An emptied server and a prefix that nobody has used; the server has nothing left to do."""
        self.client.flushall()
        self.client.bgrewriteaof()
        self.settle()
        self._prefixes += 1
        return Settings(redis_url=self.server.url, prefix=f"bench{self._prefixes}", models=self.models)

    def settle(self) -> None:
        """Wait until the server writes nothing to its disk any more."""
        deadline = time.monotonic() + PATIENCE_S
        busy = ("aof_rewrite_in_progress", "aof_rewrite_scheduled", "aof_pending_bio_fsync")
        while time.monotonic() < deadline:
            state = self.client.info("persistence")
            if not any(state.get(name) for name in busy):
                return
            time.sleep(0.01)

    def until_scored(self, settings: Settings, requests: int) -> None:
        """Wait until scorers have decided so many requests. Raises RuntimeError if that takes too long."""
        log = Names(settings.prefix).log(REQUESTS)
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            groups = self.client.xinfo_groups(log) if self.client.exists(log) else []
            if any(one["entries-read"] == requests and not one["pending"] for one in groups):
                return
            time.sleep(0.02)
        raise RuntimeError(f"{requests} requests were not scored within {PATIENCE_S:g} s")

    def server_cpu_s(self) -> float:
        """Processor time that the server has used, all its threads together."""
        used = self.client.info("cpu")
        return float(used["used_cpu_user"] + used["used_cpu_sys"])


def digits(rows: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Held-out digits, float32, again and again until there are `rows` of them."""
    held_out = load(MODEL).held_out_x.astype("<f4")
    return np.resize(held_out, (rows, held_out.shape[1]))


def request(row: bytes, shape: tuple[int, int], model: str = MODEL) -> PredictionRequested:
    """A request of this process, made now."""
    return PredictionRequested(
        id=new_id(), source="bench", time=time.time(), model=model, inputs=Matrix("<f4", shape, row)
    )


def fill(settings: Settings, requests: int, rows: int = 1, model: str = MODEL) -> None:
    """Publish a backlog of requests with `rows` digits each, exactly as a publisher does."""
    matrix = digits(max(rows, 500) + 37)
    parts = [matrix[at : at + rows].tobytes() for at in range(len(matrix) - rows + 1)]
    source = cycle(parts)
    batch = max(1, min(BATCH, 4_000_000 // (rows * 256)))
    link = Link(settings)
    try:
        for first in range(1, requests + 1, batch):
            count = min(batch, requests + 1 - first)
            append(link, [encode(request(part, (rows, 64), model)) for part in islice(source, count)], first)
    finally:
        link.close()


def append(link: Link, events: list[bytes], first: int, channel: str = REQUESTS) -> None:
    """Publish one batch; `first` is the number of its first event. Raises RuntimeError if it does not fit."""
    answer = link.publish(PublishCall(channel, 0, "filler", first, events))
    if answer.status != "ok":
        raise RuntimeError(f"the server did not take the backlog: {answer.status}")


def machine() -> str:
    """The machine in general words."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {_system()}, Python {platform.python_version()}"


def versions(server: EmbeddedServer) -> str:
    """The versions that a number depends on."""
    names = ("redis", "hiredis", "msgspec", "numpy", "scikit-learn")
    found = ", ".join(f"{name} {version(name)}" for name in names)
    return f"{server.describe().partition(' at ')[0]}, {found}"


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return f"{platform.system()} {platform.release()}"
