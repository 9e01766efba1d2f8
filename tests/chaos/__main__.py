"""`python -m tests.chaos`: every scenario, one after the other, and a table of what was found."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from tests.chaos.dawdling import Disk
from tests.chaos.scenario import Scenario
from tests.chaos.scenarios import ALL
from tests.chaos.stage import Outcome, Size, Stage, prepare_models

FULL = Size(faults=24, requests=48_000, rate=4_000)
SHORT = Size(faults=2, requests=3_000, rate=1_500)


async def play(scenario: Scenario, size: Size, seed: int, folder: Path, models: Path) -> Outcome:
    """One scenario on a stage of its own. Raises AssertionError for what was waited for in vain."""
    size = Size(max(1, round(size.faults * scenario.share)), size.requests, size.rate)
    disk = Disk(folder / "disk") if scenario.slow_disk else None
    if disk is not None and disk.binary is None:
        return Outcome(left_out=disk.why)
    async with Stage(folder, models, seed, fsync=scenario.fsync, disk=disk, **scenario.settings) as stage:
        return await scenario.run(stage, size)


def row(name: str, found: Outcome) -> list[str]:
    times = sorted(found.recoveries_s)
    recovery = f"{times[len(times) // 2]:.1f} / {times[-1]:.1f} s" if times else "–"
    if not found.balanced:
        recovery = "NOT BALANCED"
    return [
        name,
        f"{found.faults:,}",
        f"{found.accepted:,}",
        f"{found.results + found.dead:,}",
        f"{found.doubled:,}",
        f"{found.lost:,}",
        recovery,
    ]


HEAD = ["fault", "times", "accepted", "outcomes", "doubled", "lost", "recovery, median / longest"]


def table(rows: Sequence[Sequence[str]]) -> str:
    """The rows and their sum as Markdown."""
    faults, accepted = (sum(int(line[i].replace(",", "")) for line in rows) for i in (1, 2))
    rows = [*rows, ["all", f"{faults:,}", f"{accepted:,}", "", "", "", ""]]
    widths = [max(len(line[i]) for line in [HEAD, *rows]) for i in range(len(HEAD))]
    lines = [HEAD, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )


def merged(rows: Mapping[str, Sequence[str]], text: str) -> list[Sequence[str]]:
    """The rows, and between them those that an earlier table has of other scenarios, all in their usual order."""
    cells = [[cell.strip() for cell in line.strip("| ").split("|")] for line in text.splitlines()]
    earlier = {line[0]: line for line in cells if len(line) == len(HEAD)}
    found = {**earlier, **rows}
    return [found[one.name] for one in ALL if one.name in found]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1, metavar="[WORD]...")
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same moments.")
@click.option("--short", is_flag=True, help="Two faults each.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the table there, after each one; other rows stay.",
)
@click.option("--list", "listed", is_flag=True, help="Say what there is, and how much of it a full run is made of.")
def main(names: tuple[str, ...], seed: int, short: bool, out: Path | None, listed: bool) -> None:
    """Inflict every fault on a running pipeline, and balance the books. WORD chooses scenarios by their names.

    One that cannot come to its end is noted, and the next one begins.
    """
    chosen = [one for one in ALL if not names or any(word in one.name for word in names)]
    if not chosen:
        raise click.UsageError("no scenario has such a name; there are: " + "; ".join(one.name for one in ALL))
    size = SHORT if short else FULL
    if listed:
        for one in chosen:
            click.echo(f"{max(1, round(size.faults * one.share)):>4}  {one.name}")
        return
    rows: dict[str, list[str]] = {}
    bad: list[str] = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="headrace-chaos-", ignore_cleanup_errors=True) as base:
        models = prepare_models(Path(base) / "models")
        for one in chosen:
            number = ALL.index(one)
            found, verdict = _played(one, size, seed + number, Path(base) / f"stage-{number}", models)
            rows[one.name] = row(one.name, found)
            click.echo(f"{one.name}: {verdict}", err=True)
            if not found.balanced:
                bad.append(one.name)
            if out is not None:
                out.write_text(table(merged(rows, out.read_text() if out.exists() else "")) + "\n")
    click.echo(table(list(rows.values())))
    click.echo(f"{len(rows)} scenarios in {(time.monotonic() - began) / 60:.0f} minutes", err=True)
    if bad:
        click.echo(f"the books of {len(bad)} do not balance: {'; '.join(bad)}", err=True)
        sys.exit(1)


def _played(scenario: Scenario, size: Size, seed: int, folder: Path, models: Path) -> tuple[Outcome, str]:
    """What a scenario found, and the verdict on it in words."""
    began = time.monotonic()
    try:
        found = asyncio.run(play(scenario, size, seed, folder, models))
    except Exception as error:
        found = Outcome(notes=[f"{type(error).__name__}: {error}"])
    verdict = found.left_out or ("balanced" if found.balanced else "NOT BALANCED: " + "; ".join(found.notes))
    return found, f"{verdict} ({time.monotonic() - began:.0f} s)"


if __name__ == "__main__":
    main()
