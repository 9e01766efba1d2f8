"""Environments of the peers: one each, made from its lock when it is first needed."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import click

from benchmarks.stage import AbsentError

PEERS = Path(__file__).with_name("peers")
ENVIRONMENTS = PEERS / ".venvs"


def peers() -> list[str]:
    """Names of all peers."""
    return sorted(path.stem for path in PEERS.glob("[a-z]*.py"))


def python_of(peer: str, *, make: bool) -> Path:
    """The interpreter of a peer. Raises AbsentError if there is none for its lock, and none is to be made."""
    lock = PEERS / f"{peer}.lock"
    if not lock.is_file():
        raise AbsentError(f"{peer} was left out: `make lock` has not locked its packages yet")
    wanted = hashlib.sha256(lock.read_bytes()).hexdigest()
    folder = ENVIRONMENTS / peer
    python, stamp = folder / "bin" / "python", folder / ".stamp"
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    if not make:
        raise AbsentError(f"{peer} was left out: its environment is made by `make bench ARGS=peers/{peer}`")
    click.echo(f"making the environment of {peer}; this takes a minute, once", err=True)
    install = ("-m", "pip", "install", "-qq", "--disable-pip-version-check", "--require-hashes", "-r", str(lock))
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), *install], check=True)
    except subprocess.CalledProcessError as error:
        raise AbsentError(f"{peer} was left out: its environment cannot be made ({error})") from None
    stamp.write_text(wanted)
    return python
