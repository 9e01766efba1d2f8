"""The gallery says what there is and what is missing, without importing anything of it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from headrace.cli import main
from headrace.cli.gallery import exhibits

HEAVY = '"""Two walls.\n\nNeeds: walls\nWeight: heavy\n"""\n\nimport no_such_framework\n'
EITHER = '"""Two walls or one.\n\nNeeds: nothing more, walls for all of it\nWeight: light\n"""\n'
LIGHT = '"""One wall.\n\nNeeds: nothing more\nWeight: light\n"""\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    home = tmp_path / "examples" / "gallery"
    (home / "requirements").mkdir(parents=True)
    (home / "stage.py").write_text('"""Not an exhibit."""\n', encoding="utf-8")
    (home / "heavy.py").write_text(HEAVY, encoding="utf-8")
    (home / "light.py").write_text(LIGHT, encoding="utf-8")
    (home / "requirements" / "walls.in").write_text("# Walls.\nclick\nno-such-framework>=2\n", encoding="utf-8")
    return home


def gallery(*words: str) -> Result:
    return CliRunner().invoke(main, ["gallery", *words], prog_name="headrace")


def test_exhibits_are_read_from_their_docstrings(folder: Path) -> None:
    heavy, light = exhibits(folder)
    assert (heavy.name, heavy.title, heavy.environment, heavy.heavy) == ("heavy", "Two walls.", "walls", True)
    assert (light.name, light.title, light.environment, light.heavy) == ("light", "One wall.", "", False)
    assert light.python() == sys.executable


def test_an_environment_that_was_made_is_used(folder: Path, tmp_path: Path) -> None:
    heavy, _ = exhibits(folder)
    assert heavy.python() is None
    python = tmp_path / ".gallery" / "walls" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    assert heavy.python() == str(python)


def test_an_exhibit_that_can_do_without_its_environment_does(folder: Path, tmp_path: Path) -> None:
    (folder / "either.py").write_text(EITHER, encoding="utf-8")
    either, heavy, light = exhibits(folder)
    assert (either.environment, either.optional, heavy.optional, light.optional) == ("walls", True, False, False)
    assert (either.whole(), either.python()) == (None, sys.executable)
    assert "walls (to be made)" in next(
        line for line in gallery("--folder", str(folder)).output.splitlines() if "either" in line
    )
    python = tmp_path / ".gallery" / "walls" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    assert either.whole() == either.python() == str(python)


def test_the_list_says_what_is_to_be_made(folder: Path) -> None:
    shown = gallery("--folder", str(folder))
    assert shown.exit_code == 0
    assert [line.split()[:2] for line in shown.output.splitlines()[1:]] == [["heavy", "heavy"], ["light", "light"]]
    assert "walls (to be made)" in shown.output


def test_an_exhibit_without_its_packages_says_how_to_get_them(folder: Path) -> None:
    shown = gallery("--folder", str(folder), "heavy")
    assert shown.exit_code == 1
    assert "heavy needs no-such-framework: `make gallery ARGS=heavy`" in shown.output


def test_an_unknown_exhibit_is_refused(folder: Path) -> None:
    shown = gallery("--folder", str(folder), "louvre")
    assert shown.exit_code == 1
    assert "no entry" not in shown.output
    assert "'louvre'; there are heavy, light" in shown.output


def test_a_folder_without_a_gallery_says_where_it_comes_from(tmp_path: Path) -> None:
    shown = gallery("--folder", str(tmp_path))
    assert shown.exit_code == 1
    assert "comes with the source" in shown.output
