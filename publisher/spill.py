"""Events on disk: those of runs that must not be dropped, while the server is away; whoever connects next sends them.

A file appears whole (written aside, then renamed) and is removed once the server has its events. Each record carries a
producer name of its own, so that sending a file twice, or two processes sending it at once, adds nothing; and the
sequence number under which it was perhaps sent before, so that a lost reply does not make two of one.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from headrace.errors import FullError
from headrace.events import new_id
from headrace.outbox import Leftover
from headrace.settings import Settings

if TYPE_CHECKING:
    from headrace.bus.scripts import Accepted, PublishCall

KINDS = frozenset({"run.started", "run.finished"})
"""Event types that are spilled rather than dropped."""
LIMIT_BYTES = 1024 * 1024
"""Most bytes that one publisher spills."""
FOLDER_FILES = 1_000
"""Most files in the folder, over all publishers: a server that never comes back must not fill the disk."""


class Record(msgspec.Struct, frozen=True, array_like=True):
    """One spilled event. `producer` and `number` tell how it was sent before (number 0: it was not)."""

    channel: str
    partition: int
    producer: str
    number: int
    own: str
    payload: bytes


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Record])


class Spill:
    """The files of one server and prefix in one folder."""

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.spill
        self._tag = f"{zlib.crc32(f'{settings.redis_url} {settings.prefix}'.encode()):08x}"
        self._written_bytes = 0

    def write(self, leftovers: Iterable[tuple[str, int, Leftover]]) -> int:
        """Write events to one new file, the first ones first: how many are safe. A disk that refuses keeps none."""
        records: list[Record] = []
        room = LIMIT_BYTES - self._written_bytes
        for channel, partition, item in leftovers:
            room -= len(item.payload)
            if room < 0:
                break
            records.append(Record(channel, partition, item.producer, item.number, new_id(), item.payload))
        if not records:
            return 0
        whole = _encoder.encode(records)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if sum(1 for _ in self._folder.glob("*.spill")) >= FOLDER_FILES:
                return 0
            path = self._folder / f"{self._tag}-{new_id()}"
            with path.open("xb") as file:
                file.write(whole)
                file.flush()
                os.fsync(file.fileno())
            path.rename(path.with_name(path.name + ".spill"))
        except OSError:
            return 0
        self._written_bytes += len(whole)
        return len(records)

    def files(self) -> list[Path]:
        """What waits on disk for this server and prefix, oldest first."""
        found: list[tuple[float, Path]] = []
        with suppress(OSError):
            for path in self._folder.glob(f"{self._tag}-*.spill"):
                with suppress(OSError):  # another process sends it too, and was faster
                    found.append((path.stat().st_mtime, path))
        return [path for _, path in sorted(found)]

    def send(self, publish: Callable[[PublishCall], Accepted]) -> int:
        """Send what waits on disk and remove it: how many events. Raises what `publish` does, and FullError."""
        sent = 0
        for path in self.files():
            try:
                records = _decoder.decode(path.read_bytes())
            except OSError:
                continue
            except msgspec.DecodeError:  # not of this version, or damaged: nobody will ever read it
                records = []
            for record in records:
                for call in _calls(record):
                    answer = publish(call)
                    if answer.status == "full":
                        raise FullError(record.channel)
                    if answer.status == "ok":
                        break
                sent += 1
            with suppress(OSError):
                path.unlink(missing_ok=True)
        return sent


def _calls(record: Record) -> Iterator[PublishCall]:
    from headrace.bus.scripts import PublishCall

    if record.number:
        yield PublishCall(record.channel, record.partition, record.producer, record.number, [record.payload])
    # The server holds less of that producer: so it does not hold this event.
    yield PublishCall(record.channel, record.partition, record.own, 1, [record.payload])
