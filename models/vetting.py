"""Nobody serves a file that has not first been opened and scored with in a confined child process.

`vet` starts `quarantine`, which has no credentials, little memory, little time and no way to write a large file.
Whatever goes wrong in there refuses the file and leaves this process as it was.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import IO

import msgspec
from msgspec import Struct

from headrace import errors
from headrace.errors import ModelError, RefusedModelError
from headrace.models.card import Form, Kind

REPORT_BYTES = 1 << 16
CHILD = (sys.executable, "-P", "-B", "-m", "headrace.models.quarantine")


class Limits(Struct, frozen=True, kw_only=True):
    """What a model file may cost before it is trusted: its size, and the child's memory, CPU and wall-clock time."""

    file_bytes: int = 256 << 20
    memory_bytes: int = 3 << 30
    cpu_s: int = 30
    wall_s: float = 60.0


class Verdict(Struct, frozen=True, kw_only=True, tag="verdict"):
    """What the child found in a file that it could open and score with; holds for these bytes and these libraries."""

    sha256: str
    algorithm: str
    kind: Kind
    n_features: int
    n_classes: int
    takes_missing: bool
    libraries: dict[str, str]
    form: Form = "skops"


class Refusal(Struct, frozen=True, tag="refusal"):
    """Why the child refused."""

    refused: str


@cache
def libraries() -> dict[str, str]:
    """Versions of what reads and runs a model file here; a library that is not installed is left out."""
    found = {"python": python_version()}
    for name in ("numpy", "scikit-learn", "skops", "onnxruntime"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def vet(content: bytes, limits: Limits | None = None, command: Sequence[str] = CHILD) -> Verdict:
    """The child's verdict on a model file; RefusedModelError if it refuses, crashes, or exceeds a limit.

    ModelError if no child can be started, which says nothing of the file. Blocks for about a second, most of it the
    child's import of scikit-learn. `command` is the child to start.
    """
    limits = limits or Limits()
    if len(content) > limits.file_bytes:
        raise RefusedModelError(f"the model file has {len(content):,} bytes; at most {limits.file_bytes:,} are taken")
    # The child inherits open files in place of pipes: it cannot fill this process's memory with its output, and what it
    # may write into them is bounded by its own file size limit.
    try:
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as noise:
            given.write(content)
            given.seek(0)
            code = _run(
                [*command, str(limits.memory_bytes), str(limits.cpu_s), str(REPORT_BYTES)],
                given,
                said,
                noise,
                limits.wall_s,
            )
            said.seek(0)
            noise.seek(0)
            report, complaint = said.read(REPORT_BYTES), noise.read(REPORT_BYTES)
    except OSError as error:
        raise ModelError(
            f"cannot start the process that opens model files first: {error}; is the machine out of memory or disk?"
        ) from error
    return _judge(content, code, report, complaint, limits)


def _run(command: list[str], given: IO[bytes], said: IO[bytes], noise: IO[bytes], wall_s: float) -> int | None:
    """The exit code, negative for a signal, or None if the child was still running after `wall_s` and was killed."""
    child = subprocess.Popen(
        command,
        stdin=given,
        stdout=said,
        stderr=noise,
        env=_environment(),
        cwd=tempfile.gettempdir(),
        start_new_session=True,
    )
    try:
        return child.wait(wall_s)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def _judge(content: bytes, code: int | None, said: bytes, noise: bytes, limits: Limits) -> Verdict:
    if code is None:
        raise RefusedModelError(f"the model file was not opened and scored with within {limits.wall_s:g} s")
    if code == -signal.SIGXCPU:
        raise RefusedModelError(f"the model file needs more than {limits.cpu_s} s of CPU time to open and score with")
    if code < 0:
        name = next((known.name for known in signal.Signals if known == -code), f"signal {-code}")
        raise RefusedModelError(f"the model file crashed the process that opened it: {name}")
    try:
        verdict = msgspec.json.decode(said, type=Verdict | Refusal)
    except msgspec.DecodeError:
        last = noise.decode(errors="replace").strip().rpartition("\n")[2][:300] or "no reason given"
        raise RefusedModelError(
            f"the process that opened the model file ended with exit code {code} and no verdict: {last}"
        ) from None
    if isinstance(verdict, Refusal):
        raise RefusedModelError(verdict.refused)
    if verdict.sha256 != hashlib.sha256(content).hexdigest():
        raise RefusedModelError("the process that opened the model file read other bytes than it was given")
    return verdict


def _environment() -> dict[str, str]:
    """Only what Python needs to find itself and this package: no credentials, no settings."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH") if name in os.environ}
    root = str(Path(errors.__file__).absolute().parents[1])
    paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(str(Path(path).absolute()) for path in paths),
        "PYTHONUTF8": "1",
        # Every BLAS thread reserves address space, which is limited.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
