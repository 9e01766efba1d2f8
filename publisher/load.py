"""The load of this machine and of a program with its children, read by psutil (`pip install 'headrace[watch]'`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress

import psutil

MB = 1_000_000


def reader(pid: int) -> Callable[[], Mapping[str, float]]:
    """Reads shares in percent (of the program: 100 is one core) and memory in MB, since the reading before."""
    program = psutil.Process(pid)
    psutil.cpu_percent()
    seen: dict[int, psutil.Process] = {}

    def read() -> Mapping[str, float]:
        family = [program]
        with suppress(psutil.Error):
            family += program.children(recursive=True)
        cpu, memory = 0.0, 0
        for process in family:
            known = seen.setdefault(process.pid, process)  # psutil measures from the reading before of the same object
            try:
                cpu += known.cpu_percent()
                memory += known.memory_info().rss
            except psutil.Error:
                continue
        return {
            "host cpu %": psutil.cpu_percent(),
            "host memory %": psutil.virtual_memory().percent,
            "program cpu %": cpu,
            "program MB": memory / MB,
        }

    return read
