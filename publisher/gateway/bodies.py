"""Bodies of requests and answers: their shapes, and reading them without trusting their size."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta
from starlette.requests import Request

from headrace.publisher.gateway.problems import Problem
from headrace.publisher.predictions import Result

DEADLINE_MS = 10_000
DEADLINE_LIMIT_MS = 60_000

T = TypeVar("T")


class PredictBody(msgspec.Struct, forbid_unknown_fields=True):
    """Rows to score, and how long to wait for their result."""

    rows: Annotated[list[list[float | None]], Meta(description="Numbers, row by row; null is a missing value.")]
    version: Annotated[int, Meta(ge=0, description="Version of the model; 0 = the one in service.")] = 0
    label: Annotated[bool, Meta(description="Whether labels will follow: the prediction is then kept to compare.")] = (
        False
    )
    deadline_ms: Annotated[
        int, Meta(ge=1, le=DEADLINE_LIMIT_MS, description="How long to wait before 202 is answered.")
    ] = DEADLINE_MS


class LabelBody(msgspec.Struct, forbid_unknown_fields=True):
    """The truth about a prediction."""

    labels: Annotated[
        list[str | int | float],
        Meta(min_length=1, description="One a row: a class name, a class index, or the true value."),
    ]


class Scored(msgspec.Struct, omit_defaults=True):
    """A result, with one entry a row. A classifier gives labels and probabilities, a regressor gives values."""

    id: str
    status: str
    model: str
    version: int
    labels: Annotated[
        list[str | int] | None, Meta(description="Class names, or class indices where the model has no names.")
    ] = None
    probabilities: Annotated[list[list[float]] | None, Meta(description="One value a class.")] = None
    values: list[float] | None = None


class Queued(msgspec.Struct):
    """A request that is in the log and has no result yet; ask for it again under its id."""

    id: str
    status: str = "queued"


def scored(result: Result) -> bytes:
    """The answer for a result. What is not a finite number becomes null."""
    labels: Any = result.labels
    answer = Scored(
        id=result.handle,
        status="scored",
        model=result.model,
        version=result.version,
        labels=labels,
        probabilities=result.probabilities,
        values=result.values,
    )
    return msgspec.json.encode(answer)


async def read_body(request: Request, limit_bytes: int) -> bytes:
    """The whole body. Raises Problem 413 as soon as it is known to be too large, before the rest of it is read."""
    stated = request.headers.get("content-length", "")
    if stated.isdigit() and int(stated) > limit_bytes:
        raise too_large(limit_bytes)
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit_bytes:
            raise too_large(limit_bytes)
        parts.append(part)
    return b"".join(parts)


def parsed(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """The body as its shape says. Raises Problem 400 with the place and the reason."""
    fix = "See /docs for the shape of the body."
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem(400, "invalid", f"the body does not fit: {error}", fix) from None
    except RecursionError:
        raise Problem(400, "invalid", "the body is nested too deep", fix) from None


def too_large(limit_bytes: int) -> Problem:
    return Problem(
        413,
        "too_large",
        f"the body is larger than {limit_bytes} bytes",
        "Send it in parts, or raise HEADRACE_EVENT_LIMIT_BYTES.",
    )


def schema(kinds: tuple[type, ...]) -> dict[str, Any]:
    """JSON schemas of the shapes by name, for the OpenAPI document."""
    return msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")[1]
