"""`headrace server`: the embedded server in the foreground, for a machine that has none."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from headrace.embedded import EmbeddedServer

PORT = 6379
DATA = Path("~/.local/share/headrace/server")


@click.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), metavar="PORT", default=PORT, show_default=True, help="0 takes a free one."
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=DATA,
    show_default=True,
    metavar="DIR",
    help="Where the log of writes is kept.",
)
@click.option("--fresh", is_flag=True, help="Use a temporary directory, removed at the end.")
@click.option(
    "--appendfsync",
    type=click.Choice(["everysec", "always"]),
    default="everysec",
    show_default=True,
    help="`always`: on disk before it is answered.",
)
@click.option(
    "--memory-mb",
    type=click.IntRange(16),
    metavar="N",
    default=1024,
    show_default=True,
    help="It refuses beyond; it never evicts.",
)
def command(port: int, data_dir: Path, fresh: bool, appendfsync: str, memory_mb: int) -> None:
    """Run a server of our own on 127.0.0.1 until Ctrl-C. It ends with this process, even by kill -9."""
    import asyncio

    from headrace.cli.process import log_to_stderr
    from headrace.embedded import EmbeddedServer, EmbeddedSettings

    log_to_stderr()
    settings = EmbeddedSettings(
        data_dir=None if fresh else data_dir.expanduser(),
        port=port,
        maxmemory_bytes=memory_mb * 1024 * 1024,
        appendfsync="always" if appendfsync == "always" else "everysec",
    )
    with EmbeddedServer(settings) as server:
        say(server.describe())
        click.echo(f"export REDIS_URL={server.url}")
        asyncio.run(_serve(server))
    say("stopped; the data stay" if not fresh else "stopped")


async def _serve(server: EmbeddedServer) -> None:
    import asyncio

    from headrace.cli.host import keep
    from headrace.cli.process import ending

    stop = asyncio.Event()
    with ending(stop, say):
        await keep(server, stop, say)


def say(text: str) -> None:
    """Write one line to the log."""
    logging.getLogger("headrace.cli").info("server %s", text)
