"""The page of queues and workers."""

from __future__ import annotations

from dash.development.base_component import Component

from headrace.dashboard.layout import Page


def content() -> list[Component]:
    """The page's cards."""
    return []


PAGE = Page("queues", "/queues", "Queues", "flow", "What waits, who works, and how batches form", content)
