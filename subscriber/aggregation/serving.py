"""Which version of each model is in service, and who could not load one: a pure fold of the channel `models`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from headrace.errors import CodecError
from headrace.events import Event, ModelPromoted, ModelRefused
from headrace.positions import START, Position

REFUSALS: Final = 50


class Refusal(msgspec.Struct, array_like=True, frozen=True):
    """A worker could not load a version and keeps the one it has."""

    model: str
    version: int
    worker: str
    reason: str
    at: float


class _Promoted(msgspec.Struct, array_like=True, frozen=True):
    version: int
    ms: int
    number: int


class Serving:
    """What is in service. `initial` is what the registry said at the start; promotions in the log win over it."""

    def __init__(self, initial: Mapping[str, int] | None = None) -> None:
        self._initial = dict(initial or {})
        self._promoted: dict[str, _Promoted] = {}
        self._refusals: dict[tuple[str, int, str], Refusal] = {}
        self._dirty: set[str] = set()

    def fold(self, event: Event, position: Position) -> None:
        """Take one event of the channel; a promotion older than the known one changes nothing."""
        match event:
            case ModelPromoted():
                known = self._promoted.get(event.model)
                if position > (Position(known.ms, known.number) if known else START):
                    self._promoted[event.model] = _Promoted(event.version, position.ms, position.number)
                    self._dirty.add(event.model)
            case ModelRefused():
                key = (event.model, event.version, event.worker)
                self._refusals[key] = Refusal(*key, event.reason, position.ms / 1000)
                if len(self._refusals) > REFUSALS:
                    del self._refusals[next(iter(self._refusals))]

    @property
    def champions(self) -> dict[str, int]:
        """Model to version."""
        return self._initial | {model: promoted.version for model, promoted in self._promoted.items()}

    def refusals(self, loaded: Mapping[str, Mapping[str, int]]) -> list[Refusal]:
        """Refusals that still matter: the worker lives, and lacks the version that is in service.

        `loaded` tells for each living worker the version of each model that it has.
        """
        champions = self.champions
        return [
            refusal
            for refusal in self._refusals.values()
            if refusal.worker in loaded
            and champions.get(refusal.model, refusal.version) == refusal.version
            and loaded[refusal.worker].get(refusal.model) != refusal.version
        ]

    def take_changes(self) -> dict[str, bytes]:
        """Fields to save since the last call, one a model."""
        changed = {model: msgspec.msgpack.encode(self._promoted[model]) for model in self._dirty}
        self._dirty = set()
        return changed

    @classmethod
    def load(cls, saved: Mapping[str, bytes], initial: Mapping[str, int]) -> Serving:
        """What `take_changes` gave. Raises CodecError."""
        serving = cls(initial)
        try:
            for model, payload in saved.items():
                serving._promoted[model] = msgspec.msgpack.decode(payload, type=_Promoted)
        except msgspec.DecodeError as error:
            raise CodecError(f"saved promotions cannot be read: {error}") from None
        return serving
