"""The models that a scorer has open: what is in service, and pinned versions that somebody asked for.

A version that cannot be opened never replaces one that can: the shelf keeps what it has and says what it refused.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from headrace.errors import ModelError, UnknownModelError
from headrace.models.model import Model
from headrace.models.registry import Registry

PINNED = 8
"""Versions kept open beside those in service; the one used longest ago goes first."""
LOOK_AGAIN_S = 1.0
"""A name that was unknown is looked up in the registry again after so long."""


class NotOpenError(Exception):
    """A model would have to be opened first, which takes time."""


class Shelf:
    """Opens models from a registry. Safe to use from several threads; opening may take a second."""

    def __init__(self, registry: Registry, clock: Callable[[], float] = time.monotonic) -> None:
        self._registry = registry
        self._clock = clock
        self._serving: dict[str, Model] = {}
        self._pinned: OrderedDict[tuple[str, int], Model] = OrderedDict()
        self._unknown: dict[tuple[str, int], tuple[float, ModelError]] = {}
        self._lock = threading.Lock()

    def load(self) -> list[ModelError]:
        """Open everything in service; what was refused."""
        refused: list[ModelError] = []
        for card in self._registry.champions():
            try:
                self.promote(card.name, card.version)
            except ModelError as error:
                refused.append(error)
        return refused

    def promote(self, name: str, version: int) -> None:
        """Serve this version of `name` from now on. Raises ModelError and keeps the old one if it cannot be opened."""
        serving = self._serving.get(name)
        if serving is None or serving.version != version:
            opened = self._open(name, version)
            with self._lock:
                self._serving[name] = opened
        self._unknown.pop((name, 0), None)

    def get(self, name: str, version: int = 0) -> Model:
        """The model to score with; 0 is the version in service. Raises ModelError."""
        serving = self._serving.get(name)
        if serving is not None and version in (0, serving.version):
            return serving
        key = (name, version)
        with self._lock:
            if key in self._pinned:
                self._pinned.move_to_end(key)
                return self._pinned[key]
            looked_s, error = self._unknown.get(key, (-LOOK_AGAIN_S, None))
            if error is not None and self._clock() - looked_s < LOOK_AGAIN_S:
                raise error
        return self._look(name, version)

    def opened(self, name: str, version: int = 0) -> Model:
        """The model to score with if it is open; never waits. Raises NotOpenError otherwise."""
        serving = self._serving.get(name)
        if serving is not None and version in (0, serving.version):
            return serving
        raise NotOpenError

    def versions(self) -> dict[str, int]:
        """What is in service here."""
        return {name: model.version for name, model in self._serving.items()}

    def _look(self, name: str, version: int) -> Model:
        try:
            opened = self._open(name, version)
        except UnknownModelError:
            error: ModelError = UnknownModelError(
                f"{name}@{version}" if version else name, tuple(sorted(self._serving))
            )
        except ModelError as refused:
            error = refused
        else:
            with self._lock:
                if version == 0:
                    self._serving[name] = opened
                else:
                    self._pinned[name, version] = opened
                    while len(self._pinned) > PINNED:
                        self._pinned.popitem(last=False)
            return opened
        with self._lock:
            if len(self._unknown) > 1000:
                self._unknown.clear()
            self._unknown[name, version] = (self._clock(), error)
        raise error

    def _open(self, name: str, version: int) -> Model:
        model = self._registry.open(name, version or None)
        model.warm_up()
        return model
