"""How long it takes until `import headrace` is done and the command line answers, beside the bare interpreter."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.samples import Result, way
from benchmarks.stage import Stage

REFERENCE = "python, doing nothing"


@dataclass(frozen=True, slots=True)
class Size:
    """`rounds` processes of each kind."""

    rounds: int


FULL = Size(25)
QUICK = Size(7)
TINY = Size(1)


def run(stage: Stage, size: Size) -> Result:
    """Whole processes, one after the other, taking turns."""
    python = sys.executable
    commands = {
        REFERENCE: [python, "-c", "pass"],
        "import headrace": [python, "-c", "import headrace"],
        "from headrace.publisher import Run": [python, "-c", "from headrace.publisher import Run"],
        "headrace --help": [str(Path(python).with_name("headrace")), "--help"],
    }
    rounds: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(size.rounds + 1):
        for name, command in commands.items():
            began = time.perf_counter()
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
            if turn:  # the first time the files are read from the disk
                rounds[name].append(1000 * (time.perf_counter() - began))
    bare = rounds[REFERENCE]
    return Result(
        "start",
        f"Wall time of whole processes, {size.rounds} of each kind, taking turns.",
        REFERENCE,
        [
            way(
                name,
                [{"ms": ms, "ms over python": ms - empty} for ms, empty in zip(found, bare, strict=True)],
                [{"ms": ms} for ms in bare],
            )
            for name, found in rounds.items()
        ],
    )
