"""`headrace watch`: any program as a run."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from headrace.cli.options import connection

if TYPE_CHECKING:
    from headrace.settings import Settings

SEND_S = 15.0
"""How long the end waits for a server that has not failed yet to take the last events."""
FAILED_S = 1.0
"""And for one that has: the beginning and end of the run wait on disk for the next publisher."""


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND [ARGUMENT]...")
@click.option("--name", default="", metavar="NAME", help="Name of the run; the command's without it.")
@click.option(
    "--pattern",
    default="auto",
    show_default=True,
    metavar="NAME|REGEX",
    help="How metrics stand in its output: auto, vw, liblinear, sag, key-value, json, or a regular expression with "
    "named groups, such as 'loss (?P<loss>[0-9.]+)'.",
)
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="A parameter that the page shows.")
@connection
def command(settings: Settings, words: tuple[str, ...], name: str, pattern: str, params: tuple[str, ...]) -> None:
    """Run COMMAND as a live run: metrics from its output, the machine's load, and how it ended.

    Its output, its signals and its exit status stay as they are, whether there is a server or not.
    """
    from headrace.errors import BusError
    from headrace.publisher import Publisher, Run
    from headrace.publisher.lines import reader
    from headrace.publisher.watch import NOT_FOUND, NOT_STARTED, watch

    chosen = reader(pattern)
    given = dict(param.partition("=")[::2] for param in params)
    try:
        from headrace.publisher.load import reader as load
    except ModuleNotFoundError:
        load = None  # type: ignore[assignment]
        click.echo("headrace: the machine's load is not shown: that needs `pip install 'headrace[watch]'`", err=True)
    publisher = Publisher(settings, source="headrace watch")
    run = Run(
        name or os.path.basename(words[0]),
        {"command": " ".join(words), **given},
        publisher=publisher,
        rank=0,
        world_size=1,
    )
    try:
        status = watch(words, run, chosen, load=load)
    except OSError as error:
        click.echo(f"headrace: {words[0]}: {error.strerror}", err=True)
        status = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_STARTED
    until_s = time.monotonic() + SEND_S
    while publisher.waiting and publisher.sender.buffer.trouble is None and time.monotonic() < until_s:
        with suppress(BusError):
            publisher.flush(FAILED_S)
    try:
        publisher.close(FAILED_S)
    except BusError as error:
        click.echo(f"headrace: what became of the run was not sent: {error}", err=True)
    raise click.exceptions.Exit(status)
