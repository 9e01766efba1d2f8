"""The training page: runs, curves, searches."""

from __future__ import annotations

from dash.development.base_component import Component

from headrace.dashboard.layout import Page


def content() -> list[Component]:
    """The page's cards."""
    return []


PAGE = Page("training", "/training", "Training", "curve", "Runs, their curves, and searches as they try", content)
