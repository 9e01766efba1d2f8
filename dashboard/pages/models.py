"""The models page: quality in service, versions."""

from __future__ import annotations

from dash.development.base_component import Component

from headrace.dashboard.layout import Page


def content() -> list[Component]:
    """The page's cards."""
    return []


PAGE = Page("models", "/models", "Models", "cube", "What the models in service say, and how right they are", content)
