"""Publish without headrace and without a Redis library: one command over a socket. So can any language.

A running aggregator takes the events into the log: at most once until then, never twice.
"""

from __future__ import annotations

import json
import os
import socket
import uuid
from urllib.parse import urlsplit


def command(connection: socket.socket, *words: str) -> bytes:
    """Send one command in the Redis protocol and return the first line of the answer."""
    parts = [word.encode() for word in words]
    connection.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))
    return connection.makefile("rb").readline().strip()


def main() -> None:
    server = urlsplit(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379"))
    channel = os.environ.get("HEADRACE_PREFIX", "headrace") + ":in:runs"
    run = f"plain-{uuid.uuid4()}"
    events: list[dict[str, object]] = [{"type": "run.started", "run": run, "name": "plain"}]
    events += [{"type": "run.metrics", "run": run, "step": n, "metrics": {"loss": 1 / n}} for n in range(1, 11)]
    events += [{"type": "run.finished", "run": run}]
    with socket.create_connection((server.hostname or "127.0.0.1", server.port or 6379), timeout=5) as connection:
        if server.password:
            print(command(connection, "AUTH", *filter(None, [server.username]), server.password).decode())
        for event in events:
            heard = command(connection, "PUBLISH", channel, json.dumps({"id": str(uuid.uuid4()), **event}))
            if heard == b":0":
                raise SystemExit("no aggregator is listening, so nothing was taken: start `headrace aggregator`")
    print(f"sent {len(events)} events of {run}")


main()
