"""Every error that headrace raises on purpose.

    HeadraceError
    ├── SettingsError            a setting or argument is wrong                        caller
    ├── CodecError               bytes are not an event                                sender
    │   └── UnknownTypeError     a well-formed event of a type this version lacks      sender
    ├── EventError               an event holds what it must not                       sender
    ├── BusError                 the server, or the way to it
    │   ├── UnavailableError     no server answers                        retryable    server
    │   ├── FullError            a channel is at its bound                retryable    consumers are slow
    │   ├── GroupLostError       a group was deleted under its members                 operator
    │   └── LeaseLostError       another process leads now                             nobody
    ├── EmbeddedError            the embedded server cannot start                      machine
    ├── ModelError               a model cannot be had
    │   ├── UnknownModelError    no such model or version                              caller
    │   ├── RefusedModelError    the file is not safe or does not fit                  file
    │   └── InputError           rows that the model does not take                     sender
    └── PredictionError          a prediction has no result
        ├── RejectedError        it became a dead letter, with its reason              sender
        └── DeadlineError        no result in time; it may still come     retryable    nobody

The text of an error says what was wrong and what to do. What a program needs stands in attributes. `retryable`
tells whether the same call may succeed later. Nothing here imports anything.
"""

from __future__ import annotations


class HeadraceError(Exception):
    """Base of all; `retryable` tells whether the same call may succeed later."""

    retryable: bool = False


class SettingsError(HeadraceError):
    """A setting or argument is wrong; the text names it and the accepted values."""


class CodecError(HeadraceError):
    """Bytes are not an event of any known codec."""


class UnknownTypeError(CodecError):
    """A well-formed event of a type this version does not know."""

    def __init__(self, type_: str) -> None:
        super().__init__(f"unknown event type {type_!r}: this version does not know it; update headrace or the sender")
        self.type = type_


class EventError(HeadraceError):
    """An event holds what it must not: too large, not finite, not rectangular."""


class BusError(HeadraceError):
    """The server, or the way to it, refused or failed."""


class UnavailableError(BusError):
    """No server answers at `url` (shown without its password)."""

    retryable = True

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(
            f"no Redis or Valkey server answers at {url}: {reason.rstrip('. ')}. "
            "Start one, set REDIS_URL, or run `headrace demo`"
        )
        self.url = url
        self.reason = reason


class FullError(BusError):
    """A channel is at its bound: `taken` of the events offered were accepted, the rest was not."""

    retryable = True

    def __init__(self, channel: str, taken: int = 0) -> None:
        super().__init__(
            f"channel {channel!r} is full: its consumers are slower than its publishers. "
            "Add a consumer, raise HEADRACE_DEPTH_LIMIT, or publish less"
        )
        self.channel = channel
        self.taken = taken


class GroupLostError(BusError):
    """A group was deleted under its members, so what they hold can no longer be committed."""

    def __init__(self, channel: str, group: str, why: str = "somebody deleted it") -> None:
        super().__init__(f"group {group!r} of channel {channel!r} is gone: {why}")
        self.channel = channel
        self.group = group


class LeaseLostError(BusError):
    """Another process holds the lease `name`; this one has written nothing since."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the lease {name!r} belongs to another process now")
        self.name = name


class EmbeddedError(HeadraceError):
    """The embedded server cannot be found or started; the text lists what was tried."""


class ModelError(HeadraceError):
    """A model cannot be found, opened or used."""


class UnknownModelError(ModelError):
    """There is no such model or version; `known` lists what there is."""

    def __init__(self, name: str, known: tuple[str, ...] = ()) -> None:
        have = ", ".join(known) if known else "none; train one with `headrace models train digits`"
        super().__init__(f"unknown model {name!r}; known: {have}")
        self.name = name
        self.known = known


class RefusedModelError(ModelError):
    """A model file was refused: not safe, damaged, or made by another library version."""


class InputError(ModelError):
    """Rows that the model does not take: wrong width, wrong type, not finite."""


class PredictionError(HeadraceError):
    """A prediction has no result."""


class RejectedError(PredictionError):
    """The request became a dead letter; `reason` says why, `prediction` names it."""

    def __init__(self, prediction: str, reason: str) -> None:
        super().__init__(f"prediction {prediction} was rejected: {reason}")
        self.prediction = prediction
        self.reason = reason


class DeadlineError(PredictionError):
    """No result within the deadline; the request is in the log and may still be scored."""

    retryable = True

    def __init__(self, prediction: str, waited_s: float) -> None:
        super().__init__(
            f"no result for prediction {prediction} within {waited_s:.3g} s; it stays queued. Is a scorer running?"
        )
        self.prediction = prediction
        self.waited_s = waited_s
