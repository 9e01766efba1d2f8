"""What an embedded server can be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from headrace.errors import SettingsError

Appendfsync = Literal["everysec", "always"]

# An empty server takes up to a dozen megabytes itself; below this it would refuse its first batch.
SMALLEST_MAXMEMORY_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddedSettings:
    """The settings of one embedded server, checked when made.

    Raises `SettingsError` that names the field and what it accepts.
    """

    data_dir: Path | None = None
    """Where the log is kept; None is a temporary directory that is removed by `stop`."""
    port: int = 0
    """TCP port on 127.0.0.1; 0 chooses a free one."""
    maxmemory_bytes: int = 1024 * 1024 * 1024
    """Above this the server refuses writes; it never evicts."""
    appendfsync: Appendfsync = "everysec"
    """`always`: on disk before it is answered; `everysec`: a power cut may take the last second or two."""
    timeout_s: float = 30.0
    """How long the server may be silent when it starts; reading its log does not count."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise SettingsError(f"port {self.port} is not between 0 (choose a free one) and 65535")
        if self.maxmemory_bytes < SMALLEST_MAXMEMORY_BYTES:
            raise SettingsError(
                f"maxmemory_bytes {self.maxmemory_bytes} is too small: at least {SMALLEST_MAXMEMORY_BYTES} (16 MiB)"
            )
        if self.appendfsync not in get_args(Appendfsync):
            raise SettingsError(f"appendfsync {self.appendfsync!r} is not one of {', '.join(get_args(Appendfsync))}")
        if self.timeout_s <= 0:
            raise SettingsError(f"timeout_s {self.timeout_s} must be above 0")
