"""The overview: is everything all right? In, out, waiting, how fast, how good, and who does the work."""

from __future__ import annotations

from dash import html
from dash.development.base_component import Component

from headrace.dashboard import figures
from headrace.dashboard.layout import Page, card, chart, facts, hint, legend, link, marks, predictions, table

TILES = (
    ("in", "Throughput in", "events/s", "queues"),
    ("scored", "Scored", "results/s", "models"),
    ("depth", "Queue depth", "entries", "queues"),
    ("p95", "Latency p95", "ms", "queues"),
    ("errors", "Errors", "dead letters/s", "dead"),
    ("accuracy", "Live accuracy", "%", "models"),
)
"""Key, name, unit, and the page that tells more."""


def content() -> list[Component]:
    """Strip, tiles, cards."""
    return [
        _quiet(),
        html.Div(className="tiles", id="now", children=[_tile(*tile) for tile in TILES]),
        html.Div(className="grid", children=[*_traffic(), *_latency(), *_training(), *_models(), *_work()]),
    ]


PAGE = Page("overview", "/", "Overview", "grid", "Is everything all right?", content)


def _quiet() -> html.Div:
    return html.Div(
        className="strip",
        children=[
            html.Div(
                id="alerts",
                className="alerts",
                role="status",
                children=html.A(
                    "Waiting for the first frame", href="queues", className="to", **marks(data_go="queues")
                ),
            ),
            html.Dl(
                className="counts",
                children=[
                    _count("live", "live", "events that subscribers got pushed"),
                    _count("healed", "healed", "events that were missed on the live side and fetched from the log"),
                    _count("lost", "lost", "events that are in neither"),
                    _count("dropped", "dropped", "events that publishers gave up, and said so"),
                ],
            ),
        ],
    )


def _count(key: str, text: str, title: str) -> html.Div:
    return html.Div([html.Dt(text), html.Dd("–", id=f"count-{key}", className="number")], title=title)


def _tile(key: str, name: str, unit: str, to: str) -> html.Section:
    return html.Section(
        className="tile",
        id=f"tile-{key}",
        **marks(aria_label=name),
        children=[
            html.Div(
                className="head",
                children=[html.H2(link(name, to)), html.Span(className="delta number", title="against a minute ago")],
            ),
            html.Div(className="value number", children=[html.B("–"), html.Span(unit)]),
            html.Div(className="note number"),
            html.Div(className="spark", **marks(aria_hidden="true")),
        ],
    )


def _traffic() -> list[html.Section]:
    return [
        card(
            "traffic",
            "Throughput",
            "events/s published; dashed: committed by a group",
            [chart("throughput", figures.throughput(), "Throughput by channel over time")],
            span="w7",
            aside=[legend("throughput")],
            to="queues",
            empty=hint("No traffic yet. See it flow with", "headrace demo"),
        ),
        card(
            "depth",
            "Queue depth",
            "entries still to be committed",
            [chart("depth", figures.depth(), "Queue depth by group over time")],
            span="w5",
            aside=[legend("depth")],
            to="queues",
            empty=hint("No group reads anything yet. Start a scorer:", "headrace scorer"),
        ),
    ]


def _latency() -> list[html.Section]:
    return [
        card(
            "latency",
            "Latency",
            "milliseconds from request to result, over 30 s",
            [chart("latency", figures.latency(), "Latency percentiles over time")],
            span="w7",
            aside=[legend("latency")],
            to="models",
            empty=hint("Nothing was scored in the last minutes. Send requests with", "headrace demo"),
        ),
        card(
            "stages-card",
            "Where the time goes",
            "percentiles of each part",
            [html.Div(id="stages", className="stages")],
            span="w5",
            aside=[html.Div(id="legend-stages", className="legend")],
            to="queues",
            empty=hint("Nothing was scored in the last 30 seconds."),
        ),
    ]


