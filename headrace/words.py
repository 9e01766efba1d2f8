"""Counts in sentences: 1 entry, 2 entries, 1,234 entries."""

from __future__ import annotations


def counted(count: int, one: str, many: str = "") -> str:
    """A count with its noun; `many` is the plural where it is not `one` with an s."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"
