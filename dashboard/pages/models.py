"""The models page: for each version its traffic, what it says, how right it is, and what may take its place.

Cards of class `for-classes` are shown for classifiers, those of `for-values` for regressions.
"""

from __future__ import annotations

from typing import Any

from dash import html
from dash.development.base_component import Component

from headrace.dashboard import figures
from headrace.dashboard.layout import Page, card, chart, hint, legend, marks, predictions, table

TILES = (
    ("requests", "Requests", "/s", ""),
    ("p95", "Latency p95", "ms", ""),
    ("accuracy", "Accuracy, 5 min", "%", "for-classes"),
    ("mae", "Mean absolute error", "", "for-values"),
    ("labels", "Labels joined", "", ""),
    ("ece", "Calibration error", "%", "for-classes"),
    ("r2", "R²", "", "for-values"),
    ("heldout", "On held-out rows", "", ""),
)
LABELS_MISSING = "No labels yet: publish prediction.labelled events, and they are joined here. To see it:"
"""What is missing where labels decide."""


def content() -> list[Component]:
    """List, tiles, cards, and the question before something is changed."""
    return [
        html.Div(className="grid", children=[_fleet()]),
        html.Div(className="tiles model-tiles", children=[_tile(*tile) for tile in TILES]),
        html.Div(
            className="grid",
            children=[*_traffic(), *_said(), *_right(), *_values(), *_single(), _versions()],
        ),
        _question(),
    ]


PAGE = Page("models", "/models", "Models", "cube", "What the models in service say, and how right they are", content)


def _fleet() -> html.Section:
    return card(
        "fleet",
        "Models",
        "in service, or with traffic in the last 5 min; accuracy with its 95 % interval",
        [
            table(
                "fleet",
                [
                    ("Model", ""),
                    ("State", "wide"),
                    ("Requests/s", "num"),
                    ("Rows/s", "num wide"),
                    ("p50", "num wide"),
                    ("p95", "num wide"),
                    ("p99", "num wide"),
                    ("Labels", "num wide"),
                    ("Quality", "num"),
                ],
                label="Models",
            ),
            html.P(id="more-fleet", className="more"),
        ],
        span="w12",
        empty=hint("No model is in service. Train and start one:", "headrace models train digits", "headrace scorer"),
    )


def _tile(key: str, name: str, unit: str, kind: str) -> html.Section:
    return html.Section(
        className=f"tile {kind}",
        id=f"brief-{key}",
        **marks(aria_label=name),
        children=[
            html.Div(className="head", children=[html.H2(name)]),
            html.Div(className="value number", children=[html.B("–"), html.Span(unit)]),
            html.Div(className="note number"),
            html.Div(className="spark", **marks(aria_hidden="true")),
        ],
    )


def _traffic() -> list[html.Section]:
    return [
        card(
            "model-rate",
            "Request rate",
            "a second, over 5 s; a request may have many rows",
            [chart("model-rate", figures.over_time(), "Requests and rows a second over time")],
            span="w6",
            aside=[legend("model-rate")],
            empty=hint("No request for this version in this window."),
        ),
        card(
            "model-latency",
            "Latency",
            "milliseconds from request to result, over 30 s",
            [chart("model-latency", figures.times(), "Latency percentiles of the model over time")],
            span="w6",
            aside=[legend("model-latency")],
            empty=hint("Nothing was scored by this version in this window."),
        ),
    ]


def _said() -> list[html.Section]:
    return [
        card(
            "model-mix",
            "Class mix",
            "share of predicted classes over time, each point 30 s",
            [legend("model-mix"), chart("model-mix", figures.shares(), "Share of each predicted class over time")],
            span="w7 for-classes",
            empty=hint("No predictions of classes in this window."),
        ),
        card(
            "model-confidence",
            "Confidence",
            "of predictions, 5 min",
            [
                html.Div(id="sure-bars", className="bars"),
                html.H3("Predicted classes"),
                html.Div(id="class-bars", className="bars classes"),
            ],
            span="w5 for-classes",
            empty=hint("No predictions in the last 5 minutes."),
        ),
    ]


