"""`headrace gallery`: programs that show scalable learning at work; they come with the source, not with the package.

An exhibit is a script whose docstring begins with its title and ends with lines that say what it needs:

    Needs: nothing more | NAME      the environment of requirements/NAME.txt
    Weight: light | heavy           under 20 seconds, or under 3 minutes, on two cores

`Needs: nothing more, NAME for all of it` is what an exhibit says that leaves out what it has no packages for.
"""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING

import click

from headrace.cli.root import require
from headrace.cli.up import MODULES, PAGE_PORT, READY_S, tell

if TYPE_CHECKING:
    import asyncio

    from headrace.settings import Settings

ENVIRONMENTS = ".gallery"
"""Where `make gallery` makes environments, in the root of the clone."""
NEEDS = re.compile(
    r"^Needs: (?:nothing more(?:, (?P<optional>\w+) for all of it)?|(?P<required>\w+))\n"
    r"Weight: (?P<weight>light|heavy)$",
    re.MULTILINE,
)
SIBLING = Path("examples", "gallery")
STOP_S = 10.0
"""How long an exhibit that was told to stop may take before it is killed."""


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One program of the gallery: what it shows, the packages beyond headrace's own, and how long it takes."""

    path: Path
    title: str
    environment: str
    heavy: bool
    optional: bool = False
    """Whether it can do without its environment, and then leaves something out."""

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def requirements(self) -> Path:
        """Names and versions of what it needs; without an environment there is no such file."""
        return self.path.parent / "requirements" / f"{self.environment}.in"

    def python(self) -> str | None:
        """The interpreter to run it with: a whole one, or this one if the exhibit can do without; None if neither."""
        return self.whole() or (sys.executable if self.optional else None)

    def whole(self) -> str | None:
        """The interpreter that has all of its packages: this one or that of its environment; None if neither."""
        if not self.environment or not _absent(self.requirements):
            return sys.executable
        own = self.path.parents[2] / ENVIRONMENTS / self.environment / "bin" / "python"
        return str(own) if own.exists() else None


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("name", required=False)
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "--folder", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Where the exhibits are."
)
@click.option("--port", type=click.IntRange(0, 65535), metavar="PORT", help="Port of the page.  [default: 8050]")
@click.option("--no-page", is_flag=True, help="Without a page; end when the exhibit ends.")
def command(name: str | None, args: Sequence[str], folder: Path | None, port: int | None, no_page: bool) -> None:
    """List programs that show scalable learning at work, or run one of them.

    With REDIS_URL an exhibit publishes there. Otherwise it gets a server and a page of its own, until Ctrl-C.
    Options that are not listed below go to the exhibit: --quick makes it small, `-- --help` says what else it takes.
    """
    from headrace.errors import SettingsError

    found = exhibits(_folder(folder))
    if name is None:
        _list(found)
        return
    exhibit = next((exhibit for exhibit in found if exhibit.name == name), None)
    if exhibit is None:
        raise SettingsError(
            f"the gallery has no exhibit {name!r}; there are {', '.join(exhibit.name for exhibit in found)}"
        )
    python = exhibit.python()
    if python is None:
        raise SettingsError(
            f"{name} needs {', '.join(_absent(exhibit.requirements))}: `make gallery ARGS={name}` makes an environment "
            f"with that, or install {exhibit.requirements.with_suffix('.txt')} into yours"
        )
    words = [python, str(exhibit.path), *args]
    if "REDIS_URL" in os.environ or {"-h", "--help"} & set(args):
        os.execv(python, words)
    if status := _alone(words) if no_page else _with_page(words, port):
        raise click.exceptions.Exit(status)


def exhibits(folder: Path) -> list[Exhibit]:
    """The exhibits in a folder, by name. Nothing is imported."""
    found = []
    for path in sorted(folder.glob("*.py")):
        doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        if said := NEEDS.search(doc):
            optional, required, weight = said.group("optional", "required", "weight")
            title = doc.partition("\n")[0]
            found.append(Exhibit(path, title, required or optional or "", weight == "heavy", bool(optional)))
    return found


