"""A page as one file, to attach to a report.

GET /api/snapshot?page=overview&seconds=300&at=MS&show=SECTION&view=model%3Ddigits%403

`at` is the moment, Unix milliseconds (the newest frame's if left out), `seconds` the window of time before it, `show`
the sections wanted (all that the page may need if left out), `view` what was chosen on the page, as in its address.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import parse_qsl

import msgspec
from fastapi import FastAPI, Query, Response

from headrace.dashboard import snapshot
from headrace.dashboard.api.dead import carried
from headrace.dashboard.api.past import moment_of, problem
from headrace.dashboard.feed import Feed
from headrace.dashboard.past import Archive, PastError
from headrace.dashboard.sections import MAKERS, Sections
from headrace.dashboard.sections.rows import key_of, models_of
from headrace.dashboard.socket import MOST_SECTIONS
from headrace.dashboard.state import State
from headrace.dashboard.trails import TIERS
from headrace.errors import HeadraceError

SECONDS = (10, 900)
"""Least and most seconds of a window."""
MODELS = 3
"""Model versions whose sections are in a snapshot that names none."""
CHOICES = 64
ABOUT_ONE = ("model", "quality", "trail")
"""Words of sections that are about one model version."""


def add_routes(app: FastAPI, feed: Feed, archive: Archive) -> None:
    """Put the endpoint on the server."""
    from headrace.dashboard.pages import PAGES

    pages = {page.name: page for page in PAGES}

    @app.get("/api/snapshot")
    async def taken(
        page: str = "overview",
        seconds: str = "300",
        at: str = "",
        view: str = "",
        show: Annotated[Sequence[str] | None, Query()] = None,
    ) -> Response:
        if page not in pages:
            return problem(400, f"there is no page {page[:40]!r}; choose one of {', '.join(pages)}")
        if not seconds.isdigit() or not SECONDS[0] <= int(seconds[:6]) <= SECONDS[1]:
            return problem(400, f"seconds={seconds[:40]} is no window: give {SECONDS[0]} to {SECONDS[1]}")
        moment = moment_of(at) if at else None
        if at and moment is None:
            return problem(400, f"at={at[:40]} is no moment: give Unix milliseconds, such as at=1763800000000")
        try:
            if moment is None and feed.state.frame is None:
                return problem(503, "no frame yet; start an aggregator with `headrace aggregator`")
            earlier = await archive.at(feed.state.position.ms if moment is None else moment)
            chosen = dict(parse_qsl(view[:2000])[:CHOICES])
            wanted = list(show or every(earlier.state, page, int(seconds), chosen.get("model", "")))[:MOST_SECTIONS]
            await earlier.look(wanted)
            message = message_of(earlier.state, earlier.sections, moment, wanted, int(seconds))
            if page == "dead":
                message["sections"]["letters"] = await carried(feed.bus, chosen, message["at"], earlier.state)
            found = await asyncio.to_thread(
                snapshot.document, pages[page], message, chosen, seconds=int(seconds), taken=time.time()
            )
        except PastError as error:
            return problem(404, str(error), oldest=error.oldest_ms)
        except snapshot.SnapshotError as error:
            return problem(413, str(error))
        except HeadraceError as error:
            return problem(503, str(error))
        stamp = datetime.fromtimestamp(message["at"] / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
        headers = {
            "content-disposition": f'attachment; filename="headrace-{page}-{stamp}.html"',
            "cache-control": "no-store",
        }
        return Response(found, media_type="text/html; charset=utf-8", headers=headers)


def message_of(
    state: State, sections: Sections, moment: int | None, show: Sequence[str], seconds: int
) -> dict[str, Any]:
    """What a browser would be sent of this moment, with nothing in it that says where the server is."""
    assert state.frame is not None
    at = int(state.frame.time * 1000) if moment is None else moment
    made = {name: made for name in show if (made := sections.section(name)) is not None}
    status = sections.section("status")
    return {
        "at": at,
        "epoch": state.epoch,
        "number": state.number,
        "skipped": 0,
        "past": snapshot.cut(sections.history(), seconds, at / 1000),
        "sections": {
            **{name: msgspec.Raw(one) for name, one in made.items()},
            **({"status": snapshot.without_secrets(status)} if status else {}),
        },
    }


def every(state: State, page: str, seconds: int, model: str) -> list[str]:
    """Sections of a page that need not be named: those of words alone, and on the page of models all that there is of
    the version `model`, or else of the first ones."""
    if page != "models":
        keys = [key_of(one) for one in models_of(state.frame)][:MODELS]
        words = [word for word in MAKERS if word not in ABOUT_ONE]
        return [*words, "cleared", "runs", "dead", *(f"model:{key}" for key in keys)]
    span = next((int(span_s) for _, span_s in TIERS if span_s >= seconds), int(TIERS[-1][1]))
    found = ["models"]
    for one in models_of(state.frame):
        key = key_of(one)
        if key == model or not model:
            found += [f"quality:{key}", f"trail:{span}:{key}", f"worst:{key}", f"versions:{one.name}"]
    return found[: 1 + 4 * MODELS]
