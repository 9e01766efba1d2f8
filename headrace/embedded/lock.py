"""One server a data directory: a lock that is held exactly as long as some process can still write there.

The lock belongs to the open file, not to a process: guard and server inherit it, the owner closes its copy. So it ends
with the server, whoever else has died before, and children that the owner forks later do not prolong it.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headrace.errors import EmbeddedError

LOCK_NAME = "server.lock"
LOCK_POLL_S = 0.02
SIGNATURE_BYTES = 1000


@contextmanager
def locked(data_dir: Path, patience_s: float) -> Iterator[int]:
    """The descriptor of the lock file of an existing directory, locked until all copies of it are closed.

    Waits up to `patience_s` for a server that is just ending. Raises `EmbeddedError` that names the server in use, or
    says why the directory cannot be locked.
    """
    try:
        descriptor = os.open(data_dir / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise EmbeddedError(
            f"cannot write to the data directory {data_dir}: {error.strerror}. "
            "Choose another, or correct its permissions"
        ) from error
    try:
        _wait(descriptor, data_dir, time.monotonic() + patience_s)
        os.ftruncate(descriptor, 0)
        yield descriptor
    finally:
        os.close(descriptor)


def sign(descriptor: int, user: str) -> None:
    """Write into a lock file just locked who uses the directory, for the error that somebody else gets."""
    os.pwrite(descriptor, user.encode()[:SIGNATURE_BYTES], 0)


def _wait(descriptor: int, data_dir: Path, deadline: float) -> None:
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                user = os.pread(descriptor, SIGNATURE_BYTES, 0).decode(errors="replace")
                raise EmbeddedError(
                    f"the data directory {data_dir} is in use by {user or 'another server that is just starting'}. "
                    "Set REDIS_URL to use that server, stop it, or choose another data directory"
                ) from None
        except OSError as error:
            raise EmbeddedError(
                f"cannot lock the data directory {data_dir}: {error.strerror}. Choose one on a local disk"
            ) from error
        time.sleep(LOCK_POLL_S)
