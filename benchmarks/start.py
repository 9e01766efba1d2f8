"""How long it takes until `import headrace` is done and the command line answers, beside the bare interpreter."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.program import program
from benchmarks.samples import Result, spread, way
from benchmarks.stage import Stage

REFERENCE = "python, doing nothing"


@dataclass(frozen=True, slots=True)
class Size:
    """`rounds` processes of each kind; `whole` of those that need a server, or bring one."""

    rounds: int
    whole: int


FULL = Size(25, 5)
QUICK = Size(7, 1)
TINY = Size(1, 1)


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
    notes = [_until_ready(stage, size.whole), _until_live(size.whole)]
    return Result(
        "start",
        f"Wall time of whole processes, {size.rounds} of each kind, taking turns; {size.whole} of those below.",
        REFERENCE,
        [
            way(
                name,
                [{"ms": ms, "ms over python": ms - empty} for ms, empty in zip(found, bare, strict=True)],
                [{"ms": ms} for ms in bare],
            )
            for name, found in rounds.items()
        ],
        notes,
    )


def _until_ready(stage: Stage, times: int) -> str:
    took = []
    for _ in range(times):
        began = time.perf_counter()
        with program(stage.fresh(), "scorer", ready="scorer ready"):
            took.append(time.perf_counter() - began)
    return f"until a scorer with the digits model is ready: {_shown(took)}"


def _until_live(times: int) -> str:
    """Until the demo, which begins with nothing and brings its own server, has said that its page is live."""
    took = []
    words = ("demo", "--fresh", "--no-browser", "--port", "0", "--gateway-port", "0")
    for _ in range(times):
        with TemporaryDirectory(prefix="headrace-bench-") as folder:
            began = time.perf_counter()
            with program(None, *words, ready="page is live", HEADRACE_SPILL=folder, HEADRACE_MODELS=folder):
                took.append(time.perf_counter() - began)
    return f"until the page of `headrace demo --fresh` is live: {_shown(took)}"


def _shown(seconds: list[float]) -> str:
    found = spread(seconds)
    return f"{found.median:.1f} s ({found.low:.1f} - {found.high:.1f})"
