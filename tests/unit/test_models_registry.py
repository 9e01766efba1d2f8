"""A registry gives a number once, changes what is in service whole, and opens nothing that is not what was stored."""

from __future__ import annotations

import hashlib
import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.naive_bayes import GaussianNB
from threadpoolctl import threadpool_limits

from headrace.errors import HeadraceError, ModelError, RefusedModelError, SettingsError, UnknownModelError
from headrace.models import datasets, disk, vault, vetting
from headrace.models.card import Card, ModelVersion
from headrace.models.quarantine import examine
from headrace.models.registry import Registry
from headrace.models.training import train
from headrace.models.vetting import Limits, Verdict

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
X = np.random.default_rng(0).normal(size=(40, 3))
CARD = Card(name="toy", kind="classification", labels=("no", "yes"), features=("a", "b", "c"))


class Foreign(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """An estimator that no other process knows."""


class Vet:
    """Gives the verdict in this process, for a child takes a second; counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, content: bytes, limits: Limits) -> Verdict:
        self.asked += 1
        return examine(content)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """As in a scorer: threads of several test processes would only get in each other's way."""
    with threadpool_limits(1):
        yield


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "models", vet=Vet())


def _toy(seed: int = 0) -> GaussianNB:
    return GaussianNB().fit(X, (X[:, seed % 3] > 0).astype(int))


def _file(registry: Registry, stored: ModelVersion) -> Path:
    return registry.folder / "files" / f"{stored.sha256}.skops"


def _edit_card(registry: Registry, stored: ModelVersion, **changes: Any) -> None:
    path = registry.folder / "names" / stored.name / str(stored.version) / "card.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_the_shipped_baseline_is_stored_vetted_promoted_opened_and_scores_as_trained(tmp_path: Path) -> None:
    trained, rows = train("digits"), datasets.load("digits").held_out_x
    registry = Registry(tmp_path / "models")
    stored = registry.save(trained.estimator, trained.card, NOON)
    registry.promote("digits", stored.version)
    model = Registry(tmp_path / "models").open("digits")
    assert (model.name, model.version, model.kind, model.n_features) == ("digits", 1, "classification", 64)
    assert model.labels == tuple("0123456789")
    probabilities = model.score(rows).probabilities
    assert probabilities is not None
    assert (probabilities == trained.estimator.predict_proba(rows).astype(np.float32)).all()


def test_a_version_keeps_all_that_is_known_of_it(registry: Registry) -> None:
    trained = train("digits")
    stored = registry.save(trained.estimator, trained.card, NOON)
    assert registry.get("digits", 1) == stored
    assert all(getattr(stored, field) == getattr(trained.card, field) for field in Card.__struct_fields__)
    assert stored.metrics["accuracy"] > 0.95
    assert stored.image_shape == (8, 8)
    assert (stored.version, stored.n_features, stored.algorithm) == (1, 64, "LogisticRegression")
    assert stored.libraries == vetting.libraries()
    assert stored.created == NOON
    content = _file(registry, stored).read_bytes()
    assert stored.sha256 == hashlib.sha256(content).hexdigest()
    assert stored.size_bytes == len(content)


def test_versions_count_up_and_are_listed_with_the_one_in_service(registry: Registry) -> None:
    for seed in range(11):
        registry.save(_toy(seed), CARD)
    registry.save(_toy(), msgspec.structs.replace(CARD, name="another"))
    registry.promote("toy", 10)
    assert registry.names() == ("another", "toy")
    assert [card.version for card in registry.versions("toy")] == list(range(1, 12))
    listed = [(card.name, card.version, served) for card, served in registry.listing()]
    assert listed == [("another", 1, False), *(("toy", number, number == 10) for number in range(1, 12))]
    assert [(card.name, card.version) for card in registry.champions()] == [("toy", 10)]


def test_a_new_folder_is_empty(registry: Registry) -> None:
    assert registry.names() == ()
    assert registry.listing() == []
    assert registry.champions() == []
    assert not registry.folder.exists()


