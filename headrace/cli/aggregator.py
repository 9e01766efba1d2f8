"""`headrace aggregator`: one process that folds events and publishes the frame."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import click

from headrace.cli.options import everything, named, waiting
from headrace.cli.root import extra

if TYPE_CHECKING:
    from headrace.cli.process import Process
    from headrace.settings import Settings


@click.command()
@click.option("--burst", is_flag=True, help="Fold what is there, publish one frame, then end.")
@click.option("--metrics-host", default="127.0.0.1", show_default=True, help="Address for /metrics.")
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Serve /metrics for Prometheus here; without it nowhere.",
)
@click.option("--open", "public", is_flag=True, help="Let anybody read /metrics who reaches it.")
@named
@waiting
@everything
def command(
    settings: Settings, burst: bool, metrics_host: str, metrics_port: int | None, public: bool, name: str, wait: bool
) -> None:
    """Fold what is published into statistics, curves and quality, and publish the frame 4 times a second.

    Any number may run; one leads, the others stand by.
    """
    from headrace.access import METRICS_LOCK, require_lock
    from headrace.cli.process import run

    if metrics_port is not None:
        require_lock("the aggregator's /metrics", metrics_host, locked=False, public=public, how=METRICS_LOCK)

    async def body(process: Process) -> None:
        async with AsyncExitStack() as stack:
            if metrics_port is not None:
                with extra("the aggregator", "subscriber"):
                    from headrace.cli.scrape import scraped

                    serving = scraped(process.bus, metrics_host, metrics_port)
                    process.say(f"metrics: {await stack.enter_async_context(serving)}")
            await _aggregate(process, burst)

    run("aggregator", settings, body, wait=wait, name=name)


async def _aggregate(process: Process, burst: bool) -> None:
    with extra("the aggregator", "subscriber"):
        from headrace.models.registry import Registry
        from headrace.subscriber.aggregation.aggregator import run_aggregator

    registry = Registry(process.settings.models)

    def champions() -> dict[str, int]:
        return {card.name: card.version for card in registry.champions()}

    process.ready(f"prefix {process.settings.prefix!r} on {process.settings.shown_url}")
    await run_aggregator(
        process.settings,
        process.bus,
        stop=process.stop,
        cards=registry.get,
        champions=champions,
        burst=burst,
        worker=process.worker,
    )
