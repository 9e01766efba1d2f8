"""Versions of models in one folder, and which of them is in service.

    files/SHA256.skops          the estimator, named by its content; or .onnx, a graph
    files/SHA256.json           the verdict of vetting; made again when it is missing or the libraries differ
    names/NAME/VERSION/card.json
    names/NAME/service.json     what is in service, and what was before

Any number of processes may read and write: a version number is given once, files are whole or absent, and what is in
service changes under a lock. Whoever may write to the folder may choose what is served; nothing else is believed of it:
each opening checks the hash, the library version and the types.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import Struct

from headrace.errors import ModelError, RefusedModelError, SettingsError, UnknownModelError
from headrace.models import disk, vault, vetting
from headrace.models.card import Card, Form, ModelVersion, Promotion, Service
from headrace.models.vetting import Limits, Verdict

if TYPE_CHECKING:
    from headrace.models.model import Model

HISTORY = 200
"""How many changes of what is in service are remembered for each model."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_S = TypeVar("_S", bound=Struct)


class Registry:
    """The versions kept in `folder`, which is made when the first is saved.

    `limits` bound what a file may cost; `vet` gives the verdict on a file that this folder has none of.
    """

    def __init__(
        self,
        folder: str | Path,
        limits: Limits | None = None,
        vet: Callable[[bytes, Limits], Verdict] = vetting.vet,
    ) -> None:
        self.folder = Path(folder).expanduser()
        self.limits = limits or Limits()
        self._vet = vet
        self._verdicts: dict[str, Verdict] = {}

    def save(self, estimator: Any, card: Card, now: datetime | None = None) -> ModelVersion:
        """Store a fitted scikit-learn estimator as the next version of `card.name`; it is not in service by that.

        RefusedModelError if it cannot be stored safely or does not fit its card; it then leaves no version behind.
        """
        return self.add(vault.pack(estimator), card, now)

    def add(self, content: bytes, card: Card, now: datetime | None = None) -> ModelVersion:
        """Store a skops or ONNX file from elsewhere, like `save`, after vetting it. Blocks for about a second."""
        if not _NAME.fullmatch(card.name):
            raise SettingsError(
                f"{card.name!r} cannot name a model: use at most 64 of a-z 0-9 _ . - and begin with a letter or digit"
            )
        vault.screen(content)
        sha256 = hashlib.sha256(content).hexdigest()
        verdict = self._verdict(content, sha256)
        _suits(card, verdict)
        disk.write(self._file(sha256, verdict.form), content)
        self._remember(verdict)
        claimed = disk.claim(self._name(card.name))
        stored = ModelVersion(
            **{field: getattr(card, field) for field in Card.__struct_fields__},
            version=int(claimed.name),
            sha256=sha256,
            size_bytes=len(content),
            algorithm=verdict.algorithm,
            n_features=verdict.n_features,
            takes_missing=verdict.takes_missing,
            libraries=verdict.libraries,
            created=now or datetime.now(UTC),
            form=verdict.form,
        )
        disk.write(claimed / "card.json", _pretty(stored))
        return stored

    def names(self) -> tuple[str, ...]:
        """Names of models that have a version, sorted."""
        folder = self.folder / "names"
        if not folder.is_dir():
            return ()
        return tuple(sorted(path.name for path in folder.iterdir() if any(path.glob("*/card.json"))))

    def versions(self, name: str) -> list[ModelVersion]:
        """All versions of `name`, oldest first; UnknownModelError if there is none."""
        return [self._card(name, number) for number in self._numbers(name)]

    def get(self, name: str, version: int | None = None) -> ModelVersion:
        """What is known of one version; without a version (or 0, as requests say it) of the one in service."""
        return self._known(name, version) if version else self.champion(name)

    def champion(self, name: str) -> ModelVersion:
        """The version in service; UnknownModelError lists what is in service if none of that name is."""
        stack = self.service(name).stack
        if not stack:
            raise UnknownModelError(name, tuple(card.name for card in self.champions()))
        return self._card(name, stack[-1])

    def champions(self) -> list[ModelVersion]:
        """Every version in service, by name."""
        services = ((name, self.service(name).stack) for name in self.names())
        return [self._card(name, stack[-1]) for name, stack in services if stack]

    def listing(self) -> list[tuple[ModelVersion, bool]]:
        """Every version of every model, oldest first by name, and whether it is in service."""
        return [
            (card, card.version in self.service(name).stack[-1:])
            for name in self.names()
            for card in self.versions(name)
        ]

    def service(self, name: str) -> Service:
        """What is and was in service of `name`; empty if nothing ever was."""
        if not _NAME.fullmatch(name):
            return Service()
        try:
            return _read(self._name(name) / "service.json", Service)
        except FileNotFoundError:
            return Service()

    def promote(self, name: str, version: int, now: datetime | None = None) -> Promotion:
        """Put a version into service; `previous` of the promotion tells what it replaced.

        UnknownModelError if there is no such version; RefusedModelError if its file could not be served here.
        """
        card = self._known(name, version)
        self._content(card)
        with disk.locked(self._name(name) / ".lock"):
            service = self.service(name)
            stack = (*service.stack, version) if version not in service.stack[-1:] else service.stack
            return self._serve(card, service, stack, False, now)

    def rollback(self, name: str, now: datetime | None = None) -> Promotion:
        """Put back into service what was there before the last promotion; again, and it is the one before that.

        UnknownModelError if nothing of `name` is in service; ModelError if nothing was before; RefusedModelError if
        what was before could not be served here.
        """
        self.champion(name)
        with disk.locked(self._name(name) / ".lock"):
            service = self.service(name)
            if len(service.stack) < 2:
                raise ModelError(
                    f"model {name!r} cannot be rolled back: nothing was in service before version {service.stack[-1]}; "
                    "promote another version"
                )
            card = self._known(name, service.stack[-2])
            self._content(card)
            return self._serve(card, service, service.stack[:-1], True, now)

    def open(self, name: str, version: int | None = None) -> Model:
        """The model of a version (of the one in service if none is given), vetted, ready to score.

        UnknownModelError if there is none; RefusedModelError if its file is missing, altered, unsafe, too large or made
        by another scikit-learn. Blocks for about a second if the file has not been vetted with these libraries yet.
        """
        from headrace.models.model import Model

        card = self.get(name, version)
        content = self._content(card)
        verdict = self._verdict(content, card.sha256)
        _suits(card, verdict)
        self._remember(verdict)
        return Model(card, vault.unpack(content))

    def _serve(
        self, card: ModelVersion, service: Service, stack: tuple[int, ...], rollback: bool, now: datetime | None
    ) -> Promotion:
        promotion = Promotion(
            name=card.name,
            version=card.version,
            sha256=card.sha256,
            previous=service.stack[-1] if service.stack else None,
            rollback=rollback,
            time=now or datetime.now(UTC),
        )
        changed = Service(stack=stack[-HISTORY:], history=(*service.history, promotion)[-HISTORY:])
        disk.write(self._name(card.name) / "service.json", _pretty(changed))
        return promotion

    def _content(self, card: ModelVersion) -> bytes:
        """The bytes of a version, equal to its hash; an estimator, made by a scikit-learn that fits the one here."""
        title = f"{card.name} version {card.version}"
        made, runs = card.libraries.get("scikit-learn", "unknown"), vetting.libraries().get("scikit-learn", "none")
        if card.form == "skops" and made.split(".")[:2] != runs.split(".")[:2]:
            raise RefusedModelError(f"{title} was made by scikit-learn {made}, and {runs} runs here; train it again")
        path = self._file(card.sha256, card.form)
        try:
            size = path.stat().st_size
            if size > self.limits.file_bytes:
                raise RefusedModelError(
                    f"the file of {title} has {size:,} bytes; at most {self.limits.file_bytes:,} are taken"
                )
            content = path.read_bytes()
        except OSError as error:
            raise RefusedModelError(f"the file of {title} cannot be read: {error.strerror}: {path}") from error
        if vault.screen(content) != card.form:
            raise RefusedModelError(f"the file of {title} was altered: it is no {card.form} file")
        if hashlib.sha256(content).hexdigest() != card.sha256:
            raise RefusedModelError(f"the file of {title} was altered: its SHA-256 is not {card.sha256}")
        return content

    def _verdict(self, content: bytes, sha256: str) -> Verdict:
        """The verdict of these bytes under these libraries: remembered, beside the file, or of a new vetting."""
        known = self._verdicts.get(sha256) or self._marked(sha256)
        if known and known.sha256 == sha256 and known.libraries == vetting.libraries():
            return known
        return self._vet(content, self.limits)

    def _remember(self, verdict: Verdict) -> None:
        self._verdicts[verdict.sha256] = verdict
        if self._marked(verdict.sha256) != verdict:
            # A folder that this process may only read is served from all the same.
            with suppress(ModelError):
                disk.write(self._marker(verdict.sha256), _pretty(verdict))

    def _marked(self, sha256: str) -> Verdict | None:
        with suppress(OSError, RefusedModelError):
            return _read(self._marker(sha256), Verdict)
        return None

    def _known(self, name: str, version: int) -> ModelVersion:
        numbers = self._numbers(name)
        if version not in numbers:
            raise UnknownModelError(f"{name} version {version}", tuple(f"{name} version {known}" for known in numbers))
        return self._card(name, version)

    def _numbers(self, name: str) -> list[int]:
        """Version numbers with a card; a number without one belongs to a save that has not ended, or never will."""
        folder = self._name(name)
        found = disk.numbers(folder) if _NAME.fullmatch(name) else []
        found = [number for number in found if (folder / str(number) / "card.json").exists()]
        if not found:
            raise UnknownModelError(name, self.names())
        return found

    def _card(self, name: str, version: int) -> ModelVersion:
        try:
            return _read(self._name(name) / str(version) / "card.json", ModelVersion)
        except FileNotFoundError:
            raise RefusedModelError(f"the card of {name} version {version} is gone; promote another version") from None

    def _name(self, name: str) -> Path:
        return self.folder / "names" / name

    def _file(self, sha256: str, form: Form) -> Path:
        return self.folder / "files" / f"{sha256}.{form}"

    def _marker(self, sha256: str) -> Path:
        return self.folder / "files" / f"{sha256}.json"


def _suits(card: Card, verdict: Verdict) -> None:
    """RefusedModelError unless the estimator is what its card says."""
    if verdict.kind != card.kind:
        raise RefusedModelError(f"model {card.name!r} is said to do {card.kind}, and its file does {verdict.kind}")
    if len(card.labels) != verdict.n_classes:
        raise RefusedModelError(
            f"model {card.name!r} names {len(card.labels)} labels, and its file knows {verdict.n_classes} classes"
        )
    if card.features and len(card.features) != verdict.n_features:
        raise RefusedModelError(
            f"model {card.name!r} names {len(card.features)} features, and its file takes {verdict.n_features}"
        )
    height, width = card.image_shape or (1, verdict.n_features)
    if height * width != verdict.n_features:
        raise RefusedModelError(
            f"model {card.name!r} has images of {height} by {width}, and its file takes {verdict.n_features} features"
        )


def _read(path: Path, kind: type[_S]) -> _S:
    content = path.read_bytes()
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.DecodeError as error:
        raise RefusedModelError(f"{path} is damaged: {error}") from error


def _pretty(struct: Struct) -> bytes:
    return msgspec.json.format(msgspec.json.encode(struct), indent=2) + b"\n"
