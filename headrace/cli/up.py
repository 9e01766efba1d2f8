"""`headrace up`: every process of a pipeline against a server that is there, as one command."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from headrace.cli.entry import SIGN_IN, Entry, entered
from headrace.cli.options import everything
from headrace.cli.root import require

if TYPE_CHECKING:
    from headrace.cli.crew import Crew
    from headrace.settings import Settings

PAGE_PORT = 8050
GATEWAY_PORT = 8080
READY_S = 60.0
MODULES = ("numpy", "sklearn", "skops", "dash", "fastapi", "uvicorn")


@click.command()
@click.option("--scorers", type=click.IntRange(1), metavar="N", default=2, show_default=True, help="How many score.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Port of the page; 0 takes a free one.  [default: 8050]",
)
@click.option(
    "--gateway-port", type=click.IntRange(0, 65535), metavar="PORT", help="Port of the gateway.  [default: 8080]"
)
@entered
@everything
def command(settings: Settings, entry: Entry, scorers: int, port: int | None, gateway_port: int | None) -> None:
    """Run scorers, aggregator, dashboard and gateway against REDIS_URL until Ctrl-C.

    Each is a process of its own, started again if it dies. Publish from your code, by HTTP, or with `headrace publish`.
    --host and the like are for the page; the gateway listens on this machine alone.
    """
    import asyncio

    from headrace.cli.ports import choose

    require("`headrace up`", "all", *MODULES)
    locked = entry.check()
    page = choose("--port", port, PAGE_PORT, (), tell)
    gateway = choose("--gateway-port", gateway_port, GATEWAY_PORT, (page,), tell)
    asyncio.run(_run(settings, entry, locked, scorers, page, gateway))


async def _run(settings: Settings, entry: Entry, locked: bool, scorers: int, page: int, gateway: int) -> None:
    import asyncio

    from headrace.bus import Bus
    from headrace.cli.crew import Crew
    from headrace.cli.page import until_ready
    from headrace.cli.process import answering, ending

    stop = asyncio.Event()
    with ending(stop, tell, None):
        async with Bus(settings) as bus:
            if not await answering(bus, stop, tell):
                return
        async with Crew(environment(settings), tell) as crew:
            start_page(crew, page, entry)
            start_work(crew, scorers, gateway)
            if await until_ready(page, stop, READY_S, entry.near):
                click.echo(_banner(settings, entry.url(page), gateway, locked))
            elif not stop.is_set():
                tell(f"the page is not ready after {READY_S:g} s; the lines above say why. Going on")
            await stop.wait()
            tell("stopping")
            await crew.end(waves(crew))


def start_page(crew: Crew, port: int, entry: Entry) -> None:
    """Start what shows, first: it is useful before there is anything to show."""
    crew.start("dashboard", "dashboard", "--port", str(port), *entry.words())
    crew.start("aggregator", "aggregator")


def start_work(crew: Crew, scorers: int, gateway_port: int) -> None:
    """Start what scores and what asks."""
    for number in range(1, scorers + 1):
        crew.start(f"scorer-{number}", "scorer", "--name", f"scorer-{number}")
    crew.start("gateway", "gateway", "--port", str(gateway_port))


def waves(crew: Crew) -> list[list[str]]:
    """Who ends after whom: in the order in which events flow, so that nothing is left in the middle."""
    scorers = [name for name in crew.members if name.startswith("scorer-")]
    return [["traffic", "training"], ["gateway"], scorers, ["aggregator"], ["dashboard"]]


def environment(settings: Settings) -> dict[str, str]:
    """What children are told; by the environment, so that no password shows in a list of processes."""
    from headrace.cli.process import THREADS

    return {
        **dict.fromkeys(THREADS, "1"),
        **os.environ,
        "REDIS_URL": settings.redis_url,
        "HEADRACE_PREFIX": settings.prefix,
        "HEADRACE_MODELS": str(settings.models),
        "HEADRACE_SPILL": str(settings.spill),
        "HEADRACE_ALERT_WEBHOOK": settings.alert_webhook,
    }


def tell(text: str) -> None:
    """One line to standard error; whoever read it may be gone."""
    try:
        click.echo(text, err=True)
    except OSError:
        return


def _banner(settings: Settings, page: str, gateway: int, locked: bool) -> str:
    from headrace.models.registry import Registry

    served = ", ".join(f"{card.name}@{card.version}" for card in Registry(settings.models).champions())
    return "\n".join(
        [
            "",
            f"headrace is up on {settings.shown_url}, prefix {settings.prefix!r}: {page}",
            "",
            f"  In service  {served or 'nothing yet; see `headrace models --help`'}",
            f"  HTTP        http://127.0.0.1:{gateway}/docs",
            *([f"  Sign in     with {SIGN_IN}"] if locked else []),
            "  Stop        Ctrl-C",
            "",
        ]
    )