def _right() -> list[html.Section]:
    return [
        card(
            "model-accuracy",
            "Accuracy over time",
            "by 10 s of labels; the band is the 95 % interval (Wilson)",
            [chart("model-accuracy", figures.accuracy(), "Accuracy over time with its interval")],
            span="w7 for-classes",
            aside=[legend("model-accuracy")],
            empty=hint(LABELS_MISSING, "headrace demo"),
        ),
        card(
            "model-reliability",
            "Calibration",
            "how often it is right against how sure it is",
            [
                chart("model-reliability", figures.reliability(), "Share of right predictions by confidence"),
                html.Div(id="bin-bars", className="bars bins", title="Labels by confidence"),
            ],
            span="w5 for-classes",
            aside=[html.Span(id="ece", className="quiet number")],
            empty=hint(LABELS_MISSING, "headrace demo"),
        ),
        card(
            "model-confusion",
            "Confusion matrix",
            "counts since the first label; choose a cell to see more",
            [
                html.Div(id="confusion", className="matrix"),
                html.P(id="cell-said", className="said number", role="status"),
            ],
            span="w5 for-classes",
            empty=hint(LABELS_MISSING, "headrace demo"),
        ),
    ]


def _values() -> list[html.Section]:
    missing = hint(LABELS_MISSING, "headrace demo")
    return [
        card(
            "model-mae",
            "Mean absolute error over time",
            "by 10 s of labels, in the unit of the value; dashed: since the first label",
            [chart("model-mae", figures.over_time(), "Mean absolute error over time")],
            span="w6 for-values",
            empty=missing,
        ),
        card(
            "model-r2",
            "R² over time",
            "each point is the minute before it; dashed: since the first label",
            [chart("model-r2", figures.explained(), "R squared over time")],
            span="w6 for-values",
            empty=missing,
        ),
        card(
            "model-scatter",
            "Predicted against true",
            "the newest labels; on the line it is right",
            [chart("model-scatter", figures.scatter(), "Predicted value against true value")],
            span="w5 for-values",
            aside=[html.Span(id="pairs-shown", className="quiet number")],
            empty=missing,
        ),
    ]


def _single() -> list[html.Section]:
    return [
        card(
            "model-worst",
            "Worst mistakes",
            "of the last minutes that had any",
            [
                table(
                    "worst",
                    [
                        ("Input", "input"),
                        ("Predicted", ""),
                        ("True", ""),
                        ("How sure", "sure"),
                        ("Request", "wide"),
                        ("Age", "num"),
                    ],
                    label="Worst mistakes",
                ),
                html.P(id="more-worst", className="more"),
            ],
            span="w7",
            aside=[html.Button("All cells", id="all-cells", type="button", className="chip", **marks(data_do="cell"))],
            empty=hint("No prediction of this version was wrong, as far as labels tell."),
        ),
        card(
            "model-residuals",
            "Residuals",
            "predicted minus true, since the first label",
            [html.Div(id="residual-bars", className="bars"), html.P(id="residual-said", className="said number")],
            span="w5 for-values",
            empty=hint(LABELS_MISSING, "headrace demo"),
        ),
        card(
            "predictions",
            "Latest predictions",
            "a sample, paced to be readable",
            [predictions()],
            span="w7 latest",
            empty=hint("No prediction of this version lately. With a scorer running, ask for some:", "headrace demo"),
        ),
    ]


def _versions() -> html.Section:
    return card(
        "model-versions",
        "Versions",
        "in the registry, the newest first",
        [
            html.P(id="versions-why", className="why", role="status"),
            table(
                "versions",
                [
                    ("Version", ""),
                    ("State", ""),
                    ("Held-out metrics", ""),
                    ("Stored", "num wide"),
                    ("Algorithm", "wide"),
                    ("Libraries", "wide"),
                    ("File", "num wide"),
                    ("Change", "num"),
                ],
                label="Versions",
            ),
            html.P(id="more-versions", className="more"),
            html.H3("Changes", id="changes-title"),
            html.Ol(id="changes", className="changes"),
        ],
        span="w12",
        aside=[_button("rollback", "Roll back", "rollback")],
        empty=hint("No version is known yet. Train one:", "headrace models train digits"),
    )


def _question() -> Any:
    """Asks before something changes, and says what came of it."""
    return html.Dialog(
        id="sure",
        className="question",
        **marks(aria_labelledby="sure-title"),
        children=[
            html.H2(id="sure-title", children="Change what is in service?"),
            html.P(id="sure-text"),
            html.P(id="sure-outcome", role="status"),
            html.Div(
                className="answers",
                children=[_button("cancel", "Cancel", "sure-cancel"), _button("confirm", "Go on", "sure-go", "strong")],
            ),
        ],
    )


def _button(verb: str, text: str, name: str, kind: str = "") -> html.Button:
    return html.Button(text, id=name, type="button", className=f"button {kind}".rstrip(), **marks(data_do=verb))
