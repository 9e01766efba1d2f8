"""Everything that can be set, once a process: built from the environment and flags, then passed down as an argument.

Nothing else in headrace reads the environment, but the search for a server to embed. Each field names its variable:
`depth_limit` is `HEADRACE_DEPTH_LIMIT`. The two exceptions are names that everybody knows: `REDIS_URL`, and
`HEADRACE_MODELS` for the folder of model files.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from headrace.errors import SettingsError

Codec = Literal["msgpack", "json"]
Overflow = Literal["block", "raise", "drop"]
Driver = Literal["redis", "asyncio-redis"]

EVENT_LIMIT_BYTES = 4 * 1024 * 1024
REASON_CHARS = 2_000
"""So much of a reason is written: it may quote what was sent, at several times its size."""
_ACCEPTED: dict[str, tuple[str, ...]] = {
    "codec": ("msgpack", "json"),
    "overflow": ("block", "raise", "drop"),
    "live_driver": ("redis", "asyncio-redis"),
}
_NAMES = {"redis_url": "REDIS_URL", "models": "HEADRACE_MODELS"}


def _default_models() -> Path:
    return Path("~/.local/share/headrace/models").expanduser()


def _default_spill() -> Path:
    return Path("~/.local/share/headrace/spill").expanduser()


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """The settings of one process; `Settings.load()` reads the environment, `with_` changes fields.

    Raises `SettingsError` that names the variable and what it accepts.
    """

    redis_url: str = "redis://127.0.0.1:6379/0"
    prefix: str = "headrace"
    """First part of every key and live channel; pub/sub ignores database numbers, so this separates environments."""
    partitions: int = 1
    """Partitions of the channels requests, results and labels; all processes of one prefix must agree."""
    codec: Codec = "msgpack"
    cluster: bool = False
    """Redis Cluster: listeners may sit on another node, so a push that nobody here hears is still sent."""
    live_driver: Driver = "redis"

    event_limit_bytes: int = EVENT_LIMIT_BYTES
    """Largest accepted event; a larger one is refused by the publisher and becomes a dead letter at the consumer."""
    depth_limit: int = 1_000_000
    """Entries a partition may hold that some group still needs; publishers beyond it are told that it is full."""
    fence_ttl_s: int = 24 * 3600

    buffer_events: int = 20_000
    """Events a publisher holds that the server has not accepted."""
    buffer_bytes: int = 64 * 1024 * 1024
    overflow: Overflow = "block"
    """What `publish` does when the buffer is full: `block`, `raise` or `drop`; runs always drop (metrics first)."""
    linger_ms: int = 5
    """Longest time a publisher gathers events before it sends them; a full batch or a flush goes at once. Events of
    runs that keep coming are gathered forty times as long."""
    batch_events: int = 500
    """Most events of one publish call: such a call holds the server for about a millisecond."""
    resend_s: float = 5.0
    """How long accepted events are kept by the publisher, to be sent again if a power cut took them."""
    spill: Path = field(default_factory=_default_spill)

    consume_entries: int = 512
    """Most entries of one read of a consumer."""
    consume_bytes: int = 8 * 1024 * 1024
    """Aim for the size of one read; large entries are read in smaller numbers."""
    claim_ms: int = 15_000
    """An entry not committed and not renewed for this long is taken over by another worker."""
    max_attempts: int = 5
    """Deliveries of an entry before it becomes a dead letter."""
    retry_base_ms: int = 200
    retry_limit_ms: int = 30_000

    retention_s: int = 600
    """How long requests, results and labels are kept after every group has committed them."""
    retention_bytes: int = 256 * 1024 * 1024
    frames_s: int = 900
    frames_long_s: int = 24 * 3600
    runs_s: int = 30 * 24 * 3600
    abandoned_s: int = 600
    """A group that needs entries but whose workers have been silent this long raises an alert."""
    bucket_ttl_s: int = 3600
    """How long the per-second statistics are kept."""
    join_ttl_s: int = 3600
    """How long a prediction waits for its label."""

    alert_full_s: int = 600
    """A channel or the server's memory that would be full within this time, at its present pace, raises an alert."""
    alert_dead_rate: float = 1.0
    """Dead letters a second of one group, over half a minute, that raise an alert."""
    alert_accuracy: float = 0.8
    """A classifier raises an alert when, beyond chance, the labels of the last five minutes say that its accuracy is
    below this share of that on held-out rows, which counts as 1 where it is not known."""
    alert_webhook: str = field(default="", repr=False)
    """Where the aggregator posts each alert that is raised or cleared, as JSON; empty = nowhere."""

    models: Path = field(default_factory=_default_models)

    def with_(self, **changes: Any) -> Settings:
        """The same settings with some fields changed and checked."""
        changed = replace(self, **changes)
        changed._check()
        return changed

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, **flags: Any) -> Settings:
        """Settings from the environment; flags that are not None win over it."""
        source = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        for item in fields(cls):
            variable = _NAMES.get(item.name, f"HEADRACE_{item.name.upper()}")
            if variable in source and source[variable] != "":
                values[item.name] = _parse(variable, str(item.type), source[variable])
        values.update({name: value for name, value in flags.items() if value is not None})
        settings = cls(**values)
        settings._check()
        return settings

    def _check(self) -> None:
        for name, accepted in _ACCEPTED.items():
            if getattr(self, name) not in accepted:
                variable = f"HEADRACE_{name.upper()}"
                raise SettingsError(f"{variable}={getattr(self, name)!r} is not one of {', '.join(accepted)}")
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, (int, float)) and not isinstance(value, bool) and not value > 0:
                raise SettingsError(f"HEADRACE_{item.name.upper()}={value} must be above 0")
        if not self.prefix or any(c in self.prefix for c in "{}: \t\n*?["):
            raise SettingsError(
                f"HEADRACE_PREFIX={self.prefix!r} must not be empty or hold braces, colons, spaces or *?["
            )
        if not self.redis_url.startswith(("redis://", "rediss://", "unix://")):
            raise SettingsError(
                f"REDIS_URL={shown_url(self.redis_url)!r} must start with redis://, rediss:// (TLS) or unix://"
            )
        if self.alert_webhook and not _is_web(self.alert_webhook):
            raise SettingsError("HEADRACE_ALERT_WEBHOOK must be an address that starts with http:// or https://")
        try:
            urlsplit(self.redis_url).port  # noqa: B018
        except ValueError as error:
            raise SettingsError(f"REDIS_URL={shown_url(self.redis_url)!r} is no address: {error}") from None

    @property
    def shown_url(self) -> str:
        """The server's address without its password, for logs, errors and the page."""
        return shown_url(self.redis_url)


def shown_url(url: str) -> str:
    """`url` without user name, password and query, safe to print, whatever is wrong with it."""
    scheme, separator, rest = url.rpartition("://")
    place, _, query = rest.partition("?")
    if "@" in query and "@" not in place:  # a password with a question mark in it
        place = "..."
    return f"{scheme}{separator}{place.rpartition('@')[2]}"


def _is_web(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _parse(variable: str, kind: str, text: str) -> Any:
    try:
        match kind:
            case "int":
                return int(text)
            case "float":
                return float(text)
            case "bool":
                return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[text.lower()]
            case "Path":
                return Path(text).expanduser()
            case _:
                return text
    except (KeyError, ValueError):
        accepted = "1, true, yes, 0, false or no" if kind == "bool" else f"a number ({kind})"
        raise SettingsError(f"{variable}={text!r} is not {accepted}") from None
