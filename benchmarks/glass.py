"""How old things are when they are seen, and what it costs to look: real processes, a real browser.

As a process of its own (`python -m benchmarks.glass`) it publishes at a steady rate, or watches as many browsers would.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import msgspec

from benchmarks.actor import Actor, serve
from benchmarks.program import program
from benchmarks.samples import Result, paired, way
from benchmarks.stage import BATCH, AbsentError, Stage, digits, request
from headrace.bus import Bus, PublishCall
from headrace.channels import REQUESTS
from headrace.codec import encode
from headrace.settings import Settings

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
SECTIONS = ["overview", "clock", "model:digits@1", "status"]
READY_S = 60.0
HIDE = """(hidden) => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


@dataclass(frozen=True, slots=True)
class Size:
    """Requests a second of the slow and the fast way, seconds measured of each, browsers of the third way, and how
    often the page is changed for another at the end."""

    slow: int
    fast: int
    seconds: float
    viewers: int
    changes: int
    rounds: int


FULL = Size(100, 50_000, 20.0, 20, 50, 3)
QUICK = Size(100, 50_000, 6.0, 20, 50, 1)
TINY = Size(20, 200, 1.0, 3, 3, 1)

Round = dict[str, float]


def run(stage: Stage, size: Size) -> Result:
    """One page at a slow rate, alone and beside a fast one of others, at a fast one, and among many; then at rest."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise AbsentError("glass was left out: it needs playwright, see the developers' environment") from None
    chromium = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if chromium is None:
        raise AbsentError("glass was left out: no Chromium is on PATH")
    slow, fast = f"{size.slow:,} requests/s", f"{size.fast:,} requests/s"
    beside, seen = f"{slow} beside {size.fast:,} of others", f"{size.viewers} viewers"
    names = (slow, beside, fast, seen)
    ways: dict[str, list[Round]] = {name: [] for name in names}
    quiet: list[Round] = []
    with sync_playwright() as playwright, Actor("glass") as flood, Actor("glass") as next_door, Actor("glass") as crowd:
        browser = playwright.chromium.launch(executable_path=chromium, args=OPTIONS)
        for _ in range(size.rounds):
            with Pipeline(stage) as pipeline:
                page = Watched(browser, pipeline.url)
                url, prefix, others = pipeline.settings.redis_url, pipeline.settings.prefix, pipeline.others.prefix
                for name in names:
                    rate, viewers = size.fast if name == fast else size.slow, size.viewers - 1 if name == seen else 0
                    flood.ask(do="start", url=url, prefix=prefix, rate=rate)
                    if name == beside:
                        next_door.ask(do="start", url=url, prefix=others, rate=size.fast)
                    crowd.ask(do="watch", url=pipeline.url, viewers=viewers)
                    page.settle()
                    before = pipeline.cpu_s()
                    found = page.measure(size.seconds)
                    cpu = 100 * (pipeline.cpu_s() - before) / found.pop("seconds")
                    crowd.ask(do="leave")
                    reached = flood.ask(do="finish")["rate"]
                    if name == beside:
                        next_door.ask(do="finish")
                    ways[name].append({"server CPU %": cpu, **found, "requests/s": reached})
                quiet.append(page.rest(size.seconds, size.changes))
        browser.close()
    flat = paired(*([one["server CPU %"] for one in ways[name]] for name in (fast, beside)))
    notes = [f"server CPU at {fast} over that at {beside}: {flat.median:.2f} ({flat.low:.2f} - {flat.high:.2f})"]
    notes += [f"{name}: {max(one[name] for one in quiet):.3g}" for name in quiet[0]]
    return Result(
        "glass",
        "The processes of `headrace aggregator`, `dashboard` and one `scorer`, a process that publishes single-row "
        "requests without labels in bulk, and the overview in headless Chromium without a graphics processor. Server "
        "CPU is that of dashboard and aggregator together, main thread that of the page, both in per cent of a core. "
        "Others: a publisher and a scorer of another prefix, as a busy machine makes everything cost more. Tiles and "
        "charts: from the making of a frame to its being painted; prediction: from the making of a request "
        f"to its being painted. 95th percentiles of {size.seconds:g} s. The other viewers of the last way are clients "
        f"of the protocol. Rates are what the machine reached. {size.rounds} rounds.",
        slow,
        [way(name, rounds, ways[slow]) for name, rounds in ways.items()],
        notes,
    )


class Pipeline:
    """Aggregator, dashboard and scorer on clean ground, and a scorer of `others`. A context manager."""

    def __init__(self, stage: Stage) -> None:
        self.settings = stage.fresh()
        self.others = self.settings.with_(prefix=f"{self.settings.prefix}-others")
        self.url = ""
        self._stack = ExitStack()
        self._pids: list[int] = []

    def __enter__(self) -> Pipeline:
        for settings in (self.settings, self.others):
            self._stack.enter_context(program(settings, "scorer", ready="scorer ready"))
        aggregator = self._stack.enter_context(program(self.settings, "aggregator", ready="ready"))
        page = self._stack.enter_context(program(self.settings, "dashboard", "--port", "0", ready="http://"))
        self._pids, self.url = [aggregator.pid, page.pid], page.url
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def cpu_s(self) -> float:
        """Processor time of dashboard and aggregator so far."""
        import psutil

        times = [psutil.Process(pid).cpu_times() for pid in self._pids]
        return sum(one.user + one.system for one in times)


class Watched:
    """The overview in a browser, and what the browser says of its own work."""

    def __init__(self, browser: Any, url: str) -> None:
        self.page = browser.new_page(viewport={"width": 1440, "height": 1000})
        self.tools = self.page.context.new_cdp_session(self.page)
        self.tools.send("Performance.enable")
        self.page.goto(url)
        self.until("headrace.glass.first !== null")
        self.first_ms = float(self.page.evaluate("headrace.glass.first"))

    def until(self, text: str) -> None:
        """Wait for an expression to be true."""
        deadline = time.monotonic() + READY_S
        while not self.page.evaluate(text):
            if time.monotonic() > deadline:
                raise RuntimeError(f"waited {READY_S:g} s in vain for {text}")
            self.page.wait_for_timeout(100)

    def settle(self) -> None:
        """Wait until predictions of what is published now are seen, and let what went before be forgotten."""
        self.page.evaluate("Object.values(headrace.glass.ways).forEach((way) => way.splice(0))")
        self.until("headrace.glass.ways.samples.length >= 3 && headrace.glass.ways.charts.length >= 3")
        self.page.evaluate("Object.values(headrace.glass.ways).forEach((way) => way.splice(0))")

    def measure(self, seconds: float) -> Round:
        """Time to glass and the main thread's share over a while."""
        share, took = self.busy(seconds)
        found = self.page.evaluate("headrace.glass.summary()")
        frames = found["frames"]
        return {
            "main thread %": share,
            "tiles ms": 1000 * (frames["tiles"]["p95"] or 0.0),
            "charts ms": 1000 * (frames["charts"]["p95"] or 0.0),
            "prediction ms": 1000 * (found["total"]["p95"] or 0.0),
            "seconds": took,
        }

    def busy(self, seconds: float) -> tuple[float, float]:
        """Share of a core that the page's main thread used, per cent, and the seconds that were measured."""
        before, began = self._thread_s(), time.perf_counter()
        self.page.wait_for_timeout(1000 * seconds)
        took = time.perf_counter() - began
        return 100 * (self._thread_s() - before) / took, took

    def rest(self, seconds: float, changes: int) -> Round:
        """Paused, hidden, walked through; then the page is closed."""
        self.page.click("#pause")
        paused, _ = self.busy(seconds)
        self.page.click("#pause")
        self.page.evaluate(HIDE, True)
        hidden, _ = self.busy(seconds)
        self.page.evaluate(HIDE, False)
        self._tour(min(12, changes))
        before = self._heap_bytes()
        self._tour(changes)
        grown = self._heap_bytes() - before
        self.page.close()
        return {
            "first numbers painted, ms": self.first_ms,
            "main thread while paused, %": paused,
            "main thread while hidden, %": hidden,
            f"heap grown by {changes} page changes, MB": grown / 1e6,
        }

    def _tour(self, changes: int) -> None:
        names = self.page.evaluate("[...document.querySelectorAll('#nav a')].map((link) => link.id.slice(3))")
        for n in [*range(1, changes), 0]:
            name = names[n % len(names)]
            self.page.evaluate("(name) => document.getElementById(`to-${name}`).click()", name)
            self.until(f"document.getElementById('page-{name}') !== null")

    def _thread_s(self) -> float:
        return self._metrics()["ThreadTime"]

    def _heap_bytes(self) -> float:
        self.tools.send("HeapProfiler.collectGarbage")
        return self._metrics()["JSHeapUsedSize"]

    def _metrics(self) -> dict[str, float]:
        return {one["name"]: one["value"] for one in self.tools.send("Performance.getMetrics")["metrics"]}


