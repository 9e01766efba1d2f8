"""What goes wrong, as HTTP says it: one JSON shape, `{"error": {"code", "reason", "fix"}}`, and never a stack trace.

`code` is for programs and stays; `reason` says what was wrong, `fix` what to do about it.
"""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from headrace.errors import (
    BusError,
    CodecError,
    EventError,
    FullError,
    HeadraceError,
    RejectedError,
    SettingsError,
    UnavailableError,
)

RETRY_AFTER_S = 1
"""When to try again what the server or the channel could not take."""


class Said(msgspec.Struct):
    """One problem."""

    code: str
    reason: str
    fix: str = ""


class Error(msgspec.Struct):
    """The body of every answer that is not a success."""

    error: Said


class Problem(HeadraceError):
    """An answer that is not a success; `status` is the HTTP status, `retry_after_s` when the caller may try again."""

    def __init__(
        self, status: int, code: str, reason: str, fix: str = "", *, retry_after_s: int = RETRY_AFTER_S
    ) -> None:
        super().__init__(reason)
        self.status, self.code, self.reason, self.fix = status, code, reason, fix
        self.retryable = status in (429, 503)
        self.retry_after_s = retry_after_s

    def response(self) -> Response:
        """The problem as JSON; a caller that may try again is told when."""
        body = msgspec.json.encode(Error(Said(self.code, self.reason, self.fix)))
        headers = {"retry-after": str(self.retry_after_s)} if self.retryable else None
        return Response(body, self.status, headers, "application/json")


def problem_of(error: Exception) -> Problem:
    """The problem that an error of headrace is to a caller over HTTP; anything else is an internal one."""
    match error:
        case Problem():
            return error
        case RejectedError():
            return rejected(error.reason)
        case FullError():
            return Problem(503, "full", str(error), "Send it again after the time in Retry-After.")
        case UnavailableError():
            return Problem(503, "unavailable", str(error), "Send it again after the time in Retry-After.")
        case CodecError() | EventError() | SettingsError():
            return Problem(400, "invalid", str(error))
        case BusError():
            return Problem(502, "refused", str(error))
        case _:
            return Problem(500, "internal", "the gateway failed on this request", "See the gateway's log.")


def rejected(reason: str) -> Problem:
    """What a dead letter is to whoever asked: not found where the model is unknown, else not processable."""
    if reason.startswith("unknown model"):
        return Problem(404, "unknown_model", reason, "List the models with `headrace models ls`.")
    return Problem(422, "rejected", reason, "Correct the request and send it again.")
