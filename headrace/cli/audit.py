"""`headrace audit`: the books, recounted from the logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from headrace.cli.options import connection

if TYPE_CHECKING:
    from headrace.settings import Settings


@click.command()
@connection
def command(settings: Settings) -> None:
    """Read every log again and compare: requests, their outcomes, and the statistics. Safe while the pipeline runs.

    Exit status 1 if anything is lost or doubled, or if a statistic differs from its recount.
    """
    from headrace.audit import audit
    from headrace.cli.ask import ask

    books = ask(settings, audit)
    click.echo(books.text())
    if not books.balanced:
        raise click.exceptions.Exit(1)
