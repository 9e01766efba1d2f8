"""`python -m benchmarks`: run them, print tables, and keep what a full run found in RESULTS.md."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import msgspec

from benchmarks import parts, report
from benchmarks.environment import peers
from benchmarks.parts import Part
from benchmarks.samples import Result, merged
from benchmarks.stage import AbsentError, Stage, machine, versions

NAMES = (
    "server",
    "score",
    "scorers",
    "bulk",
    "trees",
    "publish",
    "log",
    "loop",
    "steps",
    "search",
    "stream",
    "latency",
    "http",
    "metrics",
    "memory",
    "start",
    "glass",
    "scale",
)
"""In the order of the page; those of the peers come last, one part each."""
LOOK = ("score", "bulk", "publish", "log", "latency", "start")
"""What `--quick` runs when nothing is named: under a minute."""
PEERS = "peers"
PAGE = Path(__file__).with_name("RESULTS.md")
PLOTS = Path(__file__).with_name("plots")


class Run(msgspec.Struct):
    """All that `--json` prints. `ratios` are those of headrace to the ceiling of each benchmark, medians."""

    machine: str
    versions: str
    size: str
    ratios: dict[str, float]
    results: list[Result]


class Names(click.ParamType[str]):
    """A benchmark, one peer, or `peers` for all of these."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        known = [*NAMES, PEERS, *(f"{PEERS}/{peer}" for peer in peers())]
        if value not in known:
            self.fail(f"{value!r} is none of {', '.join(map(repr, known))}.", param, ctx)
        return str(value)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1, type=Names(), metavar="[NAME]...")
@click.option("--quick", "size", flag_value="quick", help="Small sizes: under a minute without names.")
@click.option("--tiny", "size", flag_value="tiny", help="Only show that everything runs; the numbers mean nothing.")
@click.option("--again", multiple=True, type=Names(), metavar="NAME", help="Measure this anew; may be repeated.")
@click.option("--rows", type=click.IntRange(1), metavar="N", help="Rows of `stream` each way. [default: 50,000,000]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def main(names: tuple[str, ...], size: str | None, again: tuple[str, ...], rows: int | None, as_json: bool) -> None:
    """Measure headrace beside the barest programs for the same work and beside its peers, on a server of its own.

    NAME is one or more of the benchmarks (docs/performance.md lists them), `peers`, or `peers/NAME` for one of these;
    all without any. At full size what is finished is kept: a run that was interrupted goes on where it was, and one
    that is complete is written to benchmarks/RESULTS.md. --again measures parts anew.
    """
    size = size or "full"
    chosen = _parts([*names, *again] or (LOOK if size == "quick" else (*NAMES, PEERS)))
    anew = set(_parts(again)) | (set(_parts(names)) if names else set())
    found: list[Part] = []
    with Stage() as stage:
        where, what, commit = machine(), versions(stage.server), parts.commit()
        for name in chosen:
            part = parts.kept(size, name, where, what) if size == "full" and name not in anew else None
            if part is None:
                began = time.perf_counter()
                try:
                    result = _run(stage, name, size, rows)
                except AbsentError as absent:
                    click.echo(str(absent), err=True)
                    continue
                part = Part(name, where, what, commit, time.perf_counter() - began, result)
                if size == "full":
                    parts.keep(size, part)
                click.echo(f"{name}: {part.seconds:.0f} s", err=True)
                if not as_json:
                    click.echo(report.text(result))
            found.append(part)
        if size == "full" and not names:
            kept = (parts.kept(size, name, where, what) for name in _parts((*NAMES, PEERS)))
            _write([part for part in kept if part is not None], where, what)
    if as_json:
        results = _tables(found)
        click.echo(msgspec.json.encode(Run(where, what, size, _ratios(results), results)))


def _parts(names: Sequence[str]) -> list[str]:
    """Each once; `peers` is all of them."""
    whole = [[f"{PEERS}/{peer}" for peer in peers()] if name == PEERS else [name] for name in names]
    return list(dict.fromkeys(name for some in whole for name in some))


def _run(stage: Stage, name: str, size: str, rows: int | None) -> Result:
    first, _, peer = name.partition("/")
    module: Any = import_module(f"benchmarks.{'contest' if peer else first}")
    chosen = getattr(module, size.upper())
    if name == "stream" and rows is not None:
        chosen = chosen.of(rows)
    result: Result = module.run(stage, chosen, peer) if peer else module.run(stage, chosen)
    return result


def _tables(found: Sequence[Part]) -> list[Result]:
    """The results, those of the peers in one."""
    own = [part.result for part in found if not part.name.startswith(PEERS)]
    theirs = [part.result for part in found if part.name.startswith(PEERS)]
    return [*own, *([merged(theirs)] if theirs else [])]


def _ratios(results: Sequence[Result]) -> dict[str, float]:
    named = {
        f"{result.name}: {way.name}": way.ratio.median
        for result in results
        for way in result.ways
        if way.ratio is not None and way.name != result.reference
    }
    return {name: round(ratio, 4) for name, ratio in named.items()}


def _write(found: Sequence[Part], where: str, what: str) -> None:
    """The page and its plots, from all parts that are there."""
    results = _tables(found)
    for result in results:
        for name, drawing in result.plots.items():
            PLOTS.mkdir(exist_ok=True)
            (PLOTS / name).write_text(drawing, encoding="utf-8")
    lines = [
        f"| `make bench ARGS={part.name}` | {part.seconds:,.0f} s | {part.commit or 'unknown'} |"
        for part in sorted(found, key=lambda part: part.name)
    ]
    PAGE.write_text(report.markdown(results, where, what, "make bench", lines), encoding="utf-8")
    click.echo(f"written to {PAGE.relative_to(Path.cwd()) if PAGE.is_relative_to(Path.cwd()) else PAGE}", err=True)


if __name__ == "__main__":
    sys.exit(main())
