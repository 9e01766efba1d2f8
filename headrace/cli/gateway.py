"""`headrace gateway`: one process that serves the HTTP interface."""

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
    "--port", type=click.IntRange(0, 65535), metavar="PORT", default=8080, show_default=True, help="0 takes a free one."
)
@waiting
@connection
def command(settings: Settings, host: str, port: int, wait: bool) -> None:
    """Serve HTTP for everybody who is not Python: publish events, ask for predictions and wait for them.

    /docs explains it. There is no login: open it to other machines behind a proxy that has one.
    """
    from headrace.cli.process import run

    require("the gateway", "gateway", "fastapi", "uvicorn")

    async def body(process: Process) -> None:
        with extra("the gateway", "gateway"):
            from headrace.publisher.gateway import serve

        from headrace.cli.process import serving

        await serving(process, serve(settings, process.bus, host, port, process.ready))

    run("gateway", settings, body, wait=wait)
