"""`headrace demo`: the whole pipeline with real work in it, on a server of its own."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from headrace.cli.entry import SIGN_IN, Entry, entered
from headrace.cli.options import alerting
from headrace.cli.root import require
from headrace.cli.traffic import RATE
from headrace.cli.up import GATEWAY_PORT, MODULES, PAGE_PORT, READY_S, tell
from headrace.words import counted

if TYPE_CHECKING:
    import asyncio

    from headrace.cli.crew import Crew
    from headrace.embedded import EmbeddedServer
    from headrace.settings import Settings

DATA = Path("~/.local/share/headrace/demo")
SCORERS = 2
DRAIN_S = 60.0
"""How long what is queued may take to be scored once the traffic has ended."""
CLOSED_S = 2.5
"""After so long the last second of statistics is closed, and can be compared with its recount."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What was asked for, with everything open decided."""

    settings: Settings
    server: EmbeddedServer | None
    entry: Entry
    locked: bool
    page: int
    gateway: int
    rate: float
    duration_s: float | None
    browser: bool
    data: str


@click.command()
@click.option(
    "--duration", type=click.FloatRange(0, min_open=True), metavar="S", help="End after S seconds, with an audit."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Port of the page; 0 takes a free one.  [default: 8050]",
)
@click.option(
    "--gateway-port", type=click.IntRange(0, 65535), metavar="PORT", help="Port of the gateway.  [default: 8080]"
)
@click.option("--no-browser", is_flag=True, help="Do not open a browser.")
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    metavar="N",
    default=RATE,
    show_default=True,
    help="Mean requests a second.",
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=DATA,
    show_default=True,
    metavar="DIR",
    help="Where the server's log and the models are kept.",
)
@entered
@alerting
@click.option("--fresh", is_flag=True, help="Begin with nothing, and keep nothing.")
def command(
    entry: Entry,
    duration: float | None,
    port: int | None,
    gateway_port: int | None,
    no_browser: bool,
    rate: float,
    data_dir: Path,
    alert_webhook: str | None,
    fresh: bool,
) -> None:
    """Watch real scikit-learn models train and real requests being scored, live in the browser.

    Runs on a server of its own, or on REDIS_URL if that is set and answers. Ctrl-C ends it. With --duration the books
    are audited at the end, and the exit status is 1 unless they balance.
    """
    import asyncio

    from headrace.cli.ports import choose

    require("the demo", "all", *MODULES)
    locked = entry.check()
    page = choose("--port", port, PAGE_PORT, (), tell)
    gateway = choose("--gateway-port", gateway_port, GATEWAY_PORT, (page,), tell)
    with ExitStack() as stack:
        home = _home(stack, data_dir, fresh)
        settings, server = _server(stack, home, fresh, alert_webhook)
        data = "temporary" if fresh else f"{home} (kept; --fresh begins with nothing)"
        if server is None:
            data = f"events on that server; models in {settings.models}"
        plan = Plan(settings, server, entry, locked, page, gateway, rate, duration, not no_browser, data)
        if not asyncio.run(_run(plan)):
            raise click.exceptions.Exit(1)


def _home(stack: ExitStack, data_dir: Path, fresh: bool) -> Path:
    if not fresh:
        return data_dir.expanduser().resolve()
    from tempfile import TemporaryDirectory

    return Path(stack.enter_context(TemporaryDirectory(prefix="headrace-demo-", ignore_cleanup_errors=True)))


def _server(
    stack: ExitStack, home: Path, fresh: bool, alert_webhook: str | None
) -> tuple[Settings, EmbeddedServer | None]:
    """The settings of all processes, and the server if it is our own."""
    from headrace.cli.ask import check
    from headrace.embedded import EmbeddedServer, EmbeddedSettings
    from headrace.errors import UnavailableError
    from headrace.events import new_id
    from headrace.settings import Settings

    given = set(os.environ)
    settings = Settings.load(
        models=None if "HEADRACE_MODELS" in given else home / "models",
        spill=None if "HEADRACE_SPILL" in given else home / "spill",
        alert_webhook=alert_webhook,
    )
    if "REDIS_URL" in given:
        prefix = settings.prefix if "HEADRACE_PREFIX" in given else f"demo-{new_id()[:6]}" if fresh else "demo"
        try:
            check(settings)
        except UnavailableError as error:
            tell(f"REDIS_URL is set, but {error.url} does not answer; using a server of its own instead")
        else:
            tell(f"using the server at {settings.shown_url} (REDIS_URL), prefix {prefix!r}")
            return settings.with_(prefix=prefix), None
    server = stack.enter_context(EmbeddedServer(EmbeddedSettings(data_dir=None if fresh else home / "server")))
    tell(f"using {server.describe()}")
    return settings.with_(redis_url=server.url), server


