"""Server-sent events of a site, one after the other; after a broken connection it goes on from the last id.

The site decides what that is worth: one that keeps nothing, or gives its events no ids, leaves a hole. Parsing is
httpx-sse's, by the WHATWG's specification of the format.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from headrace.errors import SettingsError, UnavailableError
from headrace.retry import Backoff

if TYPE_CHECKING:
    import httpx

AGAIN = Backoff(200, 30_000)
SILENCE_S = 60.0
"""A stream that says nothing for so long, not even a comment, is taken for broken."""
AGENT = "headrace (server-sent events)"


class Sent(NamedTuple):
    """One event as the site sent it: its id (empty if the site gives none), its name and its text."""

    id: str
    name: str
    text: str


def sent_events(
    url: str,
    *,
    last: str = "",
    failures: int = 5,
    client: httpx.Client | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Sent]:
    """Events from `last` on, until the site answers 204, which says that there are no more.

    UnavailableError after so many `failures` in a row to get one; SettingsError if what answers is no stream of events.
    """
    import httpx
    from httpx_sse import SSEError, connect_sse

    failed, asked_s = 0, 0.0
    with client or httpx.Client(timeout=httpx.Timeout(10.0, read=SILENCE_S), follow_redirects=True) as connection:
        while True:
            reason = "the connection ended"
            headers = {"User-Agent": AGENT} | ({"Last-Event-ID": last} if last else {})
            try:
                with connect_sse(connection, "GET", url, headers=headers) as stream:
                    status = stream.response.status_code
                    if status == httpx.codes.NO_CONTENT:
                        return
                    if status < 500 and status != httpx.codes.OK:
                        raise SettingsError(f"{url} answers {status} instead of events; is the address right?")
                    if status == httpx.codes.OK:
                        for event in stream.iter_sse():
                            failed, last = 0, event.id or last
                            asked_s = event.retry / 1000 if event.retry is not None else asked_s
                            yield Sent(event.id, event.event, event.data)
                    else:
                        reason = f"it answers {status}"
            except SSEError as error:
                raise SettingsError(f"{url} is no stream of events: {error}") from error
            except httpx.HTTPError as error:
                reason = str(error) or type(error).__name__
            failed += 1
            if failed > failures:
                raise UnavailableError(url, reason)
            sleep(max(asked_s, AGAIN.delay_ms(failed) / 1000))
