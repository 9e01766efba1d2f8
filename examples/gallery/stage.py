"""What every exhibit of the gallery shares: options, a server, a recount of its events, and an honest end.

An exhibit is a script with one function, and `play` runs it:

    def main(show: Show) -> str:
        run = show.run("name", {"n": show.sizes["n"]})
        ...
        show.check(error < 1e-9, f"the sum is wrong by {error}")
        show.expect(run, metrics=100)
        return "one sentence for the table"

    play(main, n=(8, 3))  # size `n` is an option: 8, and 3 with --quick

Events go to REDIS_URL, or without it to a server that lives as long as the script. The exit status is 1 if a check
fails or if the log does not hold exactly the events that the exhibit says it has published.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

from headrace import Bus, HeadraceError, Publisher, Run, Settings
from headrace.bus.sync import Link
from headrace.codec import decode
from headrace.embedded import EmbeddedServer
from headrace.events import Event, RunCandidate, RunFinished, RunMetrics, RunStarted
from headrace.positions import START, Position

ARRIVAL_S = 20.0
"""How long events of other processes may be under way when an exhibit ends."""
CHANNELS = ("runs", "requests", "results", "labels")
COUNTED = (RunStarted, RunMetrics, RunCandidate, RunFinished)
READ = 2_000

Counts = Counter[type[Event]]


class CheckFailed(HeadraceError):
    """The exhibit did not compute what it should, or its events did not arrive."""


class Show:
    """One performance of an exhibit: where it publishes, how large it is, and what it has promised."""

    def __init__(self, settings: Settings, sizes: Mapping[str, int], given: Mapping[str, str], quick: bool) -> None:
        self.settings = settings
        self.sizes = sizes
        self.given = given
        self.quick = quick
        self.publisher = Publisher(settings)
        self.events = 0
        """Events found in the log so far."""
        self._promised: dict[str, Counts] = {}
        self._began = asyncio.run(_ends(settings))
        self._link = Link(settings)

    def run(self, name: str, params: Mapping[str, Any] | None = None, **options: Any) -> Run:
        """A run that is expected to begin and to finish; say with `expect` what comes between."""
        run = Run(name, params, publisher=self.publisher, **options)
        self.expect(run, ranks=1)
        return run

    def expect(self, run: Run | str, *, metrics: int = 0, candidates: int = 0, ranks: int = 0) -> None:
        """Promise so many more events of a run; `ranks` of them begin and finish it."""
        promised = self._promised.setdefault(run if isinstance(run, str) else run.id, Counter())
        promised.update({RunMetrics: metrics, RunCandidate: candidates, RunStarted: ranks, RunFinished: ranks})

    def check(self, holds: Any, otherwise: str) -> None:
        """Go on if the result is what it must be; else the exhibit fails with this sentence."""
        if not holds:
            raise CheckFailed(otherwise)

    def count(self, what: str, wanted: int, found: Callable[[], int]) -> None:
        """Wait until `found`, events in the log, has come to `wanted`; fails if it does not, or goes beyond."""
        until = time.monotonic() + ARRIVAL_S
        while (now := found()) < wanted and time.monotonic() < until:
            time.sleep(0.05)
        self.check(now == wanted, f"the log holds {now:,} of {wanted:,} {what}")
        self.events += now

    def wait(self, what: str, holds: Callable[[], Any], seconds: float) -> None:
        """Go on once something holds; fails if it does not within the time."""
        until = time.monotonic() + seconds
        while not holds():
            self.check(time.monotonic() < until, f"{what} did not come within {seconds:g} s")
            time.sleep(0.05)

    def log(self, channel: str) -> Iterator[Event]:
        """The events of a channel since this performance began (of one not in CHANNELS: all), by partition."""
        for partition in self._link.names.partitions_of(channel):
            start = _after(self._began.get((channel, partition), START))
            while entries := self._link.read(channel, partition, start=start, count=READ):
                yield from (decode(entry.payload) for entry in entries)
                start = _after(entries[-1].position)

    def process(self, *words: str, **environ: str) -> subprocess.Popen[bytes]:
        """Another process of this Python, told where to publish; whoever starts it ends it."""
        return subprocess.Popen([sys.executable, *words], env={**os.environ, **self.environ, **environ})

    @property
    def environ(self) -> dict[str, str]:
        """What tells another process where to publish."""
        return {
            "REDIS_URL": self.settings.redis_url,
            "HEADRACE_PREFIX": self.settings.prefix,
            "HEADRACE_MODELS": str(self.settings.models),
            "HEADRACE_SPILL": str(self.settings.spill),
        }

    def settle(self) -> None:
        """Send what waits, and find every promised event of every run in the log, and no other."""
        self.publisher.flush()
        wanted = sum(counts.total() for counts in self._promised.values())
        self.count("events of runs", wanted, lambda: sum(counts.total() for counts in self._recount().values()))
        for run, counts in self._recount().items():
            promised = +self._promised[run]
            self.check(counts == promised, f"of run {run} the log holds {_said(counts)} instead of {_said(promised)}")

    def close(self) -> None:
        """Give back all connections."""
        self.publisher.close()
        self._link.close()

    def _recount(self) -> dict[str, Counts]:
        found: dict[str, Counts] = {run: Counter() for run in self._promised}
        for event in self.log("runs"):
            if isinstance(event, COUNTED) and event.run in found:
                found[event.run][type(event)] += 1
        return found


@contextmanager
def ranked(settings: Settings, run: str, name: str, rank: int, world: int, **params: Any) -> Iterator[Run]:
    """One rank of a run of several processes, from its beginning to its end; `run` is the id that all of them share."""
    with (
        Publisher(settings) as publisher,
        Run(name, params, publisher=publisher, id=run, rank=rank, world_size=world) as logged,
    ):
        yield logged


def play(main: Callable[[Show], str], versions: tuple[str, ...] = (), **sizes: tuple[int, int] | str) -> NoReturn:
    """Run `main` with the options of the command line and end this process with its exit status.

    `sizes` are options: a pair of numbers (full size, quick size), or a text with its default. `versions` names the
    packages that the result depends on.
    """
    asked = _asked(sys.modules[main.__module__].__doc__ or "", sizes)
    name, began_s = Path(sys.argv[0]).stem, time.monotonic()
    found = {package: version(package) for package in versions}
    with ExitStack() as stack:
        show = Show(
            _settings(stack),
            {
                size: getattr(asked, size) or pair[asked.quick]
                for size, pair in sizes.items()
                if isinstance(pair, tuple)
            },
            {size: getattr(asked, size) for size, text in sizes.items() if isinstance(text, str)},
            asked.quick,
        )
        stack.callback(show.close)
        try:
            result = main(show)
            show.settle()
        except CheckFailed as error:
            print(f"{name} failed: {error}", file=sys.stderr)
            sys.exit(1)
        seconds = time.monotonic() - began_s
    print(f"{name}: {result}")
    print(f"  {show.events:,} events, all of them in the log; {seconds:.1f} s")
    if asked.report:
        report = {"versions": found, "result": result, "events": show.events, "seconds": round(seconds, 1)}
        asked.report.write_text(json.dumps(report), encoding="utf-8")
    sys.exit(0)


def _asked(doc: str, sizes: Mapping[str, tuple[int, int] | str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small enough for a test")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the result there as JSON")
    for size, given in sizes.items():
        option = f"--{size.replace('_', '-')}"
        if isinstance(given, tuple):
            parser.add_argument(option, type=int, metavar="N", help=f"{given[0]:,}; with --quick {given[1]:,}")
        else:
            parser.add_argument(option, default=given, metavar="TEXT")
    return parser.parse_args()


def _settings(stack: ExitStack) -> Settings:
    """Those of the environment; without REDIS_URL on a server of this script's own."""
    if "REDIS_URL" in os.environ:
        return Settings.load()
    home = Path(stack.enter_context(TemporaryDirectory(prefix="headrace-gallery-", ignore_cleanup_errors=True)))
    server = stack.enter_context(EmbeddedServer())
    return Settings.load(redis_url=server.url, models=home / "models", spill=home / "spill")


async def _ends(settings: Settings) -> dict[tuple[str, int], Position]:
    """The newest position of each partition of the channels that exhibits recount."""
    async with Bus(settings) as bus:
        return {
            (channel, partition): (await bus.last(channel, partition))[1]
            for channel in CHANNELS
            for partition in bus.names.partitions_of(channel)
        }


def _after(position: Position) -> Position:
    return Position(position.ms, position.number + 1)


def _said(counts: Counts) -> str:
    return ", ".join(f"{number:,} {kind.__struct_config__.tag}" for kind, number in counts.items()) or "nothing"