async def _run(plan: Plan) -> bool:
    """Run the demo to its end; False if its books do not balance."""
    import asyncio

    from headrace.cli.crew import Crew
    from headrace.cli.host import keep
    from headrace.cli.process import ending
    from headrace.cli.up import environment, waves

    stop, closed = asyncio.Event(), asyncio.Event()
    with ending(stop, tell, None):
        keeping = asyncio.create_task(keep(plan.server, closed, tell)) if plan.server else None
        try:
            async with Crew(environment(plan.settings), tell) as crew:
                balanced = await _play(plan, crew, stop)
                tell("stopping")
                await crew.end(waves(crew))
                return balanced
        finally:
            closed.set()
            if keeping:
                await keeping


async def _play(plan: Plan, crew: Crew, stop: asyncio.Event) -> bool:
    import asyncio

    from headrace.cli.process import within
    from headrace.cli.up import start_page, start_work

    start_page(crew, plan.page, plan.entry)
    showing = asyncio.create_task(_show(plan, stop), name="show the page")
    await _train(plan, crew, stop)
    if not stop.is_set():
        start_work(crew, SCORERS, plan.gateway)
        crew.start("traffic", "traffic", "--rate", f"{plan.rate:g}")
    await showing
    if plan.duration_s is None:
        await stop.wait()
    elif not await within(stop, plan.duration_s):
        return await _settle(plan, crew, stop)
    return True


async def _show(plan: Plan, stop: asyncio.Event) -> None:
    """Say where the page is once it is live, and open a browser."""
    import time

    from headrace.cli.page import open_browser, until_ready

    began_s = time.monotonic()
    if await until_ready(plan.page, stop, READY_S, plan.entry.near):
        tell(f"the page is live after {time.monotonic() - began_s:.1f} s")
    elif not stop.is_set():
        tell(f"the page is not ready after {READY_S:g} s; the lines above say why. Going on")
    if stop.is_set():
        return
    click.echo(_banner(plan))
    if plan.browser:
        open_browser(plan.entry.url(plan.page))


async def _train(plan: Plan, crew: Crew, stop: asyncio.Event) -> None:
    """Train the shipped models that are missing. Raises ModelError if that fails."""
    import asyncio

    from headrace.cli.models import SHIPPED
    from headrace.errors import ModelError
    from headrace.models.registry import Registry

    served = {card.name for card in Registry(plan.settings.models).champions()}
    if served.issuperset(SHIPPED):
        return
    tell("training the shipped models; this takes some seconds, once")
    training = crew.start("training", "models", "train", "--missing", once=True)
    stopping = asyncio.create_task(stop.wait())
    finished = asyncio.create_task(crew.finished(training))
    await asyncio.wait({stopping, finished}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if finished.done() and finished.result() != 0:
        raise ModelError("the shipped models could not be trained; the lines above say why")
    finished.cancel()


async def _settle(plan: Plan, crew: Crew, stop: asyncio.Event) -> bool:
    """End the traffic, let everything be scored, recount the logs and print the books."""
    from headrace.audit import audit
    from headrace.bus import Bus
    from headrace.cli.drain import depth, drained
    from headrace.cli.process import within

    tell("the time is over: the traffic ends, what is queued is scored, then the logs are recounted")
    await crew.end([["traffic"]])
    async with Bus(plan.settings) as bus:
        everything = await drained(bus, stop, DRAIN_S)
        if stop.is_set():
            return True
        if not everything:
            left = await depth(bus)
            still = f"{counted(left, 'entry', 'entries')} {'is' if left == 1 else 'are'}"
            tell(f"{still} still not decided after {DRAIN_S:g} s")
        await within(stop, CLOSED_S)
        books = await audit(bus)
    click.echo(f"audit, recounted from the logs:\n{books.text()}")
    return everything and books.balanced and not books.waiting


def _banner(plan: Plan) -> str:
    settings = plan.settings
    where = f"REDIS_URL={settings.redis_url} " if plan.server else ""
    until = f"after {plan.duration_s:g} s, or Ctrl-C" if plan.duration_s else "Ctrl-C"
    return "\n".join(
        [
            "",
            f"headrace demo: {plan.entry.url(plan.page)}",
            "",
            "  Watch four digits models train side by side, again and again; the best one goes into service",
            f"  Watch about {plan.rate:g} requests a second; in a rush hour a queue builds up and drains",
            "  Watch accuracy and confusion matrix grow as the labels follow, seconds after the predictions",
            "  Try   kill -9 a scorer (`ps` or the page tells its pid): it comes back, and nothing is lost",
            "",
            *([f"  Enter with {SIGN_IN}"] if plan.locked else []),
            f"  HTTP  http://127.0.0.1:{plan.gateway}/docs",
            f"  CLI   export {where}HEADRACE_PREFIX={settings.prefix} HEADRACE_MODELS={settings.models}",
            "        headrace status; headrace tail results; headrace models ls",
            f"  Data  {plan.data}",
            f"  Stop  {until}",
            "",
        ]
    )
