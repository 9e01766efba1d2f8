"""A server on a disk that stalls: its fsync is slowed down by a preload, as far and as long as it is told to."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from headrace.embedded.find import Binary, find_binary

SOURCE = Path(__file__).with_name("slow.c")


class Disk:
    """The disk of one server. `binary` is the server on it; None where it cannot be made, for which `why` is why."""

    def __init__(self, folder: Path) -> None:
        self._said = folder / "fsync"
        self.binary: Binary | None = None
        self.why = ""
        compiler = shutil.which("gcc") or shutil.which("cc")
        if not sys.platform.startswith("linux") or compiler is None:
            self.why = "left out: it needs Linux and a C compiler"
            return
        folder.mkdir(parents=True, exist_ok=True)
        preload = folder / "slow.so"
        built = subprocess.run(
            [compiler, "-shared", "-fPIC", "-O1", "-o", str(preload), str(SOURCE)],
            capture_output=True,
            text=True,
            check=False,
        )
        if built.returncode:
            self.why = f"left out: the preload cannot be compiled: {built.stderr.strip()[:200]}"
            return
        found = find_binary()
        starter = folder / "server"
        words = f"LD_PRELOAD={shlex.quote(str(preload))} HEADRACE_SLOW={shlex.quote(str(self._said))}"
        starter.write_text(f'#!/bin/sh\n{words} exec {shlex.quote(str(found.path))} "$@"\n')
        os.chmod(starter, 0o700)
        self.binary = replace(found, path=starter)

    def stall(self, milliseconds: int) -> None:
        """Make every fsync take so much longer from now on."""
        self._said.write_text(str(milliseconds))

    @property
    def stalls(self) -> int:
        """How often an fsync was slow."""
        counted = self._said.with_name("fsync.count")
        return counted.stat().st_size if counted.exists() else 0
