"""Moments that programs ask for, and what the time bar shows. Reads only.

GET /api/frame               the newest frame
GET /api/frame?at=MS         the newest frame at or before a moment, Unix milliseconds
GET /api/span?seconds=900    how far back the logs go, and what was in that time; 900, 7200 or 86400
"""

from __future__ import annotations

import time

import msgspec
from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse

from headrace.dashboard.feed import Feed
from headrace.dashboard.past import LATEST_MS, Archive, PastError
from headrace.dashboard.span import SPANS, Spans
from headrace.errors import HeadraceError


def add_routes(app: FastAPI, feed: Feed, archive: Archive) -> None:
    """Put the endpoints on the server."""
    spans = Spans(feed)

    @app.get("/api/frame")
    async def frame(at: str = "") -> Response:
        if at:
            return await frame_at(archive, at)
        newest = feed.state.frame
        if newest is None:
            return JSONResponse({"reason": "no frame yet; start an aggregator with `headrace aggregator`"}, 503)
        return answer(newest)

    @app.get("/api/span")
    async def span(seconds: str = str(SPANS[0])) -> Response:
        if seconds not in map(str, SPANS):
            return problem(400, f"seconds={seconds} is not one of {', '.join(map(str, SPANS))}")
        try:
            return answer(await spans.span(int(seconds), time.time()))
        except HeadraceError as error:
            return problem(503, str(error))


async def frame_at(archive: Archive, at: str) -> Response:
    """The frame of a moment, or why there is none."""
    if (moment := moment_of(at)) is None:
        return problem(400, f"at={at[:40]} is no moment: give Unix milliseconds, such as at=1763800000000")
    try:
        return answer((await archive.record.newest(moment)).frame)
    except PastError as error:
        return problem(404, str(error), oldest=error.oldest_ms)
    except HeadraceError as error:
        return problem(503, str(error))


def moment_of(text: str) -> int | None:
    """Unix milliseconds from an address; None if it is no such number."""
    return int(text) if text.isascii() and text.isdigit() and int(text) < LATEST_MS else None


def answer(found: msgspec.Struct) -> Response:
    return Response(msgspec.json.encode(found), media_type="application/json")


def problem(status: int, text: str, **more: object) -> Response:
    """A refusal that says what to do."""
    return JSONResponse({"error": text, **more}, status)
