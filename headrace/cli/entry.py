"""How the page is reached and by whom: the options that dashboard, up and demo share."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

import click

from headrace.cli.ports import HOST

F = TypeVar("F", bound=Callable[..., Any])

SIGN_IN = "the password in HEADRACE_OPERATOR_PASSWORD or HEADRACE_VIEWER_PASSWORD"
_EVERYWHERE = {"0.0.0.0": HOST, "::": "::1"}


@dataclass(frozen=True, slots=True)
class Entry:
    """Where the page listens, under which names and path it is reached, and whether anybody may look."""

    host: str
    hosts: tuple[str, ...]
    prefix: str
    public: bool

    def check(self) -> bool:
        """Whether there are passwords. Raises SettingsError if they are no good, or missing and others reach the page.

        Called before anything is started: a process that cannot start would only be started again.
        """
        from headrace.access import PAGE_LOCK, passwords, path_prefix, require_lock

        path_prefix(self.prefix)
        locked = bool(passwords(os.environ))
        require_lock("the dashboard", self.host, locked=locked, public=self.public, how=PAGE_LOCK)
        return locked

    def words(self) -> list[str]:
        """The same as words of a command line. No password is among them: those are in the environment."""
        words = ["--host", self.host]
        for name in self.hosts:
            words += ["--allow-host", name]
        if self.prefix:
            words += ["--path-prefix", self.prefix]
        return [*words, "--open"] if self.public else words

    @property
    def near(self) -> str:
        """The address at which a program on this machine finds the page."""
        return _EVERYWHERE.get(self.host, self.host)

    def url(self, port: int) -> str:
        """Where a browser on this machine finds the page."""
        near = f"[{self.near}]" if ":" in self.near else self.near
        return f"http://{near}:{port}{self.prefix.rstrip('/')}/"


def entered(function: F) -> F:
    """--host, --allow-host, --path-prefix and --open of the page; the command gets `entry`."""

    @wraps(function)
    def with_entry(host: str, hosts: tuple[str, ...], path_prefix: str, public: bool, **arguments: Any) -> Any:
        return function(entry=Entry(host, hosts, path_prefix, public), **arguments)

    decorated: Any = with_entry
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


_OPTIONS = (
    click.option(
        "--host",
        default=HOST,
        show_default=True,
        metavar="ADDRESS",
        help="Address the page listens on; any but this machine's own needs a password or --open.",
    ),
    click.option(
        "--allow-host", "hosts", multiple=True, metavar="NAME", help="A name under which the page is reached."
    ),
    click.option(
        "--path-prefix",
        default="",
        metavar="PATH",
        help="Path under which a proxy serves the page, such as /headrace.",
    ),
    click.option("--open", "public", is_flag=True, help="Let anybody look; only who signs in as operator may act."),
)
