"""The frame around every page: navigation, header with the controls, cards; and how Dash is set up.

Everything here is still: the scripts in assets/ write the numbers into elements that they find by id. What a control
does is written in its `data-do`, so that a page can be left and come back to without anything being wired again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dash import Dash, Input, Output, dcc, html
from dash.development.base_component import Component
from fastapi import FastAPI

from headrace.dashboard import figures
from headrace.settings import Settings

DESCRIPTION = "Live view of the events, the models in service and the trainings of headrace"
SPANS = (("15 min", 900), ("2 h", 7_200), ("24 h", 86_400))
"""What the time bar may span; dashboard/span.py makes it."""
WINDOWS = (("1 m", 60), ("5 m", 300), ("15 m", 900))

THEME_SCRIPT = """
/* Before the first paint, so that no page flashes in the other theme. */
try {
  const chosen = localStorage.getItem("headrace.theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
} catch { /* storage is off: the system decides */ }
"""
INDEX = """<!DOCTYPE html>
<html lang="en">
<head>
{%metas%}
<title>{%title%}</title>
<link rel="icon" type="image/svg+xml" href="PREFIXassets/mark.svg">
<script>THEME</script>
{%css%}
</head>
<body>
{%app_entry%}
<noscript>headrace draws its pages in the browser: please allow scripts.</noscript>
<footer hidden>{%config%}{%scripts%}{%renderer%}</footer>
</body>
</html>"""


@dataclass(frozen=True, slots=True)
class Page:
    """One page: `name` is that of its script and style sheet in assets/, `path` its place in the address."""

    name: str
    path: str
    title: str
    icon: str
    about: str
    content: Callable[[], Sequence[Component]]

    def root(self) -> html.Div:
        """The page without a single number; assets/main.js finds it by `data-page`."""
        return html.Div(
            id=f"page-{self.name}",
            className="page",
            children=list(self.content()),
            **marks(data_page=self.name, data_title=self.title, data_about=self.about),
        )


def add_pages(server: FastAPI, settings: Settings, prefix: str = "") -> Dash:
    """Put the pages on the server. `prefix` is the path under which a proxy serves it, such as `/headrace`."""
    from headrace.dashboard.pages import PAGES

    given: Any = server
    app = Dash(
        "headrace.dashboard",
        server=given,
        title="headrace",
        update_title="",
        description=DESCRIPTION,
        index_string=INDEX.replace("PREFIX", f"{prefix}/").replace("THEME", THEME_SCRIPT),
        assets_ignore=r"sign-in\.",
        meta_tags=[
            {"name": "viewport", "content": "width=device-width, initial-scale=1"},
            {"name": "color-scheme", "content": "dark light"},
        ],
        requests_pathname_prefix=f"{prefix}/",
        routes_pathname_prefix="/",
        add_log_handler=False,
    )
    app.layout = lambda: shell(settings, PAGES, prefix)
    by_path = {page.path: page for page in PAGES}

    @app.callback(Output("content", "children"), Input("address", "pathname"))
    async def show(pathname: str | None) -> Component:
        path = (pathname or "/").removeprefix(prefix).rstrip("/") or "/"
        return by_path[path].root() if path in by_path else _nowhere(path, prefix)

    return app


def shell(settings: Settings, pages: Sequence[Page], prefix: str) -> html.Div:
    """What stays when the page changes: navigation, title, controls."""
    return html.Div(
        className="shell",
        children=[
            dcc.Location(id="address", refresh="callback-nav"),
            html.A("Skip to the numbers", href="#content", className="skip"),
            html.Aside(
                className="side",
                children=[
                    html.Div(
                        className="brand",
                        children=[
                            html.Img(src=f"{prefix}/assets/mark.svg", width=34, height=34, alt=""),
                            html.Div([html.B("headrace"), html.Span(settings.prefix, title="prefix of all keys")]),
                        ],
                    ),
                    html.Nav(
                        id="nav",
                        children=[
                            dcc.Link([icon(page.icon), page.title], href=f"{prefix}{page.path}", id=f"to-{page.name}")
                            for page in pages
                        ],
                        **marks(aria_label="Pages"),
                    ),
                    facts(
                        "connection",
                        [
                            ("age", "Newest data"),
                            ("trip", "Round trip"),
                            ("skipped", "Frames skipped"),
                            ("viewers", "Viewers"),
                        ],
                    ),
                    html.Div(id="session"),
                ],
            ),
            html.Main([header(), html.Div(id="content", tabIndex="-1")]),
            html.Div(id="said", className="unseen", role="status", **marks(aria_live="polite")),
        ],
    )


def _nowhere(path: str, prefix: str) -> Component:
    return html.Div(
        className="page nowhere",
        children=[html.H2("There is no such page"), html.P(path), dcc.Link("To the overview", href=f"{prefix}/")],
        **marks(data_page="nowhere", data_title="Not found", data_about="", data_path=path),
    )


def header() -> html.Header:
    """Title of the page, how live it is, and the controls; `tools` is where parts of the page put theirs."""
    return html.Header(
        className="top",
        children=[
            html.Div([html.H1("headrace", id="title"), html.P(id="subtitle", children=DESCRIPTION)]),
            html.Div(
                className="controls",
                children=[
                    html.Div(
                        id="pill",
                        className="pill",
                        title="How old the newest data is",
                        children=[html.I(), html.B("connecting"), html.Span(className="number")],
                        **marks(data_state="connecting"),
                    ),
                    html.Div(
                        className="segments",
                        role="group",
                        **marks(aria_label="Window of time"),
                        children=[
                            html.Button(
                                text,
                                type="button",
                                **marks(data_do="window", data_value=str(s), aria_pressed="false"),
                            )
                            for text, s in WINDOWS
                        ],
                    ),
                    html.Button(
                        [icon("pause"), html.Span("Pause")],
                        id="pause",
                        type="button",
                        className="button",
                        **marks(data_do="pause", aria_pressed="false"),
                    ),
                    html.Div(
                        html.Button(
                            [icon("camera"), html.Span("Snapshot")],
                            id="snapshot",
                            type="button",
                            className="button square",
                            title="Save what is shown as one page that opens without a server",
                            **marks(data_do="snapshot", aria_label="Save a snapshot"),
                        ),
                        id="tools",
                        className="tools",
                    ),
                    html.Button(
                        [icon("theme")],
                        id="theme",
                        type="button",
                        className="button square",
                        title="Switch between dark and light",
                        **marks(data_do="theme", aria_label="Switch between dark and light"),
                    ),
                ],
            ),
            time_bar(),
        ],
    )


def time_bar() -> html.Div:
    """The slider over the time that is kept; assets/time.js draws it."""
    parts = ("flowed", "gaps", "marks", "band", "cursor")
    return html.Div(
        id="time",
        className="time",
        **marks(data_moment="live"),
        children=[
            html.Select(
                id="time-span",
                className="select",
                children=[html.Option(text, value=str(s)) for text, s in SPANS],
                **marks(aria_label="Span of the time bar"),
            ),
            html.Div(
                id="time-track",
                className="track",
                role="slider",
                tabIndex="0",
                children=[
                    *(html.Div(className=part, **marks(aria_hidden="true")) for part in parts),
                    html.Span(className="bubble number", hidden=True, **marks(aria_hidden="true")),
                    html.Span(id="time-begin", className="edge number", **marks(aria_hidden="true")),
                ],
                **marks(aria_label="Moment shown", aria_valuetext="live", aria_valuenow="0"),
            ),
            html.Button(
                [html.I(**marks(aria_hidden="true")), html.Span("Live")],
                id="time-live",
                type="button",
                className="button live",
                title="Show the present",
                **marks(data_do="live", aria_pressed="true"),
            ),
            html.Div(
                id="time-note",
                className="note-of-time",
                role="status",
                hidden=True,
                children=[
                    html.Span(),
                    html.Button(
                        "To the oldest moment",
                        type="button",
                        className="button",
                        hidden=True,
                        **marks(data_do="travel"),
                    ),
                ],
            ),
        ],
    )


def marks(**values: str) -> dict[str, Any]:
    """Attributes with a dash in their name: `marks(aria_label="x")`."""
    return {name.replace("_", "-"): value for name, value in values.items()}


def icon(name: str) -> html.I:
    """A sign from the style sheet; never the only carrier of a meaning."""
    return html.I(className=f"icon {name}", **marks(aria_hidden="true"))


def card(
    name: str,
    title: str,
    subtitle: str,
    children: Sequence[Any],
    *,
    span: str = "",
    aside: Sequence[Any] = (),
    empty: Sequence[Any] = (),
    to: str = "",
) -> html.Section:
    """A titled box with the id `name`. `span` is its width class; `empty` is shown while `data-empty` is set.

    `to` is the page that tells more: the title leads there (assets/links.js may add choices to its address).
    """
    return html.Section(
        id=name,
        className=f"card {span}",
        **marks(aria_labelledby=f"title-{name}"),
        children=[
            html.Div(
                className="head",
                children=[
                    html.Div([html.H2(link(title, to) if to else title, id=f"title-{name}"), html.P(subtitle)]),
                    html.Div(className="aside", children=list(aside)),
                ],
            ),
            html.Div(className="body", children=list(children)),
            *([html.Div(className="empty", children=list(empty))] if empty else []),
        ],
    )


def link(text: str, to: str) -> html.A:
    """Leads to another page: `to` is its path without the slash."""
    return html.A(text, href=to or ".", className="to", **marks(data_go=to))


def hint(text: str, *commands: str) -> list[Any]:
    """An honest empty state: what is missing, and what to run next."""
    return [html.P(text), *(html.Code(command) for command in commands)]


def chart(name: str, figure: figures.Figure, label: str) -> html.Div:
    """A Plotly chart whose lines come from the browser's store."""
    return html.Div(
        dcc.Graph(id=f"chart-{name}", figure=figure, config=figures.CONFIG, className="chart", responsive=True),
        role="img",
        className="frame",
        **marks(aria_label=label),
    )


def legend(name: str) -> html.Div:
    """Where the names of a chart's lines go; a click hides a line."""
    return html.Div(id=f"legend-{name}", className="legend")


def facts(name: str, lines: Sequence[tuple[str, str]]) -> html.Dl:
    """Names and values, one a line; the value of `key` has the id NAME-KEY."""
    return html.Dl(
        className="facts",
        id=name,
        children=[
            html.Div([html.Dt(text), html.Dd("–", id=f"{name}-{key}", className="number")]) for key, text in lines
        ],
    )


def table(name: str, columns: Sequence[tuple[str, str]], *, label: str) -> html.Div:
    """An empty table; columns are (heading, classes), `num` aligns right, `wide` is left out on a phone."""
    return html.Div(
        className="scroll",
        tabIndex="0",
        role="region",
        **marks(aria_label=label),
        children=html.Table(
            [
                html.Thead(html.Tr([html.Th(text, className=kind, scope="col") for text, kind in columns])),
                html.Tbody(id=f"rows-{name}"),
            ]
        ),
    )


def predictions() -> html.Div:
    """The table of the latest predictions, which assets/tables.js fills."""
    return table(
        "predictions",
        [
            ("Input", "input"),
            ("Predicted", ""),
            ("Confidence", ""),
            ("True", ""),
            ("Model", "wide"),
            ("Latency", "num wide"),
            ("Age", "num wide"),
        ],
        label="Latest predictions",
    )
