"""`headrace doctor`: what is wrong, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from headrace.cli.options import connection_and_models

if TYPE_CHECKING:
    from headrace.doctor import Facts
    from headrace.settings import Settings

MARKS = {"critical": "!!", "warning": " !", "note": " -", "good": "ok"}


@click.command()
@connection_and_models
@click.option("--json", "as_json", is_flag=True, help="Print the findings as one JSON object.")
def command(settings: Settings, as_json: bool) -> None:
    """Examine the server, its groups, this machine and these settings. Changes nothing, and shows no password.

    Exit status 1 if something critical was found, or a warning.
    """
    import asyncio

    import msgspec

    from headrace.doctor import examine, healthy

    findings = examine(asyncio.run(_facts(settings)))
    well = healthy(findings)
    if as_json:
        click.echo(msgspec.json.encode({"server": settings.shown_url, "healthy": well, "findings": findings}))
    else:
        click.echo(f"{settings.shown_url}, prefix {settings.prefix!r}")
        for finding in findings:
            click.echo(f"{MARKS[finding.severity]} {finding.name}: {finding.text}")
            if finding.fix:
                click.echo(f"     {finding.fix}")
    if not well:
        raise click.exceptions.Exit(1)


async def _facts(settings: Settings) -> Facts:
    from headrace.bus import Bus
    from headrace.doctor import look

    async with Bus(settings) as bus:
        return await look(bus)
