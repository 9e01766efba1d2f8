"""`headrace gateway`: one process that serves the HTTP interface."""

from __future__ import annotations

import os
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
@click.option("--allow-host", "hosts", multiple=True, metavar="NAME", help="A name under which it is reached.")
@click.option("--open", "public", is_flag=True, help="Let anybody publish and ask who reaches it, without a token.")
@click.option(
    "--rate",
    type=click.FloatRange(0),
    metavar="N",
    default=2000.0,
    show_default=True,
    help="Requests a second of one address; 0 sets no bound.",
)
@waiting
@connection
def command(
    settings: Settings, host: str, port: int, hosts: tuple[str, ...], public: bool, rate: float, wait: bool
) -> None:
    """Serve HTTP for everybody who is not Python: publish events, ask for predictions and wait for them.

    /docs explains it. With HEADRACE_GATEWAY_TOKEN set, callers send it as `Authorization: Bearer`; without, the gateway
    listens on this machine alone.
    """
    from headrace.access import GATEWAY_LOCK, TOKEN, require_lock, secret
    from headrace.cli.process import run

    require("the gateway", "gateway", "fastapi", "uvicorn")
    token = secret(os.environ, TOKEN)
    require_lock("the gateway", host, locked=token is not None, public=public, how=GATEWAY_LOCK)

    async def body(process: Process) -> None:
        with extra("the gateway", "gateway"):
            from headrace.publisher.gateway import serve

        from headrace.cli.process import serving

        http = serve(
            settings, process.bus, host, port, process.ready, token=token, public=public, hosts=hosts, rate=rate
        )
        await serving(process, http)

    run("gateway", settings, body, wait=wait)
