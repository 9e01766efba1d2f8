"""Queues and workers: what waits, who works, how batches form, how much room is left, and what is wrong."""

from __future__ import annotations

from dash import html
from dash.development.base_component import Component

from headrace.dashboard import figures
from headrace.dashboard.layout import Page, card, chart, facts, hint, legend, marks, table

GROUPS = (
    ("Group", ""),
    ("Depth", "num"),
    ("Last minutes", "trend wide"),
    ("In flight", "num wide"),
    ("Oldest", "num"),
    ("In", "num wide"),
    ("Out", "num"),
    ("Retries", "num wide"),
    ("Dead letters", "num wide"),
    ("Drains in", "num"),
)
WORKERS = (
    ("Worker", ""),
    ("Entries/s", "num"),
    ("Last minutes", "trend wide"),
    ("Batch", "num wide"),
    ("Busy", "num"),
    ("Last minutes", "trend wide"),
    ("Memory", "num wide"),
    ("Decided", "num wide"),
    ("Failed", "num wide"),
    ("Serves", "wide"),
    ("Heartbeat", "num"),
)
CHANNELS = (
    ("Channel", ""),
    ("Events/s", "num"),
    ("Last minutes", "trend wide"),
    ("Bytes/s", "num wide"),
    ("Length", "num wide"),
    ("Memory", "num"),
    ("Capacity left", "room"),
    ("Full in", "num"),
)
RELEASED = (("Released by", ""), ("Share", "num"), ("Entries", "num"), ("Wait", "num"), ("Model", "num wide"))
ALERTS = (("Alert", ""), ("What", "what"), ("Since", "num"), ("Lasted", "num"))


def content() -> list[Component]:
    """Strip, groups, the group that was chosen, batches, workers, channels, alerts."""
    return [
        html.Div(
            className="strip",
            id="queues-strip",
            children=[
                html.Div(
                    className="alerts",
                    id="queues-alerts",
                    role="status",
                    children=html.Button(
                        "Waiting for the first frame", type="button", className="to", **marks(data_do="alerts")
                    ),
                ),
                html.Span(id="queues-room", className="quiet number"),
            ],
        ),
        html.Div(className="grid", children=[_groups(), *_group(), *_batches(), _workers(), *_channels(), _alerts()]),
    ]


PAGE = Page("queues", "/queues", "Queues", "flow", "What waits, who works, and how batches form", content)


def _groups() -> html.Section:
    return card(
        "groups-card",
        "Groups",
        "what each still has to commit; choose one to see it closely",
        [table("groups", GROUPS, label="Groups"), html.P(id="more-groups", className="more")],
        span="w12",
        empty=hint("No group reads anything yet. Start a scorer:", "headrace scorer"),
    )


def _group() -> list[html.Section]:
    nothing = hint("No group reads anything yet. Start a scorer:", "headrace scorer")
    return [
        card(
            "group-depth-card",
            "Depth",
            "entries that wait, and those handed out but not committed",
            [chart("group-depth", figures.depth(), "Depth of the group over time")],
            span="w7",
            aside=[legend("group-depth")],
            empty=nothing,
        ),
        card(
            "little-card",
            "Little's law",
            "mean depth = arrivals × mean wait, over 30 s",
            [
                html.Div(
                    className="law",
                    children=[
                        _number("law-depth", "Depth", "entries, measured"),
                        html.Div("≟", className="sign", id="law-sign", **marks(aria_hidden="true")),
                        _number("law-expected", "Arrivals × wait", "–"),
                    ],
                ),
                html.Div(
                    className="balance",
                    children=[html.I(id="law-mark"), html.Span("⅓"), html.Span("1"), html.Span("3")],
                    **marks(aria_hidden="true"),
                ),
                html.P(
                    [html.B("–", id="law-ratio", className="number"), html.Span(id="law-verdict")], className="verdict"
                ),
            ],
            span="w5",
            empty=[html.P(id="law-missing", children="Nothing came to an end in the last 30 seconds.")],
        ),
        card(
            "group-rates-card",
            "In and out",
            "entries a second",
            [chart("group-rates", figures.over_time(), "Entries published and committed a second over time")],
            span="w4",
            aside=[legend("group-rates")],
            empty=nothing,
        ),
        card(
            "group-age-card",
            "Oldest entry",
            "age in seconds",
            [chart("group-age", figures.few(), "Age of the oldest entry over time")],
            span="w4",
            empty=nothing,
        ),
        card(
            "group-trouble-card",
            "Failures",
            "a second",
            [chart("group-trouble", figures.few(), "Retries and dead letters a second over time")],
            span="w4",
            aside=[legend("group-trouble")],
            empty=nothing,
        ),
    ]


def _number(name: str, title: str, note: str) -> html.Div:
    return html.Div(
        [
            html.Span(title),
            html.B("–", id=name, className="number"),
            html.Small(note, id=f"{name}-note", className="number"),
        ]
    )


def _batches() -> list[html.Section]:
    return [
        card(
            "batching-card",
            "How batches form",
            "entries against their mean wait, last minute",
            [
                html.Div(
                    id="batching",
                    className="cloud",
                    role="img",
                    children=[html.Canvas(), html.Div(className="tip number", hidden=True)],
                    **marks(aria_label="Batches by number of entries and mean wait"),
                )
            ],
            span="w7",
            aside=[html.Span(id="batching-shown", className="quiet number")],
            empty=hint("No scorer has decided a batch yet. Start one, and send it requests:", "headrace demo"),
        ),
        card(
            "released-card",
            "Why they were released",
            "a lone entry waits for nothing; with the load the batches grow",
            [
                table("released", RELEASED, label="Reasons for which batches were released"),
                html.P(id="released-means", className="means"),
            ],
            span="w5",
            empty=hint("No scorer has decided a batch yet."),
        ),
    ]


def _workers() -> html.Section:
    return card(
        "crew-card",
        "Workers",
        "processes that gave a sign of life; one that is silent for 15 s is gone, and an alert says so",
        [table("crew", WORKERS, label="Workers"), html.P(id="more-crew", className="more")],
        span="w12",
        empty=hint("No worker is alive. Start some:", "headrace scorer", "headrace aggregator"),
    )


def _channels() -> list[html.Section]:
    return [
        card(
            "rooms-card",
            "Channels",
            "choose one to see the memory it holds",
            [table("rooms", CHANNELS, label="Channels"), html.P(id="more-rooms", className="more")],
            span="w8",
            aside=[
                html.Button(
                    "headrace's own",
                    id="own",
                    type="button",
                    className="tick",
                    title="show also the channels on which headrace tells of itself",
                    **marks(data_do="own", aria_pressed="false"),
                )
            ],
            empty=hint("No channel has events yet. See them flow with", "headrace demo"),
        ),
        card(
            "memory-card",
            "Memory",
            "of the server, and of the channel chosen",
            [
                facts("room", [("used", "Server"), ("left", "Left"), ("full", "Full in")]),
                html.Span(html.I(id="room-meter-bar"), className="meter", id="room-meter"),
                chart("memory", figures.bytes_(), "Memory of the chosen channel over time"),
            ],
            span="w4",
            aside=[legend("memory")],
            empty=hint("Nothing is known of the server yet."),
        ),
    ]


def _alerts() -> html.Section:
    return card(
        "alerts-card",
        "Alerts",
        "raised now, then those that are over",
        [
            table("alerts", ALERTS, label="Alerts"),
            html.P(id="more-alerts", className="more"),
            html.P(id="webhook", className="more number"),
        ],
        span="w12",
        empty=[html.P("No alert was raised yet.")],
    )
