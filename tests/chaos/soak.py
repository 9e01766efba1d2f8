"""`python -m tests.chaos.soak`: minutes under a steady load, while nothing may grow: no process, no count of keys."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import click
import psutil

from tests.chaos.stage import Size, Stage, prepare_models

SAMPLE_S = 2.0
WARM, WARM_S = 0.3, 70.0
"""This part of the time, and no less of it, may grow: caches fill, retention has not removed anything yet, and the
longest-lived of the keys that come and go, the fences of single events, have not begun to expire."""
LEAST_MINUTES = 2.0
ROOM = 0.08
ROOM_BYTES = 6_000_000
PROBE_S = 6.0
SHARE = 0.8
CARRIED = 0.5
"""This part of the load must have been taken, on a machine whose speed changes: a pipeline that holds up its publishers
does not grow, either."""

KINDS = ("scorer", "scorer", "aggregator", "dashboard")


async def soak(minutes: float, folder: Path, models: Path, rate: int) -> list[str]:
    """What grew, or was lost; empty if nothing was."""
    settings: dict[str, Any] = {
        "retention_s": 20,
        "frames_s": 20,
        "bucket_ttl_s": 20,
        "join_ttl_s": 20,
        "resend_s": 2.0,
    }
    async with Stage(folder, models, 1, **settings) as stage:
        rate = rate or await _capacity(stage)
        click.echo(f"{minutes:g} minutes at {rate:,} requests a second", err=True)
        words = {"dashboard": ("--port", "0")}
        names = [f"{kind} {place}" for place, kind in enumerate(KINDS)]
        processes = [stage.start(kind, *words.get(kind, ())) for kind in KINDS]
        load = await stage.load(Size(0, 1, rate))
        watched = {name: psutil.Process(process.pid) for name, process in zip(names, processes, strict=True)}
        watched["publisher"] = psutil.Process(load.process.pid)
        watched["server"] = psutil.Process(stage.server.pid)
        samples: dict[str, list[float]] = {name: [] for name in [*watched, "keys"]}
        end = time.monotonic() + 60 * minutes
        while time.monotonic() < end:
            await asyncio.sleep(SAMPLE_S)
            for name, process in watched.items():
                samples[name].append(float(process.memory_info().rss))
            samples["keys"].append(float(await asyncio.to_thread(stage.admin, "DBSIZE")))
        told = await load.finish()
        found = []
        for name, values in samples.items():
            early, late = _ends(values)
            room = 4 if name == "keys" else ROOM_BYTES
            shown = f"{early:,.0f} -> {late:,.0f}" if name == "keys" else f"{early / 1e6:.1f} -> {late / 1e6:.1f} MB"
            click.echo(f"  {name:<14}{shown}")
            if late > early * (1 + ROOM) + room:
                found.append(f"{name} grew: {shown}")
        carried = told["accepted"] / (60 * minutes)
        click.echo(f"  accepted      {carried:,.0f} requests a second")
        if carried < CARRIED * rate:
            found.append(f"of {rate:,} requests a second {carried:,.0f} were accepted")
        if told["waiting"] or told["lost"]:
            found.append(f"the publisher could not deliver: {told}")
        books = await stage.books()
        click.echo(books.text())
        return found + ([] if books.balanced else ["the books do not balance"])


def _ends(values: list[float]) -> tuple[float, float]:
    """The medians of the first and of the last fifth, after the warm part."""
    steady = values[max(int(len(values) * WARM), int(WARM_S / SAMPLE_S)) :]
    part = max(1, len(steady) // 5)
    return median(steady[:part]), median(steady[-part:])


async def _capacity(stage: Stage) -> int:
    """80 % of what two scorers do for a publisher that is never slower than they, on this machine, now."""
    load, workers = await stage.begin(Size(0, 1, 100_000))
    before = await stage.decided()
    await asyncio.sleep(PROBE_S)
    rate = (await stage.decided() - before) / PROBE_S
    await load.finish()
    await stage.until(stage.all_decided, "the backlog to be decided", 120)
    for worker in workers:
        await stage.end_well(worker)
    return max(100, int(SHARE * rate))


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--minutes", type=click.FloatRange(LEAST_MINUTES), default=10.0, show_default=True)
@click.option("--rate", default=0, help="Requests a second; 0 measures what 80 % of the capacity is.")
def main(minutes: float, rate: int) -> None:
    """Run a pipeline under a steady load, and say what grew."""
    with tempfile.TemporaryDirectory(prefix="headrace-soak-") as base:
        models = prepare_models(Path(base) / "models")
        found = asyncio.run(soak(minutes, Path(base) / "stage", models, rate))
    for line in found:
        click.echo(f"! {line}", err=True)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
