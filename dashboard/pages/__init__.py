"""The pages, in the order of the navigation: what stands where. What is written there comes from assets/NAME.js."""

from __future__ import annotations

from headrace.dashboard.layout import Page
from headrace.dashboard.pages import dead, events, models, overview, queues, training

PAGES: tuple[Page, ...] = (
    overview.PAGE,
    training.PAGE,
    models.PAGE,
    queues.PAGE,
    events.PAGE,
    dead.PAGE,
)
