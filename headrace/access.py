"""Who may come in, as far as page and gateway share it: secrets, and which addresses and host names are harmless.

A secret comes from the environment and from nowhere else: a command line shows in every list of processes. It is kept
as a digest, compared in constant time, and shows in no text that is made of it.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import re
import secrets
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from headrace.errors import SettingsError

Role = Literal["viewer", "operator"]
PASSWORDS: dict[Role, str] = {"operator": "HEADRACE_OPERATOR_PASSWORD", "viewer": "HEADRACE_VIEWER_PASSWORD"}
"""Who may sign in to the page, and the variable of each password: viewers look, operators also act."""
TOKEN = "HEADRACE_GATEWAY_TOKEN"
"""The variable of what callers of the gateway must send."""
WEBHOOK = "HEADRACE_ALERT_WEBHOOK"
"""The variable of the address that alerts are posted to; whoever knows it can post there."""
PAGE_LOCK = (
    "set HEADRACE_OPERATOR_PASSWORD (and HEADRACE_VIEWER_PASSWORD for those who only look), "
    "or say --open: anybody may look then, and nobody may act"
)
GATEWAY_LOCK = f"set {TOKEN}, or say --open: anybody may publish and ask then"
METRICS_LOCK = "scrape the page's /metrics, which asks for a password, or say --open: anybody may read them then"
"""What to do where other machines reach a page, gateway or metrics that have no lock."""
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+")
SHORTEST = 12
"""Characters that a secret must have: short ones are guessed, however slowly one may try."""
MADE_BYTES = 24
SCRYPT = {"n": 2**14, "r": 8, "p": 1}
"""About 50 ms and 16 MB for each guess at the secret behind a key (RFC 7914)."""


class Secret:
    """A password or token that can be compared and cannot be read. `variable` is where it came from."""

    __slots__ = ("_digest", "variable")

    def __init__(self, text: str, variable: str = "") -> None:
        self._digest = _digest(text)
        self.variable = variable

    def matches(self, given: str) -> bool:
        """Whether `given` is the secret; takes the same time wherever it differs, and however long it is."""
        return hmac.compare_digest(self._digest, _digest(given))

    def key(self, purpose: str) -> bytes:
        """32 bytes for signing, the same in every process that has this secret; slow to guess it from."""
        return hashlib.scrypt(self._digest, salt=purpose.encode(), dklen=32, **SCRYPT)

    def equals(self, other: Secret) -> bool:
        """Whether both are the same text."""
        return hmac.compare_digest(self._digest, other._digest)

    def __repr__(self) -> str:
        return f"Secret({self.variable!r})"

    def __reduce__(self) -> str:
        raise TypeError("a secret is not written anywhere")


def secret(environ: Mapping[str, str], variable: str) -> Secret | None:
    """The secret in `variable`, else in the file that `variable`_FILE names; None if neither is set.

    A file that is not there is made, with a secret of chance that only its owner can read. Raises SettingsError.
    """
    text, path = environ.get(variable, ""), environ.get(f"{variable}_FILE", "")
    if path and not text:
        text = _of_file(Path(path).expanduser(), f"{variable}_FILE")
    if not text:
        return None
    if len(text) < SHORTEST:
        raise SettingsError(
            f"{variable} has {len(text)} characters; it must have {SHORTEST} or more. "
            'One of chance: python3 -c "import secrets; print(secrets.token_urlsafe(24))"'
        )
    return Secret(text, variable)


def passwords(environ: Mapping[str, str]) -> dict[Role, Secret]:
    """The passwords of the page by role; empty if there are none. Raises SettingsError."""
    found = {role: given for role, variable in PASSWORDS.items() if (given := secret(environ, variable))}
    if len(found) == 2 and found["viewer"].equals(found["operator"]):
        raise SettingsError(f"{' and '.join(PASSWORDS.values())} are the same; whoever looks could then act")
    return found


def require_lock(what: str, host: str, *, locked: bool, public: bool, how: str) -> None:
    """Raise SettingsError if other machines would reach `what` and need nothing for it, and nobody asked for that."""
    if not (locked or public or is_loopback(host)):
        raise SettingsError(f"{what} would listen on {host}, where other machines reach it, without a lock: {how}")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches who listens on `host`. A name that must be looked up counts as reachable."""
    if _is_local_name(host.lower()):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def serves(host: str, allowed: Collection[str]) -> bool:
    """Whether a request whose `Host` header is `host` means this server: an address, localhost or a name allowed.

    A page of another site can have a name that resolves to this machine (DNS rebinding); it cannot have an address.
    """
    name = host_name(host)
    return name in allowed or _is_local_name(name) or _is_address(name)


def host_name(host: str) -> str:
    """The name in a `Host` header, without its port; empty if there is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def path_prefix(text: str) -> str:
    """The path under which a proxy serves the page, as `/headrace`; empty for none. Raises SettingsError."""
    path = text.rstrip("/")
    if path and not _PATH.fullmatch(path):
        raise SettingsError(
            f"--path-prefix {text!r} is no path: it must begin with / and hold letters, digits and .-_~, as /headrace"
        )
    return path


def same_place(origin: str, host: str) -> bool:
    """Whether a page of `origin` was loaded from the server that `host`, a `Host` header, names."""
    try:
        return bool(host) and urlsplit(origin).netloc == host
    except ValueError:
        return False


def bearer(header: str) -> str | None:
    """What an `Authorization` header says after `Bearer`; None if it says something else."""
    scheme, _, given = header.partition(" ")
    return given.strip() if scheme.lower() == "bearer" else None


def neighbourhood(address: str) -> str:
    """What is counted as one caller: an IPv4 address, or the /64 that one holder of IPv6 addresses has."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, 64), strict=False))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()


def _of_file(path: Path, variable: str) -> str:
    try:
        try:
            return path.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            made = secrets.token_urlsafe(MADE_BYTES)
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                return path.read_text(encoding="utf-8").strip()
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(f"{made}\n")
            return made
    except UnicodeDecodeError:
        raise SettingsError(f"{variable}={path}: the file is not text") from None
    except OSError as error:
        raise SettingsError(f"{variable}={path}: {error.strerror}") from None


def _is_local_name(name: str) -> bool:
    return name == "localhost" or name.endswith(".localhost")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
