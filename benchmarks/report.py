"""Results as text for people: a table for the terminal, the same as Markdown. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from benchmarks.samples import Result, Spread, Way

WIDTH = 110


def text(result: Result) -> str:
    """One result for the terminal."""
    rows = _cells(result)
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = [result.name, *textwrap.wrap(result.work, WIDTH, initial_indent="  ", subsequent_indent="  "), ""]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]
        lines.append("  " + "   ".join(cells).rstrip())
    return "\n".join([*lines, *(f"  {note}" for note in result.notes)]) + "\n"


def markdown(results: Sequence[Result], machine: str, versions: str, command: str, made: Sequence[str] = ()) -> str:
    """A whole run as a page; `made` are rows that say how each part of it was made."""
    parts = [
        "# Results\n",
        f"Written by `{command}`. How it is measured: [docs/performance.md](../docs/performance.md).\n",
        f"- Machine: {machine}\n- Versions: {versions}\n- Server: embedded, on the same machine, `appendonly yes`, "
        "`appendfsync everysec`\n",
        "Numbers are the median of the rounds with the lowest and the highest. The ratio compares the first column "
        "with the reference (1.00) in the same round. Rates of different machines, or of one machine on different "
        "days, cannot be compared; ratios can.\n",
    ]
    for result in results:
        head, *rows = _cells(result)
        table = [_row(head), _row(["---"] + ["---:"] * (len(head) - 1)), *map(_row, rows)]
        parts.append(f"## {result.name}\n\n{result.work}\n\n" + "\n".join(table) + "\n")
        if result.notes:
            parts.append("\n".join(f"- {note}" for note in result.notes) + "\n")
        if result.plots:
            parts.append("\n".join(f"![{_titled(name)}](plots/{name})" for name in result.plots) + "\n")
    if made:
        top = "| made by | in | code |\n| --- | ---: | --- |\n"
        parts.append("## How it was made\n\n" + top + "\n".join(made) + "\n")
    return "\n".join(parts)


def _cells(result: Result) -> list[list[str]]:
    measures = list(result.ways[0].measures)
    rows = [["", *measures], *([way.name, *(_shown(way.measures[m]) for m in measures)] for way in result.ways)]
    if not result.reference:
        return rows
    ratios = [f"ratio of {measures[0].partition(' ')[0]}", *(_ratio(way, result) for way in result.ways)]
    return [[*row, ratio] for row, ratio in zip(rows, ratios, strict=True)]


def _ratio(way: Way, result: Result) -> str:
    if way.ratio is None:
        return ""
    return "1.00" if way.name == result.reference else _shown(way.ratio, least=2)


def _shown(found: Spread | None, least: int = 0) -> str:
    if found is None:
        return "-"
    if found.low == found.median == found.high:
        return _number(found.median, least)
    return f"{_number(found.median, least)} ({_number(found.low, least)} - {_number(found.high, least)})"


def _number(value: float, least: int) -> str:
    """Three significant digits, and no fewer than `least` decimals."""
    for decimals, limit in ((3, 0.1), (2, 10), (1, 100)):
        if abs(value) < limit:
            return f"{value:.{decimals}f}"
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.{least}f}" if abs(value) < 1000 else f"{rounded:,.0f}"


def _titled(name: str) -> str:
    return name.removesuffix(".svg").replace("-", " ")


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
