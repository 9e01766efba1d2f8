"""`headrace predict`: rows from a file, results as JSON lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

import click

from headrace.cli.options import connection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.publisher import Result
    from headrace.settings import Settings


@click.command()
@click.argument("model")
@click.argument("rows", type=click.File("rb"), metavar="ROWS.json")
@click.option(
    "--version", type=click.IntRange(0), metavar="N", default=0, help="A version; without it the one in service."
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    metavar="S",
    default=10.0,
    show_default=True,
    help="Seconds to wait.",
)
@connection
def command(settings: Settings, model: str, rows: BinaryIO, version: int, timeout: float) -> None:
    """Have rows scored by MODEL and print one JSON line a row.

    ROWS.json holds a JSON array of rows, or one row; `-` reads standard input.
    """
    import msgspec

    from headrace.cli.ask import check
    from headrace.publisher import Publisher

    matrix = _read(rows)
    check(settings)
    with Publisher(settings, source="headrace predict") as publisher:
        result = publisher.predict(model, matrix, timeout_s=timeout, version=version)
    for line in _lines(result):
        click.echo(msgspec.json.encode(line))


def _read(stream: BinaryIO) -> list[Any]:
    import msgspec

    from headrace.errors import EventError

    name = getattr(stream, "name", "standard input")
    try:
        found = msgspec.json.decode(stream.read())
    except msgspec.DecodeError as error:
        raise EventError(f"{name} is not JSON: {error}; it should hold rows like [[0, 1.5], [2, 3]]") from None
    if isinstance(found, dict) and isinstance(found.get("rows"), list):
        found = found["rows"]
    if not isinstance(found, list) or not found:
        raise EventError(f"{name} holds no rows; it should hold an array of arrays of numbers")
    return found


def _lines(result: Result) -> Iterator[dict[str, Any]]:
    rows = len(result.values if result.values is not None else result.labels or [])
    for row in range(rows):
        line: dict[str, Any] = {"row": row}
        if result.labels is not None:
            line["label"] = result.labels[row]
        if result.probabilities is not None:
            line["confidence"] = round(max(result.probabilities[row]), 6)
        if result.values is not None:
            line["value"] = result.values[row]
        yield line | {"model": result.model, "version": result.version, "prediction": result.handle}
