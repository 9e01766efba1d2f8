"""The page of dead letters: why entries died, the letters with their payload, and what was done about them.

The field that a reader writes into is made by the script: Dash has no plain ones.
"""

from __future__ import annotations

from dash import html
from dash.development.base_component import Component

from headrace.dashboard.layout import Page, card, hint, marks, table


def content() -> list[Component]:
    """Reasons, history, letters, and the question before anything is done."""
    return [html.Div(className="grid", children=[_reasons(), _history(), _letters()]), _question()]


PAGE = Page(
    "dead", "/dead", "Dead letters", "box", "Entries that nobody could process, and what to do with them", content
)


def _reasons() -> html.Section:
    return card(
        "reasons-card",
        "Reasons",
        "letters that wait for a decision; press one to see only its letters",
        [html.Ul(id="reasons", className="reasons"), html.P(id="reasons-more", className="more number")],
        span="w7",
        empty=hint("No dead letter waits."),
    )


def _history() -> html.Section:
    return card(
        "history-card",
        "What was done",
        "every requeue and discard, as the log of actions has it",
        [html.Ol(id="history", className="history")],
        span="w5",
        empty=hint("Nothing was requeued or discarded yet."),
    )


def _letters() -> html.Section:
    return card(
        "letters-card",
        "Dead letters",
        "newest first",
        [
            html.Div(
                className="letters-bar",
                children=[
                    html.Select(
                        id="dead-channel", className="select", **marks(aria_label="Channel", data_view="channel")
                    ),
                    html.Select(id="dead-group", className="select", **marks(aria_label="Group", data_view="group")),
                    html.Span(id="dead-text"),
                    html.Button(
                        "With those done",
                        id="dead-done",
                        type="button",
                        className="button small",
                        title="Show also letters that were requeued or discarded",
                        **marks(data_do="done", aria_pressed="false"),
                    ),
                    html.Button(
                        "Clear filter",
                        id="dead-clear",
                        type="button",
                        className="button small",
                        hidden=True,
                        **marks(data_do="clear"),
                    ),
                    html.Span(className="gap"),
                    *(
                        html.Button(
                            text,
                            id=f"dead-{action}-all",
                            type="button",
                            className="button small",
                            disabled=True,
                            **marks(data_do=f"{action}-all", data_needs="operator"),
                        )
                        for action, text in (("requeue", "Requeue all"), ("discard", "Discard all"))
                    ),
                ],
            ),
            html.P(id="dead-said", className="said", role="status"),
            html.Div(id="letters-table", children=table("letters", COLUMNS, label="Dead letters")),
            html.Div(
                className="letters-foot",
                children=[
                    html.P(id="dead-shown", className="more number"),
                    html.Button(
                        "Newest",
                        id="dead-newest",
                        type="button",
                        className="button small",
                        hidden=True,
                        **marks(data_do="newest"),
                    ),
                    html.Button(
                        "Older",
                        id="dead-older",
                        type="button",
                        className="button small",
                        hidden=True,
                        **marks(data_do="older"),
                    ),
                ],
            ),
        ],
        span="w12",
        empty=hint("No dead letters: every entry was processed. What cannot be will be listed here."),
    )


COLUMNS = (
    ("Died", "age"),
    ("Reason", "reason"),
    ("Channel", "wide"),
    ("Group", "wide"),
    ("Attempts", "num wide"),
    ("Worker", "wide"),
    ("Payload", "payload"),
    ("", "acts"),
)


def _question() -> html.Dialog:
    return html.Dialog(
        id="question",
        className="question",
        children=[
            html.H2(id="question-title"),
            html.Ul(id="question-text"),
            html.Div(
                className="answers",
                children=[
                    html.Button("Cancel", type="button", className="button", **marks(data_do="cancel")),
                    html.Button(
                        "Requeue",
                        id="question-yes",
                        type="button",
                        className="button strong",
                        **marks(data_do="confirm"),
                    ),
                ],
            ),
        ],
        **marks(aria_labelledby="question-title"),
    )