@pytest.mark.parametrize("name", ["nope", "../toy", "", ".", "toy/1", "TOY", "a" * 65])
def test_an_unknown_name_is_said_to_be_unknown(registry: Registry, name: str) -> None:
    registry.save(_toy(), CARD)
    registry.promote("toy", 1)
    for ask in (registry.get, registry.open, registry.versions, registry.champion, registry.rollback):
        with pytest.raises(UnknownModelError) as caught:
            ask(name)
        assert caught.value.known == ("toy",)
    with pytest.raises(UnknownModelError):
        registry.promote(name, 1)


@pytest.mark.parametrize("version", [2, -1, 0])
def test_an_unknown_version_is_said_to_be_unknown(registry: Registry, version: int) -> None:
    registry.save(_toy(), CARD)
    with pytest.raises(UnknownModelError, match="toy"):
        registry.open("toy", version)
    with pytest.raises(UnknownModelError, match=f"toy version {version}"):
        registry.promote("toy", version)


def test_nothing_is_in_service_before_a_promotion(registry: Registry) -> None:
    registry.save(_toy(), CARD)
    with pytest.raises(UnknownModelError, match="unknown model 'toy'"):
        registry.open("toy")
    assert registry.open("toy", 1).version == 1


def test_promotions_can_be_taken_back_one_by_one_and_all_are_remembered(registry: Registry) -> None:
    for seed in range(3):
        registry.save(_toy(seed), CARD)
    times = [NOON + timedelta(minutes=minute) for minute in range(6)]
    made = [registry.promote("toy", version, times[version - 1]) for version in (1, 2, 3)]
    assert [(change.version, change.previous, change.rollback) for change in made] == [
        (1, None, False),
        (2, 1, False),
        (3, 2, False),
    ]
    back = registry.rollback("toy", times[3])
    assert (back.version, back.previous, back.rollback, back.sha256) == (2, 3, True, registry.get("toy", 2).sha256)
    assert registry.champion("toy").version == registry.get("toy").version == registry.get("toy", 0).version == 2
    assert registry.rollback("toy", times[4]).version == 1
    with pytest.raises(ModelError, match="nothing was in service before version 1"):
        registry.rollback("toy")
    assert registry.promote("toy", 3, times[5]).previous == 1
    history = Registry(registry.folder, vet=Vet()).service("toy").history
    assert [(change.version, change.rollback) for change in history] == [
        (1, False), (2, False), (3, False), (2, True), (1, True), (3, False),
    ]  # fmt: skip
    assert [change.time for change in history] == times


def test_promoting_what_is_in_service_leaves_the_way_back_as_it_was(registry: Registry) -> None:
    for seed in range(2):
        registry.save(_toy(seed), CARD)
    for version in (1, 2, 2):
        registry.promote("toy", version)
    assert registry.rollback("toy").version == 1


def test_saves_of_several_processes_at_once_get_a_version_each(tmp_path: Path) -> None:
    script = """if True:
        import sys
        from hashlib import sha256
        from headrace.models import vetting
        from headrace.models.card import Card
        from headrace.models.registry import Registry

        def vet(content, limits):
            return vetting.Verdict(
                sha256=sha256(content).hexdigest(), algorithm="X", kind="regression", n_features=1, n_classes=0,
                takes_missing=False, libraries=vetting.libraries(),
            )

        registry = Registry(sys.argv[1], vet=vet)
        print("ready", flush=True)
        sys.stdin.readline()
        for number in range(15):
            content = b"PK\\x03\\x04" + f"{sys.argv[2]} {number}".encode()
            stored = registry.add(content, Card(name="toy", kind="regression", params={"writer": sys.argv[2]}))
            registry.promote("toy", stored.version)
    """
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "two")
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    registry = Registry(tmp_path)
    versions = registry.versions("toy")
    assert [card.version for card in versions] == list(range(1, 31))
    assert len({card.sha256 for card in versions}) == 30
    assert sorted(str(card.params["writer"]) for card in versions) == ["one"] * 15 + ["two"] * 15
    history = registry.service("toy").history
    assert sorted(change.version for change in history) == list(range(1, 31))
    # Each took over from the one before it: no change was written over another.
    assert [change.previous for change in history] == [None, *(change.version for change in history[:-1])]


