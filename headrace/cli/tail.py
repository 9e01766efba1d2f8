"""`headrace tail`: channels as they flow, decoded."""

from __future__ import annotations

import shutil
import sys
import time
from array import array
from typing import TYPE_CHECKING, Any

import click

from headrace.cli.options import connection
from headrace.words import counted

if TYPE_CHECKING:
    from headrace.bus import Delivery, Entry
    from headrace.settings import Settings

WIDTH = 160
CODES = {"<f4": "f", "<f8": "d", "<i2": "h", "<i4": "i", "<i8": "q"}
"""What `array` calls the types of matrices."""
QUIET = ("id", "source", "time", "type", "subject")
"""Attributes that a line of text leaves out."""


@click.command()
@click.argument("channels", nargs=-1, required=True, metavar="CHANNEL...")
@click.option(
    "--since", type=click.Choice(["start", "now"]), default="now", show_default=True, help="Where to begin in the logs."
)
@click.option(
    "--json/--text", "as_json", default=None, help="JSON lines; the default where the output is not a terminal."
)
@click.option("--count", type=click.IntRange(1), metavar="N", help="End after so many events.")
@connection
def command(settings: Settings, channels: tuple[str, ...], since: str, as_json: bool | None, count: int | None) -> None:
    """Follow channels until Ctrl-C: requests, results, labels, joined, runs, models, workers, alerts, dead, frames, ...

    One event a line. A JSON line is the event itself, with its place as `at` (CHANNEL:PARTITION-POSITION), so it can be
    published again. What was lost, or a log that was replaced, is said on standard error.
    """
    import asyncio

    lines = not sys.stdout.isatty() if as_json is None else as_json
    asyncio.run(_follow(settings, channels, since, lines, count))


async def _follow(settings: Settings, channels: tuple[str, ...], since: str, as_json: bool, count: int | None) -> None:
    from headrace.bus import Bus

    left = sys.maxsize if count is None else count
    async with Bus(settings) as bus:
        await bus.check()
        async with bus.subscribe(*channels, since="start" if since == "start" else "now") as subscription:
            async for delivery in subscription:
                if delivery.notice is not None:
                    click.echo(f"headrace: {_noticed(delivery)}", err=True)
                for entry in delivery.entries[:left]:
                    click.echo(_line(delivery, entry, as_json))
                left -= len(delivery.entries)
                if left <= 0:
                    return


def _line(delivery: Delivery, entry: Entry, as_json: bool) -> str:
    import msgspec

    at = f"{delivery.channel}:{delivery.partition}-{entry.position}"
    event = plain(entry.payload)
    if as_json:
        return msgspec.json.encode({**event, "at": at}).decode()
    clock = time.strftime("%H:%M:%S", time.localtime(entry.position.ms / 1000))
    fields = " ".join(f"{name}={_short(value)}" for name, value in event.items() if name not in QUIET)
    text = f"{clock}.{entry.position.ms % 1000:03} {delivery.channel} {event.get('type', '?')} {fields}"
    width = shutil.get_terminal_size((WIDTH, 24)).columns
    return text if len(text) <= width else f"{text[: width - 1]}…"


def plain(payload: bytes) -> dict[str, Any]:
    """An event's fields as JSON has them, arrays as nested lists; bytes that are no event as `undecodable`.

    Events of a type that this version does not know are shown as they are.
    """
    import msgspec

    from headrace.codec import codec_of, decode
    from headrace.errors import CodecError

    try:
        event = decode(payload)
        return {name: _plain(value) for name, value in msgspec.to_builtins(event, builtin_types=(bytes,)).items()}
    except CodecError as error:
        try:
            decoder = msgspec.json.decode if codec_of(payload) == "json" else msgspec.msgpack.decode
            raw: Any = decoder(payload)
            return {name: _plain(value) for name, value in raw.items()}
        except (CodecError, msgspec.DecodeError, UnicodeDecodeError):
            return {"type": "?", "undecodable": str(error)}


def _plain(value: Any) -> Any:
    """A field as JSON can say it: matrices become nested lists, other bytes text."""
    match value:
        case {"dtype": str(dtype), "shape": shape, "data": bytes(data)}:
            return _nested(dtype, shape, data)
        case bytes():
            return value.decode("utf-8", "backslashreplace")
        case dict():
            return {name: _plain(item) for name, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case _:
            return value


def _nested(dtype: str, shape: Any, data: bytes) -> Any:
    """A matrix as nested lists; a note if its bytes, shape and dtype do not agree."""
    try:
        code: Any = CODES[dtype]
        items: array[Any] = array(code, data)
        if sys.byteorder == "big":
            items.byteswap()
        return memoryview(items).cast("B").cast(code, list(shape)).tolist()
    except (KeyError, TypeError, ValueError):
        return f"{len(data)} bytes that are no array of {shape} of {dtype}"


def _short(value: Any) -> str:
    import msgspec

    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= 40 else f"{text[:39]}…"


def _noticed(delivery: Delivery) -> str:
    from headrace.bus import Lost, Replaced, WentBack

    where = f"{delivery.channel} partition {delivery.partition}"
    match delivery.notice:
        case Lost(count):
            were, them = ("was", "it") if count == 1 else ("were", "them")
            return f"{where}: {counted(count, 'event')} {were} lost: retention has removed {them}"
        case Replaced():
            return f"{where}: the log was replaced by a new one"
        case WentBack(position):
            return f"{where}: the log went back to {position}; what followed it is gone"
        case other:
            return f"{where}: {other}"
