"""The embedded server: a real Valkey or Redis of our own, on loopback, that ends with the process that started it.

    with EmbeddedServer(EmbeddedSettings(data_dir=Path("data"))) as server:
        print(server.describe())
        connect(server.url)

- `find_server` decides which server to use: one that is running already (`REDIS_URL`), or a program to start.
- `EmbeddedServer` starts that program, waits until it answers, restarts and stops it.
- `guard.py`, a process between the two, owns the program: it ends it however its owner dies.

What was written survives `stop`, `restart` and `kill -9` of any of the three when a data directory is given.
Linux and macOS. Nothing here imports a Redis client.
"""

from __future__ import annotations

from headrace.embedded.find import Binary, Running, find_binary, find_server
from headrace.embedded.server import EmbeddedServer
from headrace.embedded.settings import EmbeddedSettings

__all__ = ["Binary", "EmbeddedServer", "EmbeddedSettings", "Running", "find_binary", "find_server"]
