"""`headrace acl`: users of the server by role, ready to be made."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import click

PLACEHOLDER = "PASSWORD"


@click.command()
@click.argument("roles", nargs=-1, metavar="[ROLE]...")
@click.option("--prefix", metavar="TEXT", help="First part of every key. [env: HEADRACE_PREFIX; default: headrace]")
@click.option("--channel", "channels", multiple=True, metavar="NAME", help="A channel of your own; may be repeated.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the lines to a new file that only you can read, with generated passwords.",
)
def command(roles: tuple[str, ...], prefix: str | None, channels: tuple[str, ...], out: Path | None) -> None:
    """Print `ACL SETUSER` lines with the rights that each ROLE needs: publisher, gateway, scorer, aggregator,
    dashboard, operator; all of them unless named.

    Without --out each password is the word PASSWORD, to be replaced. With --out passwords are generated, and nothing
    secret is printed: `valkey-cli < FILE` makes the users.
    """
    from headrace.acl import ROLES, line, user
    from headrace.channels import checked
    from headrace.errors import SettingsError
    from headrace.settings import Settings

    chosen = Settings.load(prefix=prefix).prefix
    for role in roles:
        if role not in ROLES:
            raise SettingsError(f"there is no role {role!r}; choose from {', '.join(ROLES)}")
    own = [checked(channel) for channel in channels]
    wanted = roles or tuple(ROLES)
    passwords = {role: PLACEHOLDER if out is None else secrets.token_urlsafe(24) for role in wanted}
    lines = [line(role, chosen, passwords[role], own) for role in wanted]
    if out is None:
        click.echo("\n".join(lines))
        return
    text = "".join(f"{made}\n" for made in lines)
    try:
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise SettingsError(f"{out} is there already: remove it, or choose another file") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    click.echo(f"{out}: {', '.join(user(role, chosen) for role in wanted)}. Make them by `valkey-cli < {out}`,")
    click.echo("then give each process REDIS_URL with its user and password, and turn the user `default` off.")