def test_a_save_that_never_ended_costs_its_number_only(registry: Registry) -> None:
    registry.save(_toy(), CARD)
    disk.claim(registry.folder / "names" / "toy")
    assert [card.version for card in registry.versions("toy")] == [1]
    assert registry.save(_toy(1), CARD).version == 3
    with pytest.raises(UnknownModelError, match="toy version 2"):
        registry.open("toy", 2)


def test_writing_leaves_the_old_bytes_or_the_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "service.json"
    disk.write(path, b"old")

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fail)
        with pytest.raises(ModelError, match=r"cannot write .*service\.json: No space left on device"):
            disk.write(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_one_changed_byte_is_noticed(registry: Registry) -> None:
    stored = registry.save(_toy(), CARD)
    content = bytearray(_file(registry, stored).read_bytes())
    content[len(content) // 2] ^= 1
    _file(registry, stored).write_bytes(content)
    for use in (registry.open, registry.promote):
        with pytest.raises(RefusedModelError, match="the file of toy version 1 was altered"):
            use("toy", 1)


def test_a_pickle_in_place_of_a_file_is_refused_even_with_its_hash_in_the_card(registry: Registry) -> None:
    stored = registry.save(_toy(), CARD)
    content = pickle.dumps(_toy())
    sha256 = hashlib.sha256(content).hexdigest()
    (registry.folder / "files" / f"{sha256}.skops").write_bytes(content)
    _edit_card(registry, stored, sha256=sha256)
    with pytest.raises(RefusedModelError, match="is a pickle"):
        registry.open("toy", 1)
    with pytest.raises(RefusedModelError, match="is a pickle"):
        registry.add(content, CARD)


def test_another_minor_version_of_scikit_learn_is_refused_and_a_patch_release_is_not(registry: Registry) -> None:
    stored = registry.save(_toy(), CARD)
    runs = stored.libraries["scikit-learn"]
    minor = ".".join(runs.split(".")[:2])
    _edit_card(registry, stored, libraries={**stored.libraries, "scikit-learn": f"{minor}.99"})
    assert registry.open("toy", 1).version == 1
    _edit_card(registry, stored, libraries={**stored.libraries, "scikit-learn": "1.4.2"})
    text = f"toy version 1 was made by scikit-learn 1.4.2, and {runs} runs here; train it again"
    for use in (registry.open, registry.promote):
        with pytest.raises(RefusedModelError) as caught:
            use("toy", 1)
        assert str(caught.value) == text


def test_a_missing_or_oversized_file_is_refused(registry: Registry) -> None:
    stored = registry.save(_toy(), CARD)
    small = Registry(registry.folder, Limits(file_bytes=100), Vet())
    with pytest.raises(RefusedModelError, match=r"toy version 1 has [\d,]+ bytes; at most 100 are taken"):
        small.open("toy", 1)
    _file(registry, stored).unlink()
    with pytest.raises(RefusedModelError, match="the file of toy version 1 cannot be read: No such file"):
        registry.open("toy", 1)


def test_damaged_cards_and_pointers_are_named(registry: Registry) -> None:
    registry.save(_toy(), CARD)
    registry.promote("toy", 1)
    folder = registry.folder / "names" / "toy"
    (folder / "service.json").write_text("{")
    with pytest.raises(RefusedModelError, match=r"service\.json is damaged"):
        registry.open("toy")
    (folder / "1" / "card.json").write_text('{"name": 1}')
    with pytest.raises(RefusedModelError, match=r"card\.json is damaged"):
        registry.open("toy", 1)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"kind": "regression", "labels": ()}, "is said to do regression, and its file does classification"),
        ({"labels": ("a", "b", "c")}, "names 3 labels, and its file knows 2 classes"),
        ({"features": ("a",)}, "names 1 features, and its file takes 3"),
        ({"image_shape": (2, 2)}, "has images of 2 by 2, and its file takes 3 features"),
    ],
)
def test_a_card_that_does_not_fit_the_file_is_refused(registry: Registry, change: dict[str, Any], text: str) -> None:
    with pytest.raises(RefusedModelError, match=text):
        registry.save(_toy(), msgspec.structs.replace(CARD, **change))
    registry.save(_toy(), CARD)
    _edit_card(registry, registry.get("toy", 1), **change)
    with pytest.raises(RefusedModelError, match=text):
        registry.open("toy", 1)


