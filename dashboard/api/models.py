"""Changes of what is in service, asked for by the page: what `headrace models promote` and `rollback` do.

POST /api/models/NAME/promote      {"version": 3}
POST /api/models/NAME/rollback

The registry is changed first, then running scorers are told on `models`, and everybody on `actions`. An answer has
`text`, what came of it; a refusal has `error`, what was wrong and what to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated

import msgspec
from fastapi import Depends, FastAPI
from fastapi.responses import JSONResponse
from starlette.requests import Request

from headrace.channels import ACTIONS, MODELS
from headrace.dashboard.access import operator
from headrace.dashboard.feed import Feed
from headrace.errors import BusError, ModelError, UnknownModelError
from headrace.events import ActionTaken, ModelPromoted, stamped
from headrace.models.card import Promotion
from headrace.models.registry import Registry

SOURCE = "headrace dashboard"
BODY_BYTES = 1_000

Operator = Annotated[str, Depends(operator)]


class Wanted(msgspec.Struct, frozen=True):
    """The body of a promotion."""

    version: int


def add_routes(app: FastAPI, feed: Feed) -> None:
    """Put the endpoints on the server."""

    @app.post("/api/models/{name}/promote")
    async def promote(name: str, request: Request, actor: Operator) -> JSONResponse:
        body = await request.body()
        try:
            wanted = msgspec.json.decode(body[:BODY_BYTES], type=Wanted)
        except msgspec.DecodeError as error:
            return _refused(400, f'not understood: {error}; send {{"version": 3}}')
        return await change(feed, name, "promote", actor, lambda registry: registry.promote(name, wanted.version))

    @app.post("/api/models/{name}/rollback")
    async def rollback(name: str, actor: Operator) -> JSONResponse:
        return await change(feed, name, "rollback", actor, lambda registry: registry.rollback(name))


async def change(feed: Feed, name: str, action: str, actor: str, do: Callable[[Registry], Promotion]) -> JSONResponse:
    """Change the registry, and tell of it; a server that does not answer is said, and changes nothing of it."""
    registry = Registry(feed.bus.settings.models)
    if not (registry.folder / "names").is_dir():
        return _refused(
            409,
            f"there is no registry of models at {registry.folder} on the machine of this dashboard; "
            f"run `headrace models {action} {name}` where the files are, or set HEADRACE_MODELS",
        )
    try:
        done = await asyncio.to_thread(do, registry)
    except UnknownModelError as error:
        return _refused(404, str(error))
    except ModelError as error:
        return _refused(409, str(error))
    except ModuleNotFoundError as error:
        return _refused(503, f"the registry needs `pip install 'headrace[subscriber]'` (there is no {error.name})")
    before = f", in place of version {done.previous}" if done.previous and done.previous != done.version else ""
    text = f"{done.name} version {done.version} is in service{before}"
    why = await _tell(feed, done, ActionTaken(action=action, actor=actor, subject=name, text=text))
    answer = {"model": done.name, "version": done.version, "previous": done.previous or 0, "told": not why}
    return JSONResponse({**answer, "text": f"{text}; {why}" if why else text})


async def _tell(feed: Feed, done: Promotion, action: ActionTaken) -> str:
    """Publish what was done. Why running scorers were not told, or nothing."""
    reason = "rolled back by hand" if done.rollback else "promoted by hand"
    promoted = ModelPromoted(
        model=done.name, version=done.version, sha256=done.sha256, previous=done.previous or 0, reason=reason
    )
    try:
        await feed.bus.publish(MODELS, [stamped(promoted, SOURCE)])
        await feed.bus.publish(ACTIONS, [stamped(action, SOURCE)])
    except BusError as error:
        return f"running scorers may not have been told, those that start later serve it: {error}"
    return ""


def _refused(status: int, reason: str) -> JSONResponse:
    return JSONResponse({"error": reason}, status)
