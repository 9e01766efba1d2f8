"""The versions of a model: those in the registry's folder, if this machine has it, else those that the frames tell of.

A folder may be large and on another machine, so it is read in a thread, and again only when something in it changed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from headrace.bus import Bus
from headrace.dashboard.sections.rows import models_of, short
from headrace.dashboard.state import State
from headrace.errors import HeadraceError, UnknownModelError
from headrace.events import ModelView
from headrace.models.card import ModelVersion, Service
from headrace.models.registry import Registry

SHOWN: Final = 40
CHANGES_SHOWN: Final = 8
METRICS_SHOWN: Final = 8
AGAIN_S: Final = 5.0
"""A folder that seems unchanged is read again after so long: a card comes later than the folder that it is in."""


class VersionRow(msgspec.Struct, frozen=True, kw_only=True):
    """One version. `created` is Unix seconds; 0, and no libraries, if only the frames tell of it."""

    version: int
    in_service: bool
    created: float = 0.0
    metrics: dict[str, float] = {}
    algorithm: str = ""
    libraries: dict[str, str] = {}
    size_bytes: int = 0
    sha256: str = ""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What went into service, when, and in place of what (0: of nothing)."""

    at: float
    version: int
    previous: int
    rollback: bool


class Versions(msgspec.Struct, frozen=True, kw_only=True):
    """The section `versions:NAME`, the newest first.

    `back` is the version that a rollback brings, 0 if there is none. `reason` says why nothing can be changed from
    here, and what to do; empty if it can. `cut` counts older versions that are not shown.
    """

    name: str
    rows: list[VersionRow]
    back: int = 0
    changes: list[Change] = []
    reason: str = ""
    cut: int = 0


class Stored:
    """Reads the registry of the models watched; `at` (Unix ms) has it as it was at that moment."""

    def __init__(self, at: int | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._at = None if at is None else datetime.fromtimestamp(at / 1000, UTC)
        self._clock = clock
        self._read: dict[str, tuple[tuple[int, ...], float, Versions]] = {}

    def wants(self, name: str) -> bool:
        return name.startswith("versions:")

    async def look(self, bus: Bus, state: State, names: Collection[str]) -> Mapping[str, msgspec.Struct]:
        folder = bus.settings.models
        found = {}
        for name in names:
            model = name.removeprefix("versions:")
            seen = [one for one in models_of(state.frame) if one.name == model]
            found[name] = await asyncio.to_thread(self._versions, folder, model, seen)
        self._read = {name: kept for name, kept in self._read.items() if f"versions:{name}" in names}
        return found

    def _versions(self, folder: Path, name: str, seen: list[ModelView]) -> Versions:
        registry = Registry(folder)
        sign, now = _sign(registry, name), self._clock()
        known = self._read.get(name)
        if known is not None and known[0] == sign and now - known[1] < AGAIN_S:
            return known[2]
        try:
            cards, service = registry.versions(name), registry.service(name)
            if self._at is not None:
                cards = [card for card in cards if card.created <= self._at]
                service = service_at(service, self._at)
            versions = stored(name, cards, service)
        except UnknownModelError:
            versions = told(
                name,
                seen,
                f"The registry {folder} of this machine has no {name}: "
                "change what is in service where its files are, or set HEADRACE_MODELS to a folder that is shared.",
            )
        except HeadraceError as error:
            versions = told(name, seen, str(error))
        self._read[name] = (sign, now, versions)
        return versions


def service_at(service: Service, at: datetime) -> Service:
    """What was in service at a moment: every change since is undone, the newest first. Pure."""
    stack, history = list(service.stack), list(service.history)
    while history and history[-1].time > at:
        change = history.pop()
        if change.rollback:
            stack += [] if change.previous is None else [change.previous]
        elif change.previous != change.version:
            stack = stack[:-1]
    return Service(stack=tuple(stack), history=tuple(history))


def stored(name: str, cards: list[ModelVersion], service: Service) -> Versions:
    """What the registry says. Pure."""
    serving = service.stack[-1] if service.stack else 0
    return Versions(
        name=name,
        rows=[
            VersionRow(
                version=card.version,
                in_service=card.version == serving,
                created=card.created.timestamp(),
                metrics={measure: short(value) for measure, value in list(card.metrics.items())[:METRICS_SHOWN]},
                algorithm=card.algorithm,
                libraries=card.libraries,
                size_bytes=card.size_bytes,
                sha256=card.sha256,
            )
            for card in cards[::-1][:SHOWN]
        ],
        back=service.stack[-2] if len(service.stack) > 1 else 0,
        changes=[
            Change(at=one.time.timestamp(), version=one.version, previous=one.previous or 0, rollback=one.rollback)
            for one in service.history[::-1][:CHANGES_SHOWN]
        ],
        cut=max(0, len(cards) - SHOWN),
    )


def told(name: str, seen: list[ModelView], reason: str) -> Versions:
    """What the frames say, where there is no registry. Pure."""
    ordered = sorted(seen, key=lambda model: -model.version)
    return Versions(
        name=name,
        rows=[VersionRow(version=one.version, in_service=one.champion, metrics=one.scores) for one in ordered],
        reason=reason,
    )


def _sign(registry: Registry, name: str) -> tuple[int, ...]:
    """Changes whenever a version is added or another goes into service."""
    place = registry.folder / "names" / name
    found = []
    for path in (place, place / "service.json") if "/" not in name and not name.startswith(".") else ():
        try:
            found.append(path.stat().st_mtime_ns)
        except OSError:
            found.append(0)
    return tuple(found)