def _folder(given: Path | None) -> Path:
    """The folder of the exhibits. Raises SettingsError that says how to get it."""
    from headrace.errors import SettingsError

    folder = given or Path(__file__).resolve().parents[2] / SIBLING
    if not (folder / "stage.py").is_file():
        raise SettingsError(
            f"the gallery is not in {folder}: it comes with the source of headrace, not with the installed package. "
            "Clone the repository and say `headrace gallery --folder CLONE/examples/gallery`"
        )
    return folder.resolve()


def _list(found: Sequence[Exhibit]) -> None:
    from headrace.cli.table import table

    rows = []
    for exhibit in found:
        lacks = "" if exhibit.whole() else " (to be made)"
        rows.append(
            [exhibit.name, "heavy" if exhibit.heavy else "light", f"{exhibit.environment or '-'}{lacks}", exhibit.title]
        )
    click.echo(table(["exhibit", "weight", "needs", "shows"], rows))


def _absent(requirements: Path) -> list[str]:
    """Which of the packages named in a file are not installed here."""
    absent = []
    for line in requirements.read_text(encoding="utf-8").splitlines():
        if found := re.match(r"[A-Za-z0-9._-]+", line):
            try:
                distribution(found[0])
            except PackageNotFoundError:
                absent.append(found[0])
    return absent


def _alone(words: Sequence[str]) -> int:
    """Run the exhibit on a server of its own: its exit status."""
    import subprocess

    from headrace.cli.up import environment

    with ExitStack() as stack:
        return subprocess.run(words, env=environment(_settings(stack)), check=False).returncode


def _settings(stack: ExitStack) -> Settings:
    """Those of a server that lives as long as `stack`, and of folders that go with it."""
    from tempfile import TemporaryDirectory

    from headrace.embedded import EmbeddedServer
    from headrace.settings import Settings

    home = Path(stack.enter_context(TemporaryDirectory(prefix="headrace-gallery-", ignore_cleanup_errors=True)))
    server = stack.enter_context(EmbeddedServer())
    return Settings.load(redis_url=server.url, models=home / "models", spill=home / "spill")


def _with_page(words: Sequence[str], port: int | None) -> int:
    """Run the exhibit on a server and a page of its own; its exit status, once somebody has seen enough."""
    import asyncio

    from headrace.cli.ports import choose

    require("the page of an exhibit (--no-page runs it without)", "all", *MODULES)
    page = choose("--port", port, PAGE_PORT, (), tell)
    with ExitStack() as stack:
        return asyncio.run(_show(_settings(stack), words, page))


async def _show(settings: Settings, words: Sequence[str], page: int) -> int:
    import asyncio

    from headrace.cli.crew import Crew
    from headrace.cli.entry import Entry as PageEntry
    from headrace.cli.page import open_browser, until_ready
    from headrace.cli.ports import HOST
    from headrace.cli.process import ending
    from headrace.cli.up import environment, start_page, waves

    stop = asyncio.Event()
    with ending(stop, tell, None):
        async with Crew(environment(settings), tell) as crew:
            start_page(crew, page, PageEntry(HOST, (), "", False))
            if await until_ready(page, stop, READY_S):
                url = f"http://{HOST}:{page}/"
                click.echo(f"watch it at {url}")
                open_browser(url)
            status = await _perform(words, environment(settings), stop)
            if not stop.is_set():
                tell("the page stays until Ctrl-C")
                await stop.wait()
            await crew.end(waves(crew))
            return status


async def _perform(words: Sequence[str], environ: dict[str, str], stop: asyncio.Event) -> int:
    """The exit status of the exhibit; one that is told to stop before its end counts as interrupted."""
    import asyncio

    from headrace.cli.root import INTERRUPTED

    if stop.is_set():
        return INTERRUPTED
    child = await asyncio.create_subprocess_exec(*words, env=environ, start_new_session=True)
    stopping = asyncio.create_task(stop.wait())
    ended = asyncio.create_task(child.wait())
    await asyncio.wait({stopping, ended}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not ended.done():
        child.terminate()
        await asyncio.wait({ended}, timeout=STOP_S)
        if not ended.done():
            child.kill()
            await ended
        return INTERRUPTED
    return ended.result()
