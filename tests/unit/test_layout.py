"""The four folders are sub-packages of headrace, for the installer, the checkers and git alike."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SETUP = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
FOLDERS = ("dashboard", "models", "publisher", "subscriber")


def test_package_dir_maps_exactly_the_four_folders() -> None:
    assert SETUP["package-dir"] == {f"headrace.{folder}": folder for folder in FOLDERS}


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_link_agrees_with_package_dir(folder: str) -> None:
    link = ROOT / "headrace" / folder
    assert link.is_symlink(), "the checkout has no links: set `git config core.symlinks true` and check out again"
    assert link.readlink() == Path("..", SETUP["package-dir"][f"headrace.{folder}"])


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_sub_package_is_the_folder(folder: str) -> None:
    module = importlib.import_module(f"headrace.{folder}")
    assert module.__file__ is not None
    assert Path(module.__file__).resolve() == ROOT / folder / "__init__.py"


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_plain_name_is_not_installed(folder: str, tmp_path: Path) -> None:
    probe = f"import importlib.util as u; raise SystemExit(u.find_spec({folder!r}) is not None)"
    outside = subprocess.run([sys.executable, "-c", probe], cwd=tmp_path, check=False, timeout=30)
    assert outside.returncode == 0, f"`import {folder}` works outside the repository: it must be headrace.{folder}"


def test_every_package_is_listed_for_the_installer() -> None:
    found = set()
    for top in ("headrace", *FOLDERS):
        for init in (ROOT / top).rglob("__init__.py"):
            parts = init.parent.relative_to(ROOT).parts
            if parts[:2] in {("headrace", folder) for folder in FOLDERS}:
                continue  # Seen through its link; the folder itself is in the list above.
            found.add(".".join(parts if top == "headrace" else ("headrace", *parts)))
    assert found == set(SETUP["packages"])


@pytest.mark.parametrize("package", ["headrace", *FOLDERS])
def test_every_package_is_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()


def test_the_image_installs_what_the_tests_ran_with() -> None:
    tested, shipped = (_pins(ROOT / name) for name in ("requirements.lock", "requirements-image.lock"))
    assert shipped
    assert shipped <= tested


def test_the_locks_name_no_place_to_download_from() -> None:
    for name in ("requirements.lock", "requirements-image.lock"):
        assert not re.search(r"://|--(index|find|extra)", (ROOT / name).read_text(encoding="utf-8"))


def _pins(lock: Path) -> set[str]:
    return set(re.findall(r"^([A-Za-z0-9._-]+==[^ ;\\]+)", lock.read_text(encoding="utf-8"), re.MULTILINE))
