"""`python -m tests.chaos`: every scenario, one after the other, and a table of what was found."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click

from tests.chaos.scenario import Scenario
from tests.chaos.scenarios import ALL
from tests.chaos.stage import Outcome, Size, Stage, prepare_models

FULL = Size(faults=24, requests=48_000, rate=4_000)
SHORT = Size(faults=2, requests=3_000, rate=1_500)


async def play(scenario: Scenario, size: Size, seed: int, folder: Path, models: Path) -> Outcome:
    """One scenario on a stage of its own. Raises AssertionError for what was waited for in vain."""
    size = Size(max(1, round(size.faults * scenario.share)), size.requests, size.rate)
    async with Stage(folder, models, seed, fsync=scenario.fsync, **scenario.settings) as stage:
        return await scenario.run(stage, size)


def row(name: str, found: Outcome) -> list[str]:
    times = sorted(found.recoveries_s)
    recovery = f"{times[len(times) // 2]:.1f} / {times[-1]:.1f} s" if times else "–"
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
    """The rows as Markdown."""
    widths = [max(len(line[i]) for line in [HEAD, *rows]) for i in range(len(HEAD))]
    lines = [HEAD, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1, metavar="[WORD]...")
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same moments.")
@click.option("--short", is_flag=True, help="Two faults each.")
def main(names: tuple[str, ...], seed: int, short: bool) -> None:
    """Inflict every fault on a running pipeline, and balance the books. WORD chooses scenarios by their names."""
    chosen = [one for one in ALL if not names or any(word in one.name for word in names)]
    if not chosen:
        raise click.UsageError("no scenario has such a name; there are: " + "; ".join(one.name for one in ALL))
    size, rows, bad = (SHORT if short else FULL), [], []
    accepted = faults = 0
    with tempfile.TemporaryDirectory(prefix="headrace-chaos-") as base:
        models = prepare_models(Path(base) / "models")
        for number, one in enumerate(chosen):
            began = time.monotonic()
            try:
                found = asyncio.run(play(one, size, seed + number, Path(base) / f"stage-{number}", models))
            except AssertionError as error:
                found = Outcome(notes=[str(error)])
            rows.append(row(one.name, found))
            accepted, faults = accepted + found.accepted, faults + found.faults
            verdict = "balanced" if found.balanced else "NOT BALANCED: " + "; ".join(found.notes)
            click.echo(f"{one.name}: {verdict} ({time.monotonic() - began:.0f} s)", err=True)
            if not found.balanced:
                bad.append(one.name)
    rows.append(["all", f"{faults:,}", f"{accepted:,}", "", "", "", ""])
    click.echo(table(rows))
    if bad:
        click.echo(f"the books of {len(bad)} do not balance: {'; '.join(bad)}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
