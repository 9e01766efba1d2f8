"""Tables for terminals: aligned columns, numbers to the right."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Cell = str | int | float | None


def table(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """The rows under their header. Whole numbers get thousands separators, None and empty text a dash."""
    listed = [list(row) for row in rows]
    shown = [[_shown(cell) for cell in row] for row in listed]
    widths = [max(map(len, column)) for column in zip(header, *shown, strict=True)]
    right = [all(isinstance(cell, (int, float, type(None))) for cell in column) for column in zip(*listed, strict=True)]
    lines = [_line(header, widths, right or [False] * len(header))]
    lines += [_line(row, widths, right) for row in shown]
    return "\n".join(lines)


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    aligned = (
        cell.rjust(width) if flush else cell.ljust(width)
        for cell, width, flush in zip(cells, widths, right, strict=True)
    )
    return "  ".join(aligned).rstrip()


def _shown(cell: Cell) -> str:
    match cell:
        case None | "":
            return "-"
        case int():
            return f"{cell:,}"
        case float():
            return f"{cell:,.1f}"
        case _:
            return cell
