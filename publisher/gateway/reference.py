"""The OpenAPI document, made from the routes and the shapes of the bodies, and a page that shows it.

The page is one file without scripts: it loads nothing from anywhere, so it works behind any firewall.
"""

from __future__ import annotations

import json
from html import escape
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from headrace.publisher.gateway.bodies import schema

ABOUT = (
    "Publish events, ask models for predictions and wait for the result, over HTTP. Every answer that is not a success "
    'is JSON of one shape: `{"error": {"code", "reason", "fix"}}`. 503 carries Retry-After: the same request may be '
    "sent again. A gateway that has a token wants it in every request, as `Authorization: Bearer TOKEN`."
)
HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
"""What the page may do: show itself."""
Document = dict[str, Any]

_RUN = {"type": "run.metrics", "run": "r1", "step": 10, "metrics": {"loss": 0.41}}
_EVENT = {"type": "object", "required": ["type"], "properties": {"type": {"type": "string"}}}
_MANY = {"oneOf": [_EVENT, {"type": "array", "items": _EVENT}]}
EVENTS: Document = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": _MANY, "example": [_RUN]},
            "application/x-ndjson": {"schema": {"type": "string"}, "example": json.dumps(_RUN) + "\n"},
        },
    },
    "parameters": [
        {
            "name": name,
            "in": place,
            "required": False,
            "description": "A channel of your own for all events of the body.",
            "schema": {"type": "string"},
        }
        for name, place in (("channel", "query"), ("headrace-channel", "header"))
    ],
}
"""What `POST /v1/events` takes."""


def shape(kind: type, text: str) -> Document:
    """What a route answers with: a JSON body of that kind."""
    return {"description": text, "content": {"application/json": {"schema": _ref(kind)}}}


def taking(kind: type, example: Document) -> Document:
    """What a route takes: a JSON body of that kind."""
    content = {"application/json": {"schema": _ref(kind), "example": example}}
    return {"requestBody": {"required": True, "content": content}}


def document(app: FastAPI, kinds: tuple[type, ...]) -> Document:
    """The OpenAPI document of the app; `kinds` are the shapes that its routes refer to."""
    made = get_openapi(title="headrace gateway", version=version("headrace"), description=ABOUT, routes=app.routes)
    made.setdefault("components", {})["schemas"] = schema(kinds)
    made["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    made["security"] = [{}, {"token": []}]
    for methods in made["paths"].values():
        for operation in methods.values():
            # The framework's own shape of a refused parameter; here all parameters are text, so that never happens.
            if "HTTPValidationError" in json.dumps(operation["responses"].get("422", {})):
                del operation["responses"]["422"]
    return made


def page(made: Document) -> str:
    """The document as one HTML page."""
    css = (files("headrace.publisher.gateway") / "assets" / "reference.css").read_text()
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>{escape(made['info']['title'])}</title><style>{css}</style></head><body>",
        f"<h1>{escape(made['info']['title'])} {escape(made['info']['version'])}</h1>",
        f"<p>{_prose(made['info']['description'])}</p>",
        '<p>As a document for generators of clients: <a href="openapi.json">openapi.json</a>.</p>',
    ]
    for path, methods in made["paths"].items():
        for method, operation in methods.items():
            parts += _operation(made, path, method, operation)
    return "".join([*parts, "</body></html>"])


def _operation(made: Document, path: str, method: str, operation: Document) -> list[str]:
    parts = [
        f"<h2><b>{method.upper()}</b> <code>{escape(path)}</code></h2><p>{escape(operation.get('summary', ''))}</p>",
        f"<p>{_prose(operation.get('description', ''))}</p>",
    ]
    parameters = [(p["name"], f"{p['in']}: {p.get('description', '')}") for p in operation.get("parameters", [])]
    parts += _table("Parameters", parameters)
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        parts.append(f"<h3>Body, {escape(kind)}</h3>")
        parts += _table("", _fields(made, content.get("schema", {})))
        if "example" in content:
            parts.append(f"<pre>{escape(_shown(content['example']))}</pre>")
    answers = [(status, said.get("description", "")) for status, said in sorted(operation["responses"].items())]
    return parts + _table("Answers", answers)


def _fields(made: Document, found: Document) -> list[tuple[str, str]]:
    target = made["components"]["schemas"].get(found.get("$ref", "").rpartition("/")[2], {})
    rows = []
    for name, field in target.get("properties", {}).items():
        default = f" Default {json.dumps(field['default'])}." if "default" in field else " Required."
        rows.append((name, f"{field.get('description', field.get('type', ''))}{default}"))
    return rows


def _table(title: str, rows: list[tuple[str, str]]) -> list[str]:
    if not rows:
        return []
    lines = "".join(f"<tr><td><code>{escape(name)}</code></td><td>{_prose(text)}</td></tr>" for name, text in rows)
    heading = f"<h3>{escape(title)}</h3>" if title else ""
    return [f"{heading}<table>{lines}</table>"]


def _prose(text: str) -> str:
    """Escaped text, with what stands between backticks as code."""
    parts = escape(text).split("`")
    return "".join(part if index % 2 == 0 else f"<code>{part}</code>" for index, part in enumerate(parts))


def _shown(example: Any) -> str:
    return example if isinstance(example, str) else json.dumps(example)


def _ref(kind: type) -> Document:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}