def test_what_cannot_be_stored_leaves_nothing_behind(registry: Registry) -> None:
    refused: list[tuple[Any, Card, type[HeadraceError]]] = [
        (Foreign(), CARD, RefusedModelError),
        (GaussianNB(), CARD, RefusedModelError),
        (_toy(), msgspec.structs.replace(CARD, name="../../toy"), SettingsError),
        (_toy(), msgspec.structs.replace(CARD, labels=()), RefusedModelError),
    ]
    for estimator, card, error in refused:
        with pytest.raises(error):
            registry.save(estimator, card)
    assert not registry.folder.exists()


def test_a_file_whose_child_crashes_is_neither_stored_nor_opened(tmp_path: Path) -> None:
    def crash(content: bytes, limits: Limits) -> Verdict:
        return vetting.vet(content, limits, [sys.executable, "-c", "import os; os.kill(os.getpid(), 11)"])

    good = Registry(tmp_path, vet=Vet())
    good.save(_toy(), CARD)
    for marker in (tmp_path / "files").glob("*.json"):
        marker.unlink()
    crashing = Registry(tmp_path, vet=crash)
    for use in (lambda: crashing.open("toy", 1), lambda: crashing.save(_toy(), CARD)):
        with pytest.raises(RefusedModelError, match="SIGSEGV"):
            use()
    assert len(good.versions("toy")) == 1


def test_a_file_is_vetted_once_for_all_processes_until_the_libraries_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = Vet(), Vet(), Vet()
    writer = Registry(tmp_path, vet=first)
    writer.save(_toy(), CARD)
    writer.open("toy", 1)
    Registry(tmp_path, vet=second).open("toy", 1)
    assert (first.asked, second.asked) == (1, 0)
    libraries = {**vetting.libraries(), "numpy": "9.9.9"}
    monkeypatch.setattr(vetting, "libraries", lambda: libraries)
    monkeypatch.setattr("headrace.models.quarantine.libraries", lambda: libraries)
    renewed = Registry(tmp_path, vet=third)
    renewed.open("toy", 1)
    renewed.open("toy", 1)
    assert third.asked == 1


def test_a_marker_that_was_damaged_or_is_of_another_file_is_not_believed(registry: Registry) -> None:
    stored = registry.save(_toy(), CARD)
    other = registry.save(_toy(1), CARD)
    files = registry.folder / "files"
    foreign = (files / f"{other.sha256}.json").read_bytes()
    for marker in (b"{", foreign):
        (files / f"{stored.sha256}.json").write_bytes(marker)
        vet = Vet()
        assert Registry(registry.folder, vet=vet).open("toy", 1).version == 1
        assert vet.asked == 1


def test_a_folder_that_cannot_be_written_still_serves(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = registry.save(_toy(), CARD)
    (registry.folder / "files" / f"{stored.sha256}.json").unlink()

    def refuse(path: Path, content: bytes) -> None:
        raise ModelError(f"cannot write {path}: Read-only file system")

    monkeypatch.setattr(disk, "write", refuse)
    assert Registry(registry.folder, vet=Vet()).open("toy", 1).version == 1


def test_listing_a_registry_loads_neither_numpy_nor_scikit_learn(registry: Registry) -> None:
    registry.save(_toy(), CARD)
    script = (
        "import sys; from headrace.models.registry import Registry; from headrace.models import evaluation; "
        "assert len(Registry(sys.argv[1]).listing()) == 1; "
        "print(sorted({'numpy', 'sklearn', 'skops', 'redis', 'dash'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(registry.folder)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"


def test_a_file_from_elsewhere_can_be_added(registry: Registry) -> None:
    stored = registry.add(vault.pack(_toy()), CARD)
    model = registry.open("toy", stored.version)
    assert (model.score(X).labels == _toy().predict(X)).all()
