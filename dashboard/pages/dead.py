"""The page of dead letters: reason, payload, requeue, discard."""

from __future__ import annotations

from dash.development.base_component import Component

from headrace.dashboard.layout import Page


def content() -> list[Component]:
    """The page's cards."""
    return []


PAGE = Page(
    "dead", "/dead", "Dead letters", "box", "Entries that nobody could process, and what to do with them", content
)
