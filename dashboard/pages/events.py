"""The events page: live tail, search, the way of one event."""

from __future__ import annotations

from dash.development.base_component import Component

from headrace.dashboard.layout import Page


def content() -> list[Component]:
    """The page's cards."""
    return []


PAGE = Page("events", "/events", "Events", "list", "What flows, and the way of one event", content)
