"""`headrace publish`: files and streams of events, line by line."""

from __future__ import annotations

import io
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from headrace.cli.options import connection

if TYPE_CHECKING:
    from headrace.events import PredictionRequested
    from headrace.publisher import Prediction, Publisher
    from headrace.publisher.sources import Row
    from headrace.settings import Settings

SHOWN = 20
"""Refused lines that are listed; the others are counted."""
AHEAD = 1000
"""Predictions of labelled rows that may wait for their results at once."""
RESULT_S = 30.0


@click.command()
@click.argument("channel")
@click.argument("file", type=click.File("rb"), default="-", metavar="[FILE|-]")
@click.option(
    "--rate",
    type=click.FloatRange(0),
    metavar="N",
    default=0.0,
    help="Lines a second; without it as fast as they are taken.",
)
@click.option("--csv", "as_csv", is_flag=True, help="The file is a CSV table: each row becomes a request to --model.")
@click.option("--model", metavar="NAME", help="The model for the rows of a table.")
@click.option("--label-column", metavar="COLUMN", help="Column with the truth, published once the row is scored.")
@connection
def command(
    settings: Settings,
    channel: str,
    file: BinaryIO,
    rate: float,
    as_csv: bool,
    model: str | None,
    label_column: str | None,
) -> None:
    """Publish a file to CHANNEL: one JSON event a line, or the rows of a CSV table as prediction requests.

    Every accepted line is in the log exactly once. Refused lines are listed with their number and reason; the others
    are published all the same, and the exit status is then 1.
    """
    from headrace.channels import REQUESTS, checked
    from headrace.cli.ask import check
    from headrace.publisher import Publisher

    if as_csv and not model:
        raise click.UsageError("--csv needs --model NAME: the model that the rows are for")
    if as_csv and channel != REQUESTS:
        raise click.UsageError(f"--csv publishes to the channel {REQUESTS!r}, not to {channel!r}")
    if not as_csv and (model or label_column):
        raise click.UsageError("--model and --label-column are for tables: add --csv")
    path = str(getattr(file, "name", ""))
    if not as_csv and path.lower().endswith((".csv", ".tsv")):
        raise click.UsageError(f"{path} looks like a table: add --csv --model NAME")
    checked(channel)
    check(settings)
    if file.isatty():
        click.echo("headrace: reading events from the terminal, one a line; Ctrl-D ends", err=True)
    books = Books()
    try:
        with Publisher(settings, source="headrace publish") as publisher:
            if as_csv:
                _publish_table(publisher, file, model or "", label_column or "", rate, books)
            else:
                _publish_lines(publisher, channel, file, rate, books)
    except BaseException:
        if books.accepted or books.refused:
            click.echo(books.text(channel), err=True)
        raise
    click.echo(books.text(channel), err=True)
    if books.refused:
        raise click.exceptions.Exit(1)


@dataclass(slots=True)
class Books:
    """What became of the lines."""

    accepted: int = 0
    refused: int = 0
    labels: int = 0
    late: int = 0
    notes: list[str] = field(default_factory=list)

    def refuse(self, error: Exception) -> None:
        """A line was refused; the error names it."""
        self.refused += 1
        if self.refused <= SHOWN:
            click.echo(f"headrace: {error}", err=True)

    def text(self, channel: str) -> str:
        """The books in one line."""
        parts = [f"published {self.accepted:,} to {channel}"]
        if self.labels:
            parts.append(f"labelled {self.labels:,}")
        if self.late:
            parts.append(f"{self.late:,} without a result in time, hence without a label")
        if self.refused:
            more = f" (the first {SHOWN} are listed)" if self.refused > SHOWN else ""
            parts.append(f"refused {self.refused:,}{more}")
        return ", ".join(parts)


def _publish_lines(publisher: Publisher, channel: str, file: BinaryIO, rate: float, books: Books) -> None:
    from headrace.errors import CodecError, EventError
    from headrace.publisher.sources import lines, paced

    for line in paced(lines(file, publisher.settings.event_limit_bytes), rate):
        if line.event is None:
            books.refuse(line.error or EventError(f"line {line.number}: no event"))
            continue
        try:
            publisher.publish(channel, line.event)
            books.accepted += 1
        except (EventError, CodecError) as error:
            books.refuse(EventError(f"line {line.number}: {error}"))


def _publish_table(publisher: Publisher, file: BinaryIO, model: str, label: str, rate: float, books: Books) -> None:
    """Publish the rows; a row with a label is labelled once its result is here, which the join needs."""
    from headrace.channels import REQUESTS
    from headrace.publisher.sources import paced, rows

    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline="")
    waiting: deque[tuple[Row, Prediction]] = deque()
    for row in paced(rows(text, model, label=label), rate):
        if row.request is None:
            if row.error:
                books.refuse(row.error)
            continue
        if row.label is None:
            publisher.publish(REQUESTS, row.request)
            books.accepted += 1
            continue
        while waiting and (waiting[0][1].done or len(waiting) >= AHEAD):
            _label(publisher, *waiting.popleft(), books)
        waiting.append((row, publisher.submit(model, _values(row.request), label=True)))
    while waiting:
        _label(publisher, *waiting.popleft(), books)
    text.detach()


def _values(request: PredictionRequested) -> Any:
    """The one row of a request as `submit` takes rows."""
    from headrace.events import Matrix

    inputs = request.inputs
    return memoryview(inputs.data).cast("d") if isinstance(inputs, Matrix) else inputs


def _label(publisher: Publisher, row: Row, prediction: Prediction, books: Books) -> None:
    from headrace.errors import DeadlineError, EventError, RejectedError

    try:
        result = prediction.result(0.001 if books.late else RESULT_S)
    except RejectedError as error:
        books.refuse(EventError(f"line {row.number}: {error.reason}"))
        return
    except DeadlineError:
        books.accepted += 1
        books.late += 1
        return
    publisher.label(result, [row.label])
    books.accepted += 1
    books.labels += 1
