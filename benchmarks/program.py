"""Processes of headrace as users start them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.actor import ONE_THREAD, ROOT
from headrace.settings import Settings

END_S = 20.0


@dataclass(frozen=True, slots=True)
class Program:
    """A process that is ready; `url` is the first address it named."""

    pid: int
    url: str


@contextmanager
def program(settings: Settings | None, *words: str, ready: str, **more: str) -> Iterator[Program]:
    """`headrace WORDS`, from the line that holds `ready` on to its end by SIGTERM; `more` goes into its environment.

    Raises RuntimeError with what it said if it ends before.
    """
    environ = {**os.environ, **ONE_THREAD, **more}
    if settings is not None:
        environ |= {
            "REDIS_URL": settings.redis_url,
            "HEADRACE_PREFIX": settings.prefix,
            "HEADRACE_MODELS": str(settings.models),
        }
    process = subprocess.Popen(
        [sys.executable, "-m", "headrace", *words],
        cwd=ROOT,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    url, said = "", []
    try:
        for line in process.stdout:
            said.append(line)
            found = re.search(r"http://\S+", line)
            url = url or (found[0] if found else "")
            if ready in line:
                break
        else:
            raise RuntimeError(f"headrace {words[0]} ended with {process.wait()}: {''.join(said)}")
        # What it says from now on must not stop it.
        threading.Thread(target=process.stdout.read, daemon=True).start()
        yield Program(process.pid, url)
    finally:
        process.terminate()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
