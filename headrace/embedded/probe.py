"""Two questions about sockets: does a server answer there, and which port is free."""

from __future__ import annotations

import random
import socket
from pathlib import Path

PROBE_TIMEOUT_S = 1.0

# Below the range that Linux and macOS give to outgoing connections. From that range, a client that reconnects while
# the server restarts could be given the server's own port, connect to itself, and keep the port from the server.
PORTS = range(20000, 30000)
PORT_TRIES = 100


def ask(address: Path | int, command: bytes) -> bytes:
    """The first bytes of the reply at a unix socket or loopback port; empty if nobody answers."""
    family = socket.AF_INET if isinstance(address, int) else socket.AF_UNIX
    try:
        with socket.socket(family) as client:
            client.settimeout(PROBE_TIMEOUT_S)
            client.connect(("127.0.0.1", address) if isinstance(address, int) else str(address))
            client.sendall(command + b"\r\n")
            return client.recv(128)
    except OSError:
        return b""


def free_port() -> int:
    """A loopback port that nobody listens on just now; somebody else may take it before it is used."""
    for port in random.sample(PORTS, PORT_TRIES):
        try:
            return _bound(port)
        except OSError:
            continue
    return _bound(0)


def _bound(port: int) -> int:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", port))
        return int(server.getsockname()[1])
