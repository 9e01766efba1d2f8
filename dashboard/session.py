"""Sessions: a signed note of who signed in and until when, which the browser keeps as a cookie.

The key is made of the password that was given, so every dashboard with that password reads the note, a restart signs
nobody out, and another password ends all sessions of the old one. Who holds a note knows its password already, so that
guessing the password from the note is no gain. Why no server keeps a list of them: docs/adr/0012-signed-sessions.md.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from itsdangerous import BadSignature, URLSafeSerializer

from headrace.access import Role, Secret

LASTS_S = 12 * 3600.0
"""A note is good for so long; a page that is open asks for a new one in time."""
LONGEST_S = 30 * 24 * 3600.0
"""After so long somebody must sign in again, even on a page that is always open."""
MOST_ENDED = 4096


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who signed in; times are Unix seconds."""

    role: Role
    id: str
    began: float
    until: float


class Sessions:
    """Makes, reads, renews and ends sessions. `now` is Unix seconds. `name` tells installations apart in a browser.

    Cookies are shared by all ports of a host, so two installations must not write the same one.
    """

    def __init__(self, passwords: Mapping[Role, Secret], name: str) -> None:
        self.cookie = f"headrace_{hashlib.sha256(name.encode()).hexdigest()[:8]}"
        self._signers = {
            role: URLSafeSerializer(
                password.key(f"headrace session {role} {name}"), signer_kwargs={"digest_method": hashlib.sha256}
            )
            for role, password in passwords.items()
        }
        self._ended: OrderedDict[str, float] = OrderedDict()
        self._watched: dict[str, set[asyncio.Event]] = {}

    def begin(self, role: Role, now: float) -> Session:
        """A new session, with a name of its own that nobody can guess."""
        return Session(role, secrets.token_urlsafe(18), now, now + LASTS_S)

    def write(self, session: Session) -> str:
        """The session as a note for a cookie."""
        note = [session.id, int(session.began), int(session.until)]
        return f"{session.role}.{self._signers[session.role].dumps(note)}"

    def read(self, text: str, now: float) -> Session | None:
        """The session that a note tells of; None if it is not one of ours, over, or ended."""
        role, _, note = text.partition(".")
        signer = self._signers.get(role)  # type: ignore[call-overload]
        if signer is None:
            return None
        try:
            found: Any = signer.loads(note)
        except BadSignature:
            return None
        session = Session(role, found[0], found[1], found[2])  # type: ignore[arg-type]
        return None if session.until <= now or session.id in self._ended else session

    def renewed(self, session: Session, now: float) -> Session | None:
        """The session with more time, once half of its time is over; None before that, and once it is too old."""
        until = min(now + LASTS_S, session.began + LONGEST_S)
        return replace(session, until=until) if session.until - now < LASTS_S / 2 and until > session.until else None

    def end(self, session: Session, now: float) -> None:
        """Whoever still holds the note is nobody from now on; open sockets of it are told."""
        for over in [name for name, until in self._ended.items() if until < now]:
            del self._ended[over]
        self._ended[session.id] = min(now + LASTS_S, session.began + LONGEST_S)
        if len(self._ended) > MOST_ENDED:
            self._ended.popitem(last=False)
        for event in self._watched.pop(session.id, ()):
            event.set()

    def watch(self, session: Session) -> asyncio.Event:
        """An event that is set when the session is ended; give it back to `unwatch`."""
        event = asyncio.Event()
        self._watched.setdefault(session.id, set()).add(event)
        return event

    def unwatch(self, session: Session, event: asyncio.Event) -> None:
        """Nobody waits for the event any more."""
        events = self._watched.get(session.id, set())
        events.discard(event)
        if not events:
            self._watched.pop(session.id, None)
