"""`headrace dashboard`: one process that serves the page."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from headrace.cli.entry import Entry, entered
from headrace.cli.options import connection, waiting
from headrace.cli.root import extra, require

if TYPE_CHECKING:
    from headrace.cli.process import Process
    from headrace.settings import Settings


@click.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), metavar="PORT", default=8050, show_default=True, help="0 takes a free one."
)
@entered
@waiting
@connection
def command(settings: Settings, entry: Entry, port: int, wait: bool) -> None:
    """Serve the live page. Any number of browsers may watch.

    Passwords come from HEADRACE_OPERATOR_PASSWORD (look and act) and HEADRACE_VIEWER_PASSWORD (look). Without one the
    page listens on this machine alone, and everybody on it may look and act.
    """
    from headrace.access import passwords
    from headrace.cli.process import run

    require("the dashboard", "dashboard", "dash", "fastapi", "uvicorn")
    entry.check()
    given = passwords(os.environ)

    async def body(process: Process) -> None:
        with extra("the dashboard", "dashboard"):
            from headrace.dashboard import serve

        from headrace.cli.process import serving

        page = serve(
            settings,
            process.bus,
            entry.host,
            port,
            process.ready,
            hosts=entry.hosts,
            prefix=entry.prefix,
            passwords=given,
            public=entry.public,
        )
        await serving(process, page)

    run("dashboard", settings, body, wait=wait)
