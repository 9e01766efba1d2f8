"""The events page: what flows now, a search for one event, and the way that it took.

The fields that a reader writes into are made by the script: Dash has no plain ones.
"""

from __future__ import annotations

from dash import html
from dash.development.base_component import Component

from headrace.dashboard.layout import Page, card, hint, marks, table


def content() -> list[Component]:
    """Tail, search, journey."""
    return [html.Div(className="grid", children=[_tail(), _search(), _journey()])]


PAGE = Page("events", "/events", "Events", "list", "What flows, and the way of one event", content)


def _tail() -> html.Section:
    return card(
        "tail-card",
        "Live tail",
        "newest first; of a fast channel a part",
        [
            html.Div(id="tail-table", children=table("tail", COLUMNS, label="Newest entries of the channel")),
            html.P(id="tail-shown", className="more number", role="status"),
        ],
        span="w12",
        aside=[
            html.Select(id="tail-channel", className="select", **marks(aria_label="Channel", data_view="channel")),
            html.Select(id="tail-type", className="select", **marks(aria_label="Type of event", data_view="type")),
            html.Span(id="tail-text"),
            html.Button(
                "Hold",
                id="tail-hold",
                type="button",
                className="button small",
                title="Keep these rows while events go on",
                **marks(data_do="hold", aria_pressed="false"),
            ),
        ],
        empty=hint("Nothing is in this channel. See events flow with", "headrace demo"),
    )


COLUMNS = (
    ("Appended", "stamp"),
    ("Type", "kind"),
    ("Id", "wide id"),
    ("Source", "wide source"),
    ("Fields", "fields"),
    ("Bytes", "num wide"),
    ("Skipped", "num wide"),
)


def _search() -> html.Section:
    return card(
        "search-card",
        "Search",
        "by event id, position MS-NUMBER, or handle PARTITION-MS-NUMBER",
        [
            html.Form(
                id="search-form",
                role="search",
                children=[
                    html.Span(id="search-id"),
                    html.Select(
                        id="search-where",
                        className="select",
                        children=[
                            html.Option("in all channels", value=""),
                            html.Option("in the channel above", value="tail"),
                        ],
                        **marks(aria_label="Where to search"),
                    ),
                    html.Button("Search", type="submit", className="button small", id="search-go"),
                ],
            ),
            html.P(id="search-said", className="more number", role="status"),
            html.Ul(id="search-hits", className="hits"),
        ],
        span="w5",
    )


def _journey() -> html.Section:
    return card(
        "journey-card",
        "The way of one event",
        "from its creation to this screen",
        [
            html.Div(id="journey-head", className="journey-head", role="status"),
            html.Ol(id="journey", className="journey"),
            html.P(id="journey-clocks", className="more number"),
            html.Div(id="journey-answer", className="answer"),
        ],
        span="w7",
        empty=hint("Choose an event: open one in the tail and press Follow, or search for its id."),
    )
