"""`headrace dashboard`: one process that serves the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from headrace.cli.options import connection, waiting
from headrace.cli.root import extra, require

if TYPE_CHECKING:
    from headrace.cli.process import Process
    from headrace.settings import Settings


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), metavar="PORT", default=8050, show_default=True, help="0 takes a free one."
)
@click.option("--allow-host", "hosts", multiple=True, metavar="NAME", help="A name under which it is reached.")
@waiting
@connection
def command(settings: Settings, host: str, port: int, hosts: tuple[str, ...], wait: bool) -> None:
    """Serve the live page. Any number of browsers may watch.

    There is no login: open it to other machines behind a proxy that has one.
    """
    from headrace.cli.process import run

    require("the dashboard", "dashboard", "dash", "fastapi", "uvicorn")

    async def body(process: Process) -> None:
        with extra("the dashboard", "dashboard"):
            from headrace.dashboard import serve

        from headrace.cli.process import serving

        await serving(process, serve(settings, process.bus, host, port, process.ready, hosts=hosts))

    run("dashboard", settings, body, wait=wait)
