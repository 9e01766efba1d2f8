"""Files that are whole or absent, numbers given once, and a lock that dies with its holder.

Readers need no lock: a file appears under its name only when all its bytes are on the disk.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headrace.errors import ModelError


def write(path: Path, content: bytes) -> None:
    """Put `content` at `path` so that a reader, or a power cut, finds the old bytes or the new and nothing between."""
    draft = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        _sync(path.parent)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise ModelError(
            f"cannot write {path}: {error.strerror or error}; check the folder's space and rights"
        ) from error


def numbers(folder: Path) -> list[int]:
    """Numbers given in `folder` so far, ascending; an absent folder has none."""
    try:
        return sorted(int(name) for name in os.listdir(folder) if name.isdecimal())
    except FileNotFoundError:
        return []


def claim(folder: Path) -> Path:
    """A new sub-folder named by the next number, given to exactly one caller however many processes ask at once."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            claimed = folder / str(max(numbers(folder), default=0) + 1)
            try:
                claimed.mkdir()
            except FileExistsError:
                continue
            _sync(folder)
            return claimed
    except OSError as error:
        raise ModelError(f"cannot write in {folder}: {error.strerror or error}; check its space and rights") from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`, alone among processes and threads; the kernel frees it if the holder dies."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ModelError(f"cannot lock {path}: {error.strerror or error}; check the folder's rights") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _sync(folder: Path) -> None:
    """A new name in `folder` survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
