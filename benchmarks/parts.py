"""What a run has finished, kept so that an interrupted one goes on where it was: one file a part, by size."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from pathlib import Path

import msgspec

from benchmarks.actor import ROOT
from benchmarks.samples import Result

FOLDER = Path(__file__).with_name(".parts")


class Part(msgspec.Struct):
    """One finished part, and what it ran on."""

    name: str
    machine: str
    versions: str
    commit: str
    seconds: float
    result: Result


def keep(size: str, part: Part) -> None:
    """Keep a part in place of an earlier one of its name."""
    path = _path(size, part.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.encode(part))


def kept(size: str, name: str, machine: str, versions: str) -> Part | None:
    """The part of this name, if there is one that ran on this machine and these versions."""
    with suppress(FileNotFoundError, msgspec.DecodeError):
        part = msgspec.json.decode(_path(size, name).read_bytes(), type=Part)
        if (part.machine, part.versions) == (machine, versions):
            return part
    return None


def commit() -> str:
    """The state of the code, as git names it; empty outside of a clone."""
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=10"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return found.stdout.strip()


def _path(size: str, name: str) -> Path:
    return FOLDER / size / f"{name.replace('/', '.')}.json"
