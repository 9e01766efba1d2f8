"""`python -m benchmarks`: run them, print tables, and keep what a full run found in RESULTS.md."""

from __future__ import annotations

import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import msgspec

from benchmarks import report
from benchmarks.glass import AbsentError
from benchmarks.samples import Result
from benchmarks.stage import Stage, machine, versions

NAMES = ("score", "bulk", "publish", "log", "steps", "search", "latency", "start", "glass")
PAGE = Path(__file__).with_name("RESULTS.md")


class Run(msgspec.Struct):
    """All that `--json` prints."""

    machine: str
    versions: str
    size: str
    results: list[Result]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1, type=click.Choice(NAMES), metavar="[NAME]...")
@click.option("--quick", "size", flag_value="quick", help="Small sizes: under a minute for all.")
@click.option("--tiny", "size", flag_value="tiny", help="Only show that everything runs; the numbers mean nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def main(names: tuple[str, ...], size: str | None, as_json: bool) -> None:
    """Measure headrace beside the barest programs for the same work, on a server of its own.

    NAME is one or more of score, bulk, publish, log, steps, search, latency, start, glass; all without any. A run of
    all of them at full size is written to benchmarks/RESULTS.md.
    """
    size = size or "full"
    results: list[Result] = []
    with Stage() as stage:
        found = Run(machine(), versions(stage.server), size, results)
        for name in names or NAMES:
            began = time.perf_counter()
            module: Any = import_module(f"benchmarks.{name}")
            try:
                result: Result = module.run(stage, getattr(module, size.upper()))
            except AbsentError as absent:
                click.echo(str(absent), err=True)
                continue
            results.append(result)
            if not as_json:
                click.echo(report.text(result))
            click.echo(f"{name}: {time.perf_counter() - began:.0f} s", err=True)
    if as_json:
        click.echo(msgspec.json.encode(found))
    elif size == "full" and not names:
        PAGE.write_text(report.markdown(results, found.machine, found.versions, "make bench"), encoding="utf-8")
        click.echo(f"written to {PAGE.relative_to(Path.cwd()) if PAGE.is_relative_to(Path.cwd()) else PAGE}")


if __name__ == "__main__":
    sys.exit(main())
