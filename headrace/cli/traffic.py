"""`headrace traffic`: the demo's trainings and requests, as a process of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from headrace.cli.options import connection_and_models, waiting
from headrace.cli.root import extra, require
from headrace.words import counted

if TYPE_CHECKING:
    from headrace.cli.process import Process
    from headrace.settings import Settings

RATE = 100.0


@click.command()
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    metavar="N",
    default=RATE,
    show_default=True,
    help="Mean requests a second.",
)
@click.option("--duration", type=click.FloatRange(0, min_open=True), metavar="S", help="End after so many seconds.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed is another course of events.")
@waiting
@connection_and_models
def command(settings: Settings, rate: float, duration: float | None, seed: int, wait: bool) -> None:
    """Send real work: candidates for digits that train side by side, and held-out rows as prediction requests.

    The best candidate of a round goes into service. Labels follow seconds later; a rush hour comes now and then.
    """
    from headrace.cli.process import run

    require("the traffic", "subscriber", "numpy", "sklearn", "skops")

    async def body(process: Process) -> None:
        await _send(process, rate, duration, seed)

    run("traffic", settings, body, wait=wait)


async def _send(process: Process, rate: float, duration: float | None, seed: int) -> None:
    with extra("the traffic", "subscriber"):
        from headrace.publisher.traffic import run_traffic

    process.ready(f"{rate:g} requests a second")
    report = await run_traffic(
        process.settings, rate=rate, stop=process.stop, duration_s=duration, seed=seed, say=process.say
    )
    requests = report.requests + report.backfilled
    sent = f"{counted(requests, 'request')} and {counted(report.labels, 'label')}"
    process.say(f"sent {sent}, trained {counted(report.runs, 'run')}")
