"""What the events page asks for: one event whole, a search, the way of one event. Reads only, each bounded.

GET /api/events/one?channel=requests&at=0-1763800000000-12
GET /api/events/search?id=...&channel=...        without a channel: in all but the frames
GET /api/events/trace?prediction=...&channel=... a handle or an event id; `requests` unless another is named
"""

from __future__ import annotations

import time
from typing import Any

import msgspec
from fastapi import FastAPI, Response

from headrace.bus import Bus
from headrace.channels import BUILT_IN, DEAD, FRAMES, FRAMES_LONG, JOINED, LABELS, REQUESTS, RESULTS, TAIL, checked
from headrace.dashboard.feed import Feed
from headrace.dashboard.readable import fields, first_row, readable
from headrace.dashboard.search import SHORTEST, place, search
from headrace.dashboard.sections.events import events
from headrace.dashboard.sections.rows import grey, models_of, shape_of
from headrace.dashboard.state import State
from headrace.errors import CodecError, EventError, HeadraceError, SettingsError
from headrace.journey import follow
from headrace.positions import Handle

FOLLOWED = 50


def add_routes(app: FastAPI, feed: Feed) -> None:
    """Put the endpoints on the server."""

    @app.get("/api/events/one")
    async def one(channel: str = "", at: str = "") -> Response:
        try:
            checked(channel)
            handle = Handle.parse(at)
            if handle.partition not in feed.bus.names.partitions_of(channel) or max(handle.position) >= 2**64:
                raise EventError(f"channel {channel} has no place {at}")
            entries = await feed.bus.read(
                channel, handle.partition, start=handle.position, stop=handle.position, count=1
            )
        except (EventError, SettingsError) as error:
            return problem(400, str(error))
        except HeadraceError as error:
            return problem(503, str(error))
        if not entries:
            return problem(404, f"{at} is not in {channel} (any more): logs are trimmed by their retention")
        return answer(whole(channel, handle, entries[0].payload, feed.state))

    @app.get("/api/events/search")
    async def find(id: str = "", channel: str = "") -> Response:
        wanted = id.strip()
        if len(wanted) < SHORTEST or len(wanted) > 200:
            return problem(400, "give an event id, a position MS-NUMBER or a handle PARTITION-MS-NUMBER")
        try:
            channels = [checked(channel)] if channel else searched(feed.state)
            return answer(await search(feed.bus, wanted, channels))
        except SettingsError as error:
            return problem(400, str(error))
        except HeadraceError as error:
            return problem(503, str(error))

    @app.get("/api/events/trace")
    async def trace(prediction: str = "", channel: str = "") -> Response:
        try:
            home = checked(channel or REQUESTS)
            handle = await handle_of(feed.bus, prediction.strip(), home)
            journey = await follow(feed.bus, handle, home) if handle else None
        except (EventError, SettingsError) as error:
            return problem(400, str(error))
        except HeadraceError as error:
            return problem(503, str(error))
        if journey is None:
            kept_s = feed.bus.settings.retention_s
            return problem(
                404,
                f"{prediction.strip()[:80] or 'nothing'} is not in {home}. Events are kept for {kept_s} s after every "
                "group has committed them; search finds what else names it",
            )
        return answer({"now": time.time(), "journey": journey})


def whole(channel: str, handle: Handle, payload: bytes, state: State) -> dict[str, Any]:
    """An entry as the drawer shows it. Pure."""
    return {
        "channel": channel,
        "at": str(handle),
        "appended": handle.position.ms / 1000,
        "bytes": len(payload),
        "codec": "JSON" if payload.lstrip()[:1] == b"{" else "msgpack",
        "event": readable(payload),
        "picture": picture(payload, state),
        "predictions": predictions(channel, handle, payload)[:FOLLOWED],
    }


def searched(state: State) -> list[str]:
    """Where a search looks that names no channel: everywhere, but the frames, whose ids nobody looks for."""
    known = [row.name for row in events(state).channels]
    return [
        name for name in [*known, *(one for one in BUILT_IN if one not in known)] if name not in (FRAMES, FRAMES_LONG)
    ]


async def handle_of(bus: Bus, text: str, channel: str) -> Handle | None:
    """The place of an event of `channel` that is named by handle, position or id; None if it cannot be found."""
    if len(text) < SHORTEST or len(text) > 200:
        raise EventError("give an event id, a position MS-NUMBER or a handle PARTITION-MS-NUMBER")
    at = place(text)
    if at and at[0] is not None:
        return Handle(at[0], at[1]) if at[0] in bus.names.partitions_of(channel) else None
    found = await search(bus, text, [channel])
    return next((Handle.parse(hit.line.at) for hit in found.hits if hit.how != "names"), None)


def predictions(channel: str, handle: Handle, payload: bytes) -> list[str]:
    """Handles of the predictions that an event is about. Pure."""
    try:
        event = fields(payload)
    except CodecError:
        return []
    match channel, event:
        case _, {"type": "prediction.requested"} if channel == REQUESTS:
            return [str(handle)]
        case _, {"type": "prediction.scored", "positions": str(positions)} if channel == RESULTS:
            return [f"{handle.partition}-{position}" for position in positions.split(" ")]
        case _, {"type": "prediction.joined", "predictions": [*found]} if channel == JOINED:
            return [str(one) for one in found]
        case _, {"prediction": str(found)} if channel in (LABELS, TAIL):
            return [found]
        case _, {"type": "entry.dead", "channel": home, "position": str(position)} if channel == DEAD:
            return [f"{event.get('partition', 0)}-{position}"] if home == REQUESTS else []
    return []


def picture(payload: bytes, state: State) -> dict[str, Any] | None:
    """The first row of a request's inputs as grey values, where its model takes images; also inside a dead letter."""
    try:
        event = fields(payload)
        if event.get("type") == "entry.dead" and isinstance(event.get("payload"), bytes):
            event = fields(event["payload"])
    except CodecError:
        return None
    versions = [model for model in models_of(state.frame) if model.name == event.get("model") and model.image]
    model = next((one for one in versions if one.champion), versions[0] if versions else None)
    row = first_row(event.get("inputs"))
    shape = shape_of(row, model) if model else None
    if model is None or shape is None or shape != model.image:
        return None
    return {"pixels": grey(row), "shape": shape}


def answer(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def problem(status: int, text: str) -> Response:
    return answer({"error": text}, status)
