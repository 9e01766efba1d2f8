"""How cost grows: throughput and latency against what may grow, one thing at a time; and what overload does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import msgspec
import numpy as np

from benchmarks import latency, scorers, trees
from benchmarks.actor import ROOT, Actor
from benchmarks.plot import Panel, svg
from benchmarks.program import program
from benchmarks.samples import Result, spread, way
from benchmarks.score import Size as Backlog
from benchmarks.stage import BATCH, MODEL, Stage, append, digits, fill
from headrace.bus.sync import Link
from headrace.codec import encode
from headrace.events import Matrix, PredictionRequested, new_id
from headrace.models.card import Card
from headrace.models.registry import Registry
from headrace.settings import Settings

RATE = 100.0
"""Requests a second while latency is measured."""
CHUNK_BYTES = 4_000_000
WIDE = "wide"
MANY = "many"
SLOW_ROWS = 8

Round = dict[str, float]
Series = dict[str, list[tuple[float, Round]]]


@dataclass(frozen=True, slots=True)
class Size:
    """What is tried, how many times, with `requests` in a backlog and `asked` one by one; `shares` of the capacity are
    offered for `seconds` each."""

    features: Sequence[int]
    batches: Sequence[int]
    models: Sequence[int]
    depths: Sequence[int]
    scorers: Sequence[int]
    shares: Sequence[float]
    requests: int
    asked: int
    seconds: float
    rounds: int
    trees: int = 100


FULL = Size(
    (1, 4, 16, 64, 256, 1024, 4096),
    (1, 4, 16, 64, 256, 512, 1024, 4096),
    (1, 3, 10, 30, 100),
    (10, 100, 1_000, 10_000, 100_000, 999_000),
    (1, 2, 3, 4),
    (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0),
    20_000,
    200,
    5.0,
    2,
)
QUICK = Size((1, 64, 1024), (1, 64, 512), (1, 10), (100, 10_000), (1, 2), (0.5, 1.0, 2.0), 5_000, 40, 2.0, 1)
TINY = Size((1, 16), (1, 64), (1, 2), (10, 100), (1, 2), (0.5, 2.0), 200, 10, 0.5, 1, 3)

AXES = {
    "features": "values in a row",
    "batch": "entries read at once, at most",
    "models": "models asked in turn",
    "depth": "requests waiting",
    "scorers": "scorer processes",
}
WHY = {
    "features": "Features: the work of a request grows with its row, in codec, copy and model; a few hundred values "
    "cost less than what each request costs anyway, then bytes a second are what stays.",
    "batch": "Batch bound: what each batch costs is shared by its entries, until what each entry costs prevails. A "
    "request that comes alone waits for no other, so its latency does not know the bound.",
    "models": "Models: a batch is split by model and each has its own call, so a backlog in which every batch holds "
    "all of them pays a call of each; one that is not asked costs nothing.",
    "depth": "Depth: a batch costs the same however many wait behind it; where few wait, starting and stopping is what "
    "is measured. Latency is that of the last of the queue: depth over throughput.",
    "scorers": "Scorers: they share the work until the cores are used, of which the server needs one.",
}


def run(stage: Stage, size: Size) -> Result:
    """Each sweep, then overload."""
    series: Series = {}
    with ExitStack() as stack:
        workers = [stack.enter_context(Actor("worker")) for _ in range(max(size.scorers))]
        client = stack.enter_context(Actor("client"))
        bench = _Bench(stage, size, workers, client)
        for sweep in (bench.features, bench.batch, bench.models, bench.depth, bench.scorers):
            series[sweep.__name__] = list(_repeated(sweep, size.rounds))
    offered = list(_overload(stage, size))
    ways = [
        way(f"{name} {x:,.0f}", [measures for at, measures in points if at == x])
        for name, points in series.items()
        for x in dict.fromkeys(at for at, _ in points)
    ]
    plots = {f"scale-{name}.svg": _drawn(name, points) for name, points in series.items()}
    return Result(
        "scale",
        f"One scorer (unless it says more), logistic regression, single-row requests, a backlog of {size.requests:,} "
        f"(or fewer of many bytes); latency at {RATE:.0f} a second, open loop. {size.rounds} rounds.",
        "",
        ways,
        [*(f"To be expected, and held against the plots. {why}" for why in WHY.values()), *_overload_notes(offered)],
        {**plots, "scale-overload.svg": _drawn_overload(offered)},
    )


class _Bench:
    """The sweeps: each yields (x, measures)."""

    def __init__(self, stage: Stage, size: Size, workers: list[Actor], client: Actor) -> None:
        self._stage, self._size, self._workers, self._client = stage, size, workers, client
        _register(stage, size)

    def features(self) -> Iterator[tuple[float, Round]]:
        """Values in a row."""
        for width in self._size.features:
            model = f"{WIDE}{width}"
            requests = max(100, min(self._size.requests, 100_000_000 // (4 * width + 300)))
            settings = self._filled(requests, [model], width)
            yield width, {**self._scored(settings, requests), **self._asked(model, width)}

    def batch(self) -> Iterator[tuple[float, Round]]:
        """Entries that are read at once, at most."""
        for at_once in self._size.batches:
            requests = max(100, self._size.requests // (4 if at_once < 16 else 1))
            settings = self._filled(requests, [MODEL], 64)
            found = self._scored(settings, requests, at_once=at_once)
            yield at_once, {**found, **self._asked(MODEL, 64, at_once=at_once)}

    def models(self) -> Iterator[tuple[float, Round]]:
        """Models asked in turn."""
        for count in self._size.models:
            names = [f"{MANY}{at}" for at in range(count)]
            settings = self._filled(self._size.requests, names, 64)
            yield count, {**self._scored(settings, self._size.requests), **self._asked(names[-1], 64)}

    def depth(self) -> Iterator[tuple[float, Round]]:
        """Requests that wait; the latency is that of the last."""
        for depth in self._size.depths:
            settings = self._filled(depth, [MODEL], 64)
            found = self._scored(settings, depth)
            last_ms = 1000 * depth / found["rows/s"]
            yield depth, {**found, "p50 ms": last_ms / 2, "p99 ms": last_ms}

    def scorers(self) -> Iterator[tuple[float, Round]]:
        """Processes that share a backlog."""
        for count in self._size.scorers:
            backlog = Backlog(self._size.requests * 2, 1)
            found = scorers.together(self._stage, self._workers[:count], backlog)
            yield count, {"rows/s": found["rows/s"], "MB/s": found["rows/s"] * 256 / 1e6, **self._asked(MODEL, 64)}

    def _filled(self, requests: int, models: Sequence[str], width: int) -> Settings:
        """A backlog for these models in turn."""
        settings = self._stage.fresh()
        if list(models) == [MODEL]:
            fill(settings, requests)
        else:
            _fill(settings, requests, models, width)
        self._stage.settle()
        return settings

    def _scored(self, settings: Settings, requests: int, **more: Any) -> Round:
        where = {"url": settings.redis_url, "prefix": settings.prefix, "models": str(self._stage.models)}
        found = self._workers[0].ask(do="score", **where, **more)
        if found["events"] != requests or found["failed"]:
            raise RuntimeError(f"{found['events']} of {requests} requests were scored, {found['failed']} failed")
        log_bytes = self._stage.client.memory_usage(f"{settings.prefix}:{{0}}:requests:log", samples=20) or 0
        return {"rows/s": requests / found["wall_s"], "MB/s": log_bytes / found["wall_s"] / 1e6}

    def _asked(self, model: str, width: int, **more: Any) -> Round:
        settings = self._stage.fresh()
        where = {"url": settings.redis_url, "prefix": settings.prefix}
        self._workers[0].ask(do="start", **where, models=str(self._stage.models), **more)
        times = latency.schedule(self._size.asked, seed=1, rate=RATE)
        found = self._client.ask(do="predict_async", **where, times=times, model=model, width=width)
        self._workers[0].ask(do="finish")
        return {"p50 ms": found["p50"], "p99 ms": found["p99"]}


def _repeated(sweep: Callable[[], Iterator[tuple[float, Round]]], rounds: int) -> Iterator[tuple[float, Round]]:
    for _ in range(rounds):
        yield from sweep()


def _register(stage: Stage, size: Size) -> None:
    """Put models of each width, and many of one, into service."""
    from sklearn.linear_model import LogisticRegression

    registry = Registry(stage.models)
    draw = np.random.default_rng(0)
    for width in size.features:
        rows = draw.random((60, width), np.float32)
        estimator = LogisticRegression(C=1e-4, max_iter=1_000).fit(rows, np.arange(60) % 10)
        card = Card(name=f"{WIDE}{width}", kind="classification", labels=tuple("0123456789"))
        registry.promote(card.name, registry.save(estimator, card).version)
    estimator = registry.open(MODEL).estimator
    for at in range(max(size.models)):
        card = Card(name=f"{MANY}{at}", kind="classification", labels=tuple("0123456789"))
        registry.promote(card.name, registry.save(estimator, card).version)


def _fill(settings: Settings, requests: int, models: Sequence[str], width: int) -> None:
    """A backlog for several models in turn, with rows of `width` values."""
    row = Matrix("<f4", (1, width), np.resize(digits(64), (1, width)).astype("<f4").tobytes())
    batch = max(1, min(BATCH, CHUNK_BYTES // (4 * width + 300)))
    names = cycle(models)
    link = Link(settings)
    try:
        for first in range(1, requests + 1, batch):
            now = [
                PredictionRequested(id=new_id(), source="bench", time=1.0, model=name, inputs=row)
                for name in islice(names, min(batch, requests + 1 - first))
            ]
            append(link, [encode(event) for event in now], first)
    finally:
        link.close()


def _overload(stage: Stage, size: Size) -> Iterator[Round]:
    """Below and beyond what a scorer of slow trees can do, offered by `headrace stress`, open loop."""
    trees.publish(stage, size.trees)
    settings = stage.fresh()
    with program(settings, "scorer", ready="scorer ready"), Actor("worker") as worker:
        other = settings.with_(prefix=f"{settings.prefix}x")
        backlog = max(50, size.requests // 20)
        fill(other, backlog, SLOW_ROWS, "boosting")
        where = {"url": other.redis_url, "prefix": other.prefix, "models": str(stage.models)}
        capacity = backlog / worker.ask(do="score", **where)["wall_s"]
        for share in size.shares:
            report = _stress(settings, max(1.0, capacity * share), size.seconds)
            latencies, books = report["latency_ms"], report["books"]
            yield {
                "offered": report["offered"],
                "answered": report["answered"],
                "p50 ms": latencies["p50"],
                "p99 ms": latencies["p99"],
                "lost": books["lost"] + books["doubled"],
                "waiting": books["waiting"] + books["not_sent"],
            }


def _stress(settings: Settings, rate: float, seconds: float) -> dict[str, Any]:
    words = ["--rate", f"{rate:.1f}", "--duration", str(seconds), "--rows", str(SLOW_ROWS), "--model", "boosting"]
    where = ["--redis-url", settings.redis_url, "--prefix", settings.prefix, "--models-dir", str(settings.models)]
    done = subprocess.run(
        [sys.executable, "-m", "headrace", "stress", *words, *where, "--no-audit", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if not done.stdout:
        raise RuntimeError(f"headrace stress ended with {done.returncode}: {done.stderr}")
    found: dict[str, Any] = msgspec.json.decode(done.stdout)["stages"][0]
    return found


def _overload_notes(offered: Sequence[Round]) -> list[str]:
    lines = [
        f"offered {one['offered']:,.0f} requests/s of {SLOW_ROWS} rows: answered {one['answered']:,.0f}/s, p50 "
        f"{one['p50 ms']:,.0f} ms, p99 {one['p99 ms']:,.0f} ms, lost or doubled {one['lost']:,.0f}"
        for one in offered
    ]
    kept = [one for one in offered if one["p99 ms"] <= 50]
    knee = f"{max(one['offered'] for one in kept):,.0f} requests/s" if kept else "below all rates that were tried"
    beyond = [one["answered"] for one in offered if one not in kept]
    span = f"{min(beyond):,.0f} to {max(beyond):,.0f} were answered" if beyond else "nothing was tried"
    return [
        *lines,
        f"Overload (histogram gradient boosting): the knee, the highest rate with a p99 of at most 50 ms, is {knee}. "
        f"Beyond it the queue grows and with it the latency; {span} a second. In all, "
        f"{sum(one['lost'] for one in offered):,.0f} were lost or doubled.",
    ]


def _drawn(name: str, points: Sequence[tuple[float, Round]]) -> str:
    def line(measure: str) -> list[tuple[float, float]]:
        xs = list(dict.fromkeys(x for x, _ in points))
        return [(x, spread(found[measure] for at, found in points if at == x).median) for x in xs]

    x = AXES[name]
    return svg(
        Panel(f"{name}: throughput", x, "rows/s", {"rows/s": line("rows/s")}),
        Panel(f"{name}: latency", x, "ms", {"p50": line("p50 ms"), "p99": line("p99 ms")}),
    )


def _drawn_overload(offered: Sequence[Round]) -> str:
    def line(measure: str) -> list[tuple[float, float]]:
        return [(one["offered"], one[measure]) for one in offered]

    x = "requests offered a second"
    return svg(
        Panel("overload: throughput", x, "answered/s", {"answered": line("answered"), "offered": line("offered")}),
        Panel("overload: latency", x, "ms", {"p50": line("p50 ms"), "p99": line("p99 ms")}),
    )