class Other:
    """Answers the requests of this process: a steady publisher, and the other viewers."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[Any]] = []
        self._sent, self._began = 0, 0.0

    async def __call__(self, asked: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = await getattr(self, asked.pop("do"))(**asked)
        return answer

    async def start(self, url: str, prefix: str, rate: int) -> dict[str, Any]:
        """Publish at this rate until `finish`."""
        self._sent, self._began = 0, time.monotonic()
        self._tasks = [asyncio.create_task(self._publish(Settings(redis_url=url, prefix=prefix), rate))]
        return {}

    async def finish(self) -> dict[str, Any]:
        """End it: the rate that was reached."""
        took = time.monotonic() - self._began
        await self._end()
        return {"rate": self._sent / took}

    async def watch(self, url: str, viewers: int) -> dict[str, Any]:
        """Look on as so many browsers until `leave`."""
        self._tasks = [asyncio.create_task(self._view(url)) for _ in range(viewers)]
        return {}

    async def leave(self) -> dict[str, Any]:
        """Look no more."""
        await self._end()
        return {}

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def _publish(self, settings: Settings, rate: int) -> None:
        rows = [row.tobytes() for row in digits(BATCH)]
        producer, batch = f"flood-{os.getpid()}-{time.time_ns()}", max(1, min(BATCH, rate // 20))
        async with Bus(settings) as bus:
            while True:
                events = [encode(request(row, (1, 64))) for row in rows[:batch]]
                answer = await bus.publish_batch(PublishCall(REQUESTS, 0, producer, self._sent + 1, events))
                self._sent += answer.added
                ahead = self._sent / rate - (time.monotonic() - self._began)
                await asyncio.sleep(max(0.0 if answer.added else 0.05, ahead))

    async def _view(self, url: str) -> None:
        from websockets.asyncio.client import connect

        origin: Any = url.rstrip("/")
        async with connect(url.replace("http", "ws", 1) + "live", origin=origin, max_size=None) as socket:
            await socket.send(msgspec.json.encode({"show": SECTIONS, "after": ["", 0], "pause": False}).decode())
            async for message in socket:
                heard = msgspec.json.decode(message)
                if "serial" in heard:
                    await socket.send(msgspec.json.encode({"seen": heard["serial"]}).decode())


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        serve(Other())