def _training() -> list[html.Section]:
    return [
        card(
            "training",
            "Training curves",
            "by step; faint: as logged, strong: smoothed",
            [legend("training"), chart("training", figures.training(), "Training metric by step, one line a run")],
            span="w6",
            aside=[html.Select(id="metric", className="select", **marks(aria_label="Metric", data_view="metric"))],
            to="training",
            empty=hint(
                'No run yet. In your training script: with Run("name") as run: run.log(step=…, loss=…), or',
                "headrace demo",
            ),
        ),
        card(
            "trainings",
            "Trainings",
            "running ones first",
            [
                table(
                    "runs",
                    [
                        ("Run", ""),
                        ("Progress", ""),
                        ("Steps/s", "num wide"),
                        ("loss", "num metric"),
                        ("Best", "num wide"),
                    ],
                    label="Trainings",
                ),
                html.P(id="more-runs", className="more"),
            ],
            span="w6",
            to="training",
            empty=hint("No run yet. Train a model with", "headrace models train digits"),
        ),
    ]


def _models() -> list[html.Section]:
    return [
        card(
            "models",
            "Confusion matrix",
            "labels against predictions",
            [html.Div(id="matrix", className="matrix")],
            span="w4",
            aside=[html.Select(id="model", className="select", **marks(aria_label="Model", data_view="model"))],
            to="models",
            empty=hint(
                "No labels yet: publish prediction.labelled events, and accuracy appears here. To see it:",
                "headrace demo",
            ),
        ),
        card(
            "confidence-card",
            "Confidence",
            "of predictions, 5 min",
            [
                html.Div(id="confidence", className="bars"),
                html.H3("Predicted classes"),
                html.Div(id="classes", className="bars classes"),
            ],
            span="w3",
            to="models",
            empty=hint("No predictions in the last 5 minutes."),
        ),
        card(
            "serving",
            "Models in service",
            "with the 95 % interval of live accuracy",
            [
                table(
                    "models",
                    [("Model", ""), ("Results/s", "num"), ("p95", "num wide"), ("Accuracy", "num")],
                    label="Models in service",
                ),
                html.P(id="more-models", className="more"),
            ],
            span="w5",
            to="models",
            empty=hint(
                "No model is in service. Train and start one:",
                "headrace models train digits",
                "headrace scorer",
            ),
        ),
    ]


def _work() -> list[html.Section]:
    return [
        card(
            "predictions",
            "Latest predictions",
            "a sample, paced to be readable",
            [predictions()],
            span="w7",
            aside=[html.Span(id="shown", className="quiet number")],
            to="events",
            empty=hint("No predictions yet. With a scorer running, ask for some:", "headrace demo"),
        ),
        card(
            "glass-card",
            "Time to glass",
            "from created to painted in this browser, last minute",
            [
                table(
                    "glass",
                    [("Part", ""), ("p50, on to p95", "way"), ("p50", "num"), ("p95", "num")],
                    label="Time to glass, span by span",
                ),
                html.P(id="glass-clocks", className="more"),
            ],
            span="w5",
            to="events",
            empty=hint("Nothing was painted in the last minute. See it flow with", "headrace demo"),
        ),
        card(
            "workers",
            "Workers",
            "processes that gave a sign of life",
            [
                table(
                    "workers",
                    [
                        ("Worker", ""),
                        ("Rate", "num"),
                        ("Batch", "num wide"),
                        ("Busy", "num"),
                        ("Memory", "num wide"),
                        ("Seen", "num"),
                    ],
                    label="Workers",
                ),
                html.P(id="more-workers", className="more"),
            ],
            span="w7",
            to="queues",
            empty=hint("No worker is alive. Start some:", "headrace scorer", "headrace aggregator"),
        ),
        card(
            "server-card",
            "Server",
            "what it says of itself",
            [
                facts(
                    "server",
                    [
                        ("product", "Product"),
                        ("durability", "Durability"),
                        ("memory", "Memory"),
                        ("operations", "Commands/s"),
                        ("clients", "Clients"),
                        ("uptime", "Up for"),
                    ],
                )
            ],
            span="w5",
            to="queues",
        ),
    ]
