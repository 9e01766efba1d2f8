"""The top of the command line: finds commands without loading the others, and turns every error into one clear line.

Exit status: 0 done, 1 an error or a bad result, 2 wrong arguments, 130 interrupted.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import click

from headrace.cli.orphan import end_with_parent
from headrace.errors import HeadraceError

DEBUG = "HEADRACE_DEBUG"
INTERRUPTED = 130


class Suggesting(click.Group):
    """A group that says what was meant by a word that is no command."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        word = args[0]
        if self.get_command(ctx, word) is None and not word.startswith("-") and not ctx.resilient_parsing:
            near = get_close_matches(word, self.list_commands(ctx), n=2, cutoff=0.5)
            meant = f" Did you mean {' or '.join(near)}?" if near else ""
            ctx.fail(f"there is no command {word!r}.{meant}")
        return super().resolve_command(ctx, args)


class Root(Suggesting):
    """The commands in sections: name and one line of help each; `headrace.cli.NAME` holds the command."""

    def __init__(self, sections: Mapping[str, Mapping[str, str]], **attributes: Any) -> None:
        super().__init__(**attributes)
        self.sections = sections

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for section in self.sections.values() for name in section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = import_module(f"headrace.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, section in self.sections.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(10), text) for name, text in section.items()])

    def invoke(self, ctx: click.Context) -> Any:
        end_with_parent()
        with errors_in_one_line():
            return super().invoke(ctx)


class Trouble(click.ClickException):
    """An error as people see it: on one line, with what to do."""

    def show(self, file: Any = None) -> None:
        click.echo(f"headrace: {self.message}", err=True)


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Show errors without a stack trace, unless HEADRACE_DEBUG is set."""
    try:
        yield
    except KeyboardInterrupt:
        raise click.exceptions.Exit(INTERRUPTED) from None
    except (click.ClickException, click.exceptions.Exit, click.Abort):
        raise
    except Exception as error:
        if os.environ.get(DEBUG) or (isinstance(error, OSError) and error.errno == errno.EPIPE):
            raise
        raise Trouble(_described(error)) from error


def _described(error: Exception) -> str:
    if isinstance(error, HeadraceError):
        return str(error)
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return f"unexpected {type(error).__name__}: {error}. {DEBUG}=1 shows where it happened"


def require(what: str, name: str, *modules: str) -> None:
    """Say which extra is missing, before anything is started: the quick form of `extra`."""
    for module in modules:
        if find_spec(module) is None:
            raise Trouble(_missing(what, name, module))


@contextmanager
def extra(what: str, name: str) -> Iterator[None]:
    """Around imports that need an extra: says which one if it is not installed. `what` is who needs it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "headrace":
            raise
        raise Trouble(_missing(what, name, error.name)) from error


def _missing(what: str, name: str, module: str) -> str:
    return f"{what} needs `pip install 'headrace[{name}]'` (there is no {module})"
