"""A page as one file that opens without a server: layout, styles, scripts, Plotly, and what it showed. Pure.

The very same scripts draw it, from the same messages that the live endpoint sends; assets/frozen.js stands in for the
connection. The file may load nothing: its policy forbids it. What comes from events is data in it, never markup.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from importlib import resources
from typing import Any

import msgspec
from dash.development.base_component import Component

from headrace.dashboard.layout import DESCRIPTION, Page, header
from headrace.errors import HeadraceError

MOST_BYTES = 16 * 1024 * 1024
"""Most that a snapshot may weigh; about 5 MB of it are the scripts."""
LEFT_OUT = ("session.js", "sign-in.js", "sign-in.css")
"""Assets that have no sense without a server."""
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
SECRET = ("server", "prefix")
"""Fields of the status that say where the server is: a report may go anywhere."""
VOID = frozenset({"img", "input", "br", "hr", "meta", "link", "source", "wbr", "col"})
ATTRIBUTES = {
    "className": "class",
    "htmlFor": "for",
    "tabIndex": "tabindex",
    "colSpan": "colspan",
    "rowSpan": "rowspan",
}


class SnapshotError(HeadraceError):
    """A snapshot would be too large; the text says how to make it smaller."""


class Columns(msgspec.Struct):
    """One tier as it is sent."""

    step_s: float
    span_s: float
    times: list[float]
    values: dict[str, list[float | None]]


class Past(msgspec.Struct):
    """What a browser that knows nothing is sent; only the tiers are cut."""

    tiers: list[Columns]
    curves: msgspec.Raw
    limit: int
    tail: msgspec.Raw
    truths: msgspec.Raw


def document(
    page: Page,
    message: Mapping[str, Any],
    view: Mapping[str, str],
    *,
    seconds: int,
    taken: float,
) -> bytes:
    """The file. `message` is one of the live endpoint with `at`, `past` and `sections`, `taken` the Unix time now.

    Raises SnapshotError if it would be larger than MOST_BYTES.
    """
    at = message["at"] / 1000
    frozen = msgspec.json.encode({"message": message, "view": {**view, "window": str(seconds)}})
    if len(frozen) + len(scripts()) > MOST_BYTES:
        raise SnapshotError(
            f"what is shown weighs {len(frozen) / 1e6:.1f} MB, more than a snapshot may; "
            "choose fewer seconds, runs or letters"
        )
    about = (
        f"headrace · {page.title} · {seconds} s up to {_utc(at)} · taken {_utc(taken)} · "
        f"{(len(frozen) + len(scripts()) + len(styles())) / 1e6:.1f} MB, nothing is loaded from anywhere"
    )
    return b"".join(
        (
            b'<!DOCTYPE html>\n<html lang="en" class="frozen">\n<head>\n<meta charset="utf-8">\n',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'.encode(),
            b'<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            b'<meta name="color-scheme" content="dark light">\n<meta name="referrer" content="no-referrer">\n',
            f"<title>{html.escape(page.title)} · {_utc(at)} · headrace</title>\n".encode(),
            b"<style>",
            styles().encode(),
            b"</style>\n</head>\n<body>\n",
            _shell(page, about).encode(),
            b'\n<script type="application/json" id="frozen">',
            escaped(frozen),
            b"</script>\n<script>",
            scripts().encode(),
            b"</script>\n</body>\n</html>\n",
        )
    )


def cut(past: bytes, seconds: float, at: float) -> msgspec.Raw:
    """The history of a message with what lies before the window left out, and one step more on its left."""
    found = msgspec.json.decode(past, type=Past)
    for tier in found.tiers:
        first = next(
            (i for i, time in enumerate(tier.times) if time >= at - seconds - max(tier.step_s, 1)), len(tier.times)
        )
        tier.times = tier.times[first:]
        tier.values = {name: column[first:] for name, column in tier.values.items()}
    return msgspec.Raw(msgspec.json.encode(found))


def without_secrets(status: bytes) -> msgspec.Raw:
    """The status without where the server is."""
    found = msgspec.json.decode(status)
    return msgspec.Raw(msgspec.json.encode({**found, **dict.fromkeys(SECRET, "")}))


def escaped(data: bytes) -> bytes:
    """JSON that may stand in a script element: nothing in it can end the element or begin a comment."""
    return data.replace(b"<", b"\\u003c").replace(b">", b"\\u003e").replace(b"&", b"\\u0026")


def markup(part: Any) -> str:
    """A layout as HTML: elements as they are, charts as what frozen.js makes charts of, links as text."""
    if part is None or isinstance(part, bool):
        return ""
    if isinstance(part, (list, tuple)):
        return "".join(map(markup, part))
    if not isinstance(part, Component):
        return html.escape(str(part))
    given: dict[str, Any] = part.to_plotly_json()  # type: ignore[no-untyped-call]
    properties = dict(given["props"])
    kind, space = given["type"], given["namespace"]
    children = properties.pop("children", None)
    if kind == "Graph":
        figure = {"data": [], "layout": {}, **dict(properties["figure"]), "config": properties.get("config", {})}
        return (
            f'<div id="{html.escape(str(properties["id"]))}" class="dash-graph {properties.get("className", "")}" '
            f'data-figure="{html.escape(json.dumps(figure))}"><div style="width:100%;height:100%"></div></div>'
        )
    if space != "dash_html_components":
        return _control(kind, properties) or markup(children)
    name = kind.lower()
    text = "".join(_attributes(properties))
    return f"<{name}{text}>" if name in VOID else f"<{name}{text}>{markup(children)}</{name}>"


def _control(kind: str, properties: Mapping[str, Any]) -> str:
    """A control of Dash stands there for its looks: its place, and what it holds."""
    kept = {
        name: properties[name] for name in ("id", "className", "type", "placeholder", "value") if name in properties
    }
    dashed = {name: value for name, value in properties.items() if name.startswith(("data-", "aria-"))}
    return f"<input{''.join(_attributes({**kept, **dashed}))}>" if kind == "Input" else ""


def _attributes(properties: Mapping[str, Any]) -> Iterable[str]:
    for name, value in properties.items():
        if value is None or value is False or name in ("n_clicks", "href", "src", "action"):
            continue
        shown = ";".join(f"{_dashed(key)}:{one}" for key, one in value.items()) if name == "style" else str(value)
        written = ATTRIBUTES.get(name, name if "-" in name else name.lower())
        yield f" {written}" if value is True else f' {written}="{html.escape(shown)}"'


def _dashed(name: str) -> str:
    return name if name.startswith("--") else "".join(f"-{c.lower()}" if c.isupper() else c for c in name)


def _shell(page: Page, about: str) -> str:
    return (
        f'<div class="shell"><main>{markup(header())}<p class="about-snapshot">{html.escape(about)}</p>'
        f'<div id="content">{markup(page.root())}</div></main><aside class="side"><nav id="nav"></nav>'
        f"<dl>{''.join(f'<dd id=connection-{key}></dd>' for key in ('age', 'trip', 'skipped', 'viewers'))}</dl></aside>"
        f'<div id="said" class="unseen" role="status" aria-live="polite"></div></div>'
        f"<noscript>{html.escape(DESCRIPTION)}: please allow scripts.</noscript>"
    )


@lru_cache(maxsize=1)
def scripts() -> str:
    """Plotly and all scripts of the pages, in the order in which Dash brings them."""
    plotly = (resources.files("plotly") / "package_data" / "plotly.min.js").read_text("utf-8")
    parts = [plotly, *_assets(".js")]
    return ";\n".join(part.replace("</script", "<\\/script").replace("<!--", "<\\!--") for part in parts)


@lru_cache(maxsize=1)
def styles() -> str:
    """All style sheets of the pages."""
    return "\n".join(_assets(".css")).replace("</style", "<\\/style")


def _assets(suffix: str) -> list[str]:
    folder = resources.files("headrace.dashboard") / "assets"
    found = sorted((one for one in folder.iterdir() if one.name.endswith(suffix)), key=lambda one: one.name)
    return [one.read_text("utf-8") for one in found if one.name not in LEFT_OUT]


def _utc(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
