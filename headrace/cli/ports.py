"""Ports for children, chosen before they start: a page that is restarted must come back at the same address."""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection

from headrace.errors import SettingsError

HOST = "127.0.0.1"
TRIES = 25


def choose(option: str, wanted: int | None, default: int, taken: Collection[int], say: Callable[[str], None]) -> int:
    """The port to use: the one wanted, a free one for 0, or without a wish the default or the next free one after it.

    Raises SettingsError that names `option` if the one wanted is in use.
    """
    if wanted == 0:
        from headrace.embedded.probe import free_port

        return next(port for port in iter(free_port, None) if port not in taken)
    if wanted is not None:
        if wanted in taken or not is_free(wanted):
            raise SettingsError(f"port {wanted} is in use; choose another with {option}, or 0 for a free one")
        return wanted
    for port in range(default, default + TRIES):
        if port not in taken and is_free(port):
            if port != default:
                say(f"port {default} is in use, so it is {port} ({option} chooses another)")
            return port
    raise SettingsError(f"ports {default} to {default + TRIES - 1} are in use; choose another with {option}")


def is_free(port: int) -> bool:
    """Whether nobody listens on this port of this machine just now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
