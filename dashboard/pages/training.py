"""The training page: all runs, the curves of those chosen, how they compare, and searches as they try.

The two fields that a reader writes into are made by the script: Dash has no plain ones.
"""

from __future__ import annotations

from collections.abc import Sequence

from dash import html
from dash.development.base_component import Component

from headrace.dashboard.layout import Page, card, hint, marks

STATES = ("all states", "running", "stalled", "finished", "failed", "crashed")
AXES = (("step", "Step"), ("time", "Time"), ("age", "Since start"))
SWITCHES = (
    ("log", "Log axis", "draw values on a logarithmic axis"),
    ("best", "Best so far", "draw the best value up to each step, by the name of the metric: smallest loss or error"),
    ("plain", "No spread", "leave out the band from the smallest to the largest value that a point covers"),
)


def content() -> list[Component]:
    """Table, curves, search, comparison."""
    return [html.Div(className="grid", children=[_runs(), _curves(), _search(), _compare()])]


PAGE = Page("training", "/training", "Training", "curve", "Runs, their curves, and searches as they try", content)


def _runs() -> html.Section:
    return card(
        "runs-card",
        "Runs",
        "tick some to draw and compare them; while none is ticked, those that run now are drawn",
        [
            html.Div(
                id="runs-window",
                className="window",
                tabIndex="0",
                role="region",
                children=html.Table(
                    [
                        html.Thead(html.Tr(id="runs-head")),
                        html.Tbody(id="rows-all-runs"),
                    ]
                ),
                **marks(aria_label="Runs"),
            ),
            html.P(id="runs-shown", className="more number", role="status"),
        ],
        span="w12",
        aside=[
            html.Span(id="runs-filter"),
            _select("runs-state", "state", "State", STATES),
            html.Select(id="runs-metric", className="select", **marks(aria_label="Metric", data_view="metric")),
            html.Button("Untick all", id="untick", type="button", className="button small", **marks(data_do="untick")),
        ],
        empty=hint(
            'No run yet. In your training script: with Run("name") as run: run.log(step=…, loss=…), or',
            "headrace demo",
        ),
    )


def _curves() -> html.Section:
    return card(
        "curves-card",
        "Curves",
        "faint: as logged; strong: smoothed; band: smallest to largest value that a point covers",
        [
            html.Div(
                className="bar-of-controls",
                children=[
                    html.Div(
                        id="metrics",
                        className="chips",
                        role="group",
                        **marks(aria_label="Metrics that are drawn"),
                    ),
                    html.Div(
                        className="choices",
                        children=[
                            _segments("x", AXES, "What the curves are drawn by"),
                            html.Label(
                                [
                                    html.Span("Smoothing"),
                                    html.Span(id="smooth-slider"),
                                    html.Output(id="smooth-shown", className="number"),
                                ],
                                className="slide",
                            ),
                            *(_switch(*switch) for switch in SWITCHES),
                        ],
                    ),
                ],
            ),
            html.Div(id="legend-runs", className="legend left"),
            html.Div(id="plots", className="plots", **marks(data_export="points")),
        ],
        span="w12",
        empty=hint("No curve yet: none of these runs has logged a metric."),
    )


def _search() -> html.Section:
    return card(
        "search-card",
        "Search",
        "candidates as they are judged",
        [
            html.Div(id="search-facts", className="quiet number", role="status"),
            html.Div(
                className="search-grid",
                children=[
                    _picture(
                        "parallel",
                        "Parameters of all candidates",
                        "orange: the best; drag along an axis to pick a span",
                    ),
                    _picture("best-so-far", "Best so far", "each dot one candidate, by number"),
                    _picture("rungs", "Rungs", "each line one candidate, from rung to rung"),
                ],
            ),
            html.Div(
                id="candidates-window",
                className="window low",
                tabIndex="0",
                role="region",
                children=html.Table(
                    [html.Thead(html.Tr(id="candidates-head")), html.Tbody(id="rows-candidates")],
                ),
                **marks(aria_label="Candidates"),
            ),
            html.P(id="candidates-shown", className="more number"),
        ],
        span="w12",
        aside=[
            html.Select(id="search", className="select", **marks(aria_label="Search", data_view="search")),
            html.Select(id="objective", className="select", **marks(aria_label="Judged by", data_view="objective")),
        ],
        empty=hint(
            "No search yet. Say of each candidate how it did: run.candidate(name, params, score=…), or start nested "
            "runs with run.child(name, params).",
        ),
    )


def _compare() -> html.Section:
    return card(
        "compare-card",
        "Side by side",
        "results and parameters of the runs drawn; ≠ marks what differs, ★ the best of a line",
        [
            html.Div(
                className="scroll compare",
                tabIndex="0",
                role="region",
                children=html.Table([html.Thead(html.Tr(id="compare-head")), html.Tbody(id="rows-compare")]),
                **marks(aria_label="Runs side by side"),
            )
        ],
        span="w12",
        aside=[_switch("differ", "Only what differs", "leave out lines that say the same of all runs")],
        empty=hint("Tick two runs or more in the table to see them side by side."),
    )


def _picture(name: str, title: str, about: str) -> html.Div:
    return html.Div(
        id=f"box-{name}",
        className="picture-box",
        children=[
            html.H3([title, html.Small(about)]),
            html.Div(id=name, className="plot", role="img", **marks(aria_label=f"{title}: {about}")),
        ],
    )


def _select(name: str, view: str, label: str, options: Sequence[str]) -> html.Select:
    return html.Select(
        [html.Option(text, value="" if not place else text) for place, text in enumerate(options)],
        id=name,
        className="select",
        **marks(aria_label=label, data_view=view),
    )


def _segments(view: str, options: Sequence[tuple[str, str]], label: str) -> html.Div:
    return html.Div(
        id=f"choose-{view}",
        className="segments small",
        role="group",
        children=[
            html.Button(
                text, type="button", **marks(data_do="choose", data_name=view, data_value=value, aria_pressed="false")
            )
            for value, text in options
        ],
        **marks(aria_label=label),
    )


def _switch(view: str, text: str, title: str) -> html.Button:
    return html.Button(
        text,
        id=f"switch-{view}",
        type="button",
        className="switch",
        title=title,
        **marks(data_do="switch", data_value=view, aria_pressed="false"),
    )
