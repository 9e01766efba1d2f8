"""`headrace dead`: dead letters, and what to do about them."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from headrace.cli.options import connection
from headrace.cli.root import Suggesting
from headrace.words import counted

if TYPE_CHECKING:
    from headrace.bus import Bus
    from headrace.letters import Action, Filter, Letter, Listing
    from headrace.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])

ACTOR = "command line"
REASON_SHOWN = 60
PAST = {"requeue": "requeued", "discard": "discarded"}


def filters(function: F) -> F:
    """--channel, --group and --text; the command gets `wanted`, a Filter."""

    @wraps(function)
    def with_filter(channel: str, group: str, text: str, **arguments: Any) -> Any:
        from headrace.letters import Filter

        return function(wanted=Filter(channel, group, text), **arguments)

    decorated: Any = with_filter
    for name, what in (
        ("text", "Only those with this in their reason."),
        ("group", "Only those that this group gave up."),
        ("channel", "Only those of this channel."),
    ):
        decorated = click.option(f"--{name}", default="", metavar="TEXT", help=what)(decorated)
    return decorated  # type: ignore[no-any-return]


@click.group(cls=Suggesting)
def command() -> None:
    """List dead letters, publish them again, or mark them as dealt with."""


@command.command()
@filters
@click.option("--done", is_flag=True, help="Also those that were requeued or discarded.")
@click.option(
    "--limit", type=click.IntRange(1, 5000), default=50, show_default=True, metavar="N", help="At most so many."
)
@click.option("--json", "as_json", is_flag=True, help="JSON lines with the whole payload.")
@connection
def ls(settings: Settings, wanted: Filter, done: bool, limit: int, as_json: bool) -> None:
    """Show dead letters, newest first, and how often each reason occurs."""
    from headrace.cli.ask import ask
    from headrace.letters import letters

    async def look(bus: Bus) -> Listing:
        return await letters(bus, wanted, limit=limit, done=done)

    found = ask(settings, look)
    if as_json:
        for letter in found.letters:
            click.echo(_json(letter))
        return
    if not found.letters:
        click.echo("no dead letters" if found.complete else "no dead letters among the newest ones", err=True)
        return
    _show(found)


@command.command()
@click.argument("places", nargs=-1, metavar="[LETTER...]")
@filters
@click.option("--all", "everything", is_flag=True, help="All that nothing was done to yet.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@connection
def requeue(settings: Settings, wanted: Filter, places: tuple[str, ...], everything: bool, yes: bool) -> None:
    """Publish dead letters again: those named (PARTITION-MS-NUMBER), or those of a filter. Each once for ever.

    Every group of the channel gets them again.
    """
    _act(settings, "requeue", wanted, places, everything, yes)


@command.command()
@click.argument("places", nargs=-1, metavar="[LETTER...]")
@filters
@click.option("--all", "everything", is_flag=True, help="All that nothing was done to yet.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@connection
def discard(settings: Settings, wanted: Filter, places: tuple[str, ...], everything: bool, yes: bool) -> None:
    """Mark dead letters as dealt with. They stay in the log until retention removes them."""
    _act(settings, "discard", wanted, places, everything, yes)


def _act(
    settings: Settings, action: Action, wanted: Filter, places: tuple[str, ...], everything: bool, yes: bool
) -> None:
    from headrace.cli.ask import ask
    from headrace.letters import Filter, fetch, matching, warning
    from headrace.orders import Tally
    from headrace.orders import discard as discarding
    from headrace.orders import requeue as requeueing
    from headrace.positions import Handle

    if places and (everything or wanted != Filter()):
        raise click.UsageError("name letters, or give a filter, not both")
    if not places and not everything and wanted == Filter():
        raise click.UsageError("name letters as `headrace dead ls` shows them, give a filter, or say --all")

    async def look(bus: Bus) -> tuple[list[Letter], dict[str, str]]:
        if places:
            return await fetch(bus, [Handle.parse(place) for place in places])
        return await matching(bus, wanted), {}

    chosen, refused = ask(settings, look)
    if chosen and not yes:
        vain = sum(bool(warning(letter.event, time.time())) for letter in chosen) if action == "requeue" else 0
        note = f" ({vain:,} of them would die again)" if vain else ""
        click.confirm(f"{action} {counted(len(chosen), 'dead letter')}{note}?", abort=True, err=True)

    async def act(bus: Bus) -> Tally:
        doing = requeueing if action == "requeue" else discarding
        return await doing(bus, chosen, actor=ACTOR, now=time.time())

    tally = ask(settings, act) if chosen else Tally()
    tally.refused |= refused
    click.echo(f"{PAST[action]} {counted(tally.done, 'dead letter')}")
    if tally.already:
        click.echo(f"{counted(tally.already, 'dead letter')} had been dealt with before", err=True)
    for place, why in tally.refused.items():
        click.echo(f"{place}: {why}", err=True)
    if tally.refused:
        raise click.exceptions.Exit(1)


def _show(found: Listing) -> None:
    from headrace.cli.status import span
    from headrace.cli.table import table

    now = time.time()
    rows = [
        (
            str(letter.place),
            letter.event.channel,
            letter.event.group,
            letter.event.attempts,
            span(max(0.0, now - letter.place.position.ms / 1000)),
            PAST[letter.mark.action] if letter.mark else "",
            _cut(letter.event.reason),
        )
        for letter in found.letters
    ]
    click.echo(table(("LETTER", "CHANNEL", "GROUP", "ATTEMPTS", "AGE", "STATE", "REASON"), rows))
    click.echo()
    click.echo(table(("WAITING", "REASON"), [(count, _cut(reason)) for reason, count in found.reasons.most_common(10)]))
    if not found.complete:
        click.echo(f"looked at the newest {found.looked:,} letters; older ones are not counted", err=True)


def _json(letter: Letter) -> str:
    import msgspec

    from headrace.cli.tail import plain

    event = letter.event
    told = {
        "letter": str(letter.place),
        "channel": event.channel,
        "group": event.group,
        "reason": event.reason,
        "attempts": event.attempts,
        "worker": event.worker,
        "position": event.position,
        "time": event.time,
        "mark": letter.mark,
        "payload": plain(event.payload),
    }
    return msgspec.json.encode(told).decode()


def _cut(text: str) -> str:
    return text if len(text) <= REASON_SHOWN else f"{text[: REASON_SHOWN - 1]}…"
