"""What the page of dead letters asks for and does.

    GET  /api/dead?before=&channel=&group=&text=&limit=&done=    letters newest first, counts, what was done before;
                  &at=MS                                      as it was at a moment, Unix milliseconds
    POST /api/dead/requeue, /api/dead/discard                    {"letters": [HANDLE, ...]}
                                                                 or {"filter": {"channel", "group", "text", "newest"}}

`newest` is the newest letter that was there when somebody confirmed: none that came later is touched.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from fastapi import Depends, FastAPI, Request, Response

from headrace.bus import Bus
from headrace.channels import DEAD
from headrace.codec import type_of
from headrace.dashboard.access import operator
from headrace.dashboard.api.events import answer, problem, whole
from headrace.dashboard.api.past import moment_of
from headrace.dashboard.feed import Feed
from headrace.dashboard.state import State
from headrace.errors import CodecError, EventError, FullError, HeadraceError
from headrace.letters import Action, Filter, Letter, Mark, actions, fetch, gist, letters, matching, unfit, warning
from headrace.orders import Tally, discard, requeue
from headrace.positions import Handle

LIMIT = 50
MOST = 200
NAMED = 1_000
BODY_BYTES = 64 * 1024
REASONS = 12
TEXT = 400


class Meant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A filter as it travels."""

    channel: str = ""
    group: str = ""
    text: str = ""
    newest: str = ""

    def filter(self) -> Filter:
        """Raises EventError."""
        return Filter(self.channel, self.group, self.text, Handle.parse(self.newest) if self.newest else None)


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to do something about: letters by name, or all of a filter."""

    letters: list[str] | None = None
    filter: Meant | None = None


class LetterRow(msgspec.Struct, frozen=True, kw_only=True):
    """A letter as the table shows it. `warning`: why to requeue it would be in vain; `unfit`: why it cannot be."""

    letter: str
    channel: str
    group: str
    position: str
    reason: str
    attempts: int
    worker: str
    time: float
    bytes: int
    type: str
    warning: str
    unfit: str
    mark: Mark | None


def add_routes(app: FastAPI, feed: Feed) -> None:
    """Put the endpoints on the server."""

    @app.get("/api/dead")
    async def listing(
        before: str = "",
        channel: str = "",
        group: str = "",
        text: str = "",
        limit: str = "",
        done: str = "",
        at: str = "",
    ) -> Response:
        moment = moment_of(at) if at else None
        if at and moment is None:
            return problem(400, f"at={at[:40]} is no moment: give Unix milliseconds, such as at=1763800000000")
        try:
            most = min(MOST, max(1, int(limit))) if limit else LIMIT
            start = Handle.parse(before) if before else None
            return answer(await listed(feed.bus, Filter(channel, group, text), start, most, done == "1", moment))
        except ValueError:
            return problem(400, f"{limit!r} is no number of letters: give 1 to {MOST}")
        except EventError as error:
            return problem(400, str(error))
        except HeadraceError as error:
            return problem(503, str(error))

    @app.post("/api/dead/requeue")
    async def requeueing(request: Request, actor: str = Depends(operator)) -> Response:
        return await _ordered(feed.bus, request, "requeue", actor)

    @app.post("/api/dead/discard")
    async def discarding(request: Request, actor: str = Depends(operator)) -> Response:
        return await _ordered(feed.bus, request, "discard", actor)


async def carried(bus: Bus, view: Mapping[str, str], at: int, state: State) -> dict[str, Any]:
    """What the page shows at a moment (Unix ms) with the choices of its address, and each letter whole: for a snapshot.

    A place in the address that is none is left out.
    """
    before = None
    with contextlib.suppress(EventError):
        before = Handle.parse(view["before"]) if view.get("before") else None
    wanted = Filter(view.get("channel", ""), view.get("group", ""), view.get("text", "").strip())
    found = await listed(bus, wanted, before, LIMIT, view.get("done") == "1", at)
    held = {}
    for place in [Handle.parse(line.letter) for line in found["letters"]]:
        for entry in await bus.read(DEAD, place.partition, start=place.position, stop=place.position, count=1):
            held[str(place)] = whole(DEAD, place, entry.payload, state)
    return {**found, "whole": held}


async def listed(
    bus: Bus, wanted: Filter, before: Handle | None, limit: int, done: bool, at: int | None
) -> dict[str, Any]:
    """Letters, counts and actions, as the page asks for them; with `at` (Unix ms) as they were."""
    found = await letters(bus, wanted, before=before, limit=limit, done=done, at=at)
    now, most_bytes = time.time() if at is None else at / 1000, bus.settings.event_limit_bytes
    newest = found.letters[0].place if found.letters else None
    return {
        "letters": [row(letter, now, most_bytes) for letter in found.letters],
        "fitting": found.fitting,
        "waiting": found.waiting,
        "done": found.done,
        "looked": found.looked,
        "since": found.since,
        "complete": found.complete,
        "before": str(found.before) if found.before else "",
        "newest": str(newest) if newest else "",
        "reasons": found.reasons.most_common(REASONS),
        "more_reasons": max(0, len(found.reasons) - REASONS),
        "places": [[channel, group, count] for (channel, group), count in found.places.most_common()],
        "actions": [
            {
                "at": str(at),
                "time": event.time or at.position.ms / 1000,
                "action": event.action,
                "actor": event.actor,
                "subject": event.subject,
                "text": event.text,
                "count": event.count,
            }
            for at, event in await actions(bus, at=at)
        ],
    }


def row(letter: Letter, now: float, limit_bytes: int) -> LetterRow:
    """A line of the table at Unix time `now`. Pure."""
    event = letter.event
    try:
        kind = type_of(event.payload)
    except CodecError:
        kind = "?"
    return LetterRow(
        letter=str(letter.place),
        channel=event.channel,
        group=event.group,
        position=event.position,
        reason=event.reason[:TEXT],
        attempts=event.attempts,
        worker=event.worker,
        time=letter.place.position.ms / 1000,
        bytes=len(event.payload),
        type=kind,
        warning=warning(event, now),
        unfit=unfit(letter, limit_bytes),
        mark=letter.mark,
    )


async def _ordered(bus: Bus, request: Request, action: Action, actor: str) -> Response:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES:
            return problem(413, f"more than {BODY_BYTES:,} bytes: name fewer letters, or give a filter")
    try:
        order = msgspec.json.decode(body, type=Order)
        tally = await _done(bus, order, action, actor)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return problem(400, f"not understood: {error}")
    except EventError as error:
        return problem(400, str(error))
    except FullError as error:
        return problem(409, str(error))
    except HeadraceError as error:
        return problem(503, f"{error}. It is safe to try again: nothing is done twice")
    return answer({"action": action, "done": tally.done, "already": tally.already, "refused": tally.refused})


async def _done(bus: Bus, order: Order, action: Action, actor: str) -> Tally:
    doing = requeue if action == "requeue" else discard
    refused: dict[str, str] = {}
    chosen: Sequence[Letter]
    if (order.letters is None) == (order.filter is None):
        raise EventError('say either {"letters": [...]} or {"filter": {...}}')
    if order.filter is not None:
        wanted = order.filter.filter()
        chosen = await matching(bus, wanted)
        said = ", ".join(f"{name} {value}" for name, value in _said(order.filter) if value)
        text = f"all of {said}" if said else "all"
    else:
        named = list(dict.fromkeys(order.letters or ()))
        if len(named) > NAMED:
            raise EventError(f"{len(named):,} letters are too many to name: give a filter")
        chosen, refused = await fetch(bus, [Handle.parse(one) for one in named])
        text = ""
    tally = await doing(bus, chosen, actor=actor, now=time.time(), text=text)
    tally.refused |= refused
    return tally


def _said(meant: Meant) -> list[tuple[str, str]]:
    return [("channel", meant.channel), ("group", meant.group), ("reason", gist(meant.text))]
