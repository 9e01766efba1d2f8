"""Exhibits of the gallery compute what they say and publish what they say; the heavy ones are run by `make gallery`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.cli.gallery import Exhibit, exhibits
from headrace.settings import Settings
from tests.integration.test_readme import HEADRACE, ROOT, plain_environ

pytestmark = [pytest.mark.server, pytest.mark.slow]

FOLDER = ROOT / "examples" / "gallery"
EXHIBITS = exhibits(FOLDER)
SMALL = [exhibit for exhibit in EXHIBITS if not exhibit.heavy or exhibit.optional]
"""Run by the tests: the light ones, and those that leave out what would make them heavy."""


def run(words: list[str], settings: Settings, folder: Path) -> subprocess.CompletedProcess[str]:
    environ = plain_environ() | {
        "REDIS_URL": settings.redis_url,
        "HEADRACE_PREFIX": settings.prefix,
        "HEADRACE_MODELS": str(folder / "models"),
        "HEADRACE_SPILL": str(folder / "spill"),
    }
    return subprocess.run(words, env=environ, capture_output=True, text=True, check=False, timeout=110)


@pytest.mark.parametrize("exhibit", SMALL, ids=lambda exhibit: exhibit.name)
def test_an_exhibit_does_what_it_says(exhibit: Exhibit, server_settings: Settings, tmp_path: Path) -> None:
    python = sys.executable if exhibit.optional else exhibit.python()
    if python is None:
        pytest.skip(f"`make gallery ARGS={exhibit.name}` makes its environment")
    report = tmp_path / "report.json"
    done = run([python, str(exhibit.path), "--quick", "--report", str(report)], server_settings, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(report.read_text(encoding="utf-8"))
    assert found["events"] > 0
    assert found["versions"]
    assert found["result"] in done.stdout


def test_the_command_runs_an_exhibit(server_settings: Settings, tmp_path: Path) -> None:
    done = run([*HEADRACE, "gallery", "systolic", "--quick", "--n", "2"], server_settings, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 x 2: equal to numpy's product after 4 = 3n-2 steps" in done.stdout


def test_without_a_server_the_command_starts_one() -> None:
    words = [*HEADRACE, "gallery", "--no-page", "systolic", "--quick"]
    done = subprocess.run(words, env=plain_environ(), capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "18 events, all of them in the log" in done.stdout


BROKEN = '''"""An exhibit that is wrong.

Needs: nothing more
Weight: light
"""

from stage import Show, play


def main(show: Show) -> str:
    with show.run("broken") as run:
        run.log(step=1, loss=0.5)
    show.expect(run, metrics={promised})
    show.check({right}, "two and two are five")
    return "done"


if __name__ == "__main__":
    play(main)
'''


@pytest.mark.parametrize(
    ("promised", "right", "said"),
    [
        (1, False, "broken failed: two and two are five"),
        (0, True, "broken failed: the log holds 3 of 2 events of runs"),
    ],
)
def test_an_exhibit_that_is_wrong_fails(
    promised: int, right: bool, said: str, server_settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "stage.py").write_text((FOLDER / "stage.py").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "broken.py").write_text(BROKEN.format(promised=promised, right=right), encoding="utf-8")
    done = run([sys.executable, str(tmp_path / "broken.py")], server_settings, tmp_path)
    assert done.returncode == 1
    assert said in done.stderr
    listed = run([*HEADRACE, "gallery", "--folder", str(tmp_path)], server_settings, tmp_path)
    assert "An exhibit that is wrong." in listed.stdout


def test_the_document_tables_every_exhibit() -> None:
    text = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    described = re.findall(r"^\*\*`(\w+)`\*\*", text, re.MULTILINE)
    names = [exhibit.name for exhibit in EXHIBITS]
    assert sorted(described) == names
    assert re.findall(r"^\| `(\w+)` \| .+ \| .+ \| [\d,]+ \| \d+ s \|$", text, re.MULTILINE) == names


def test_every_environment_is_locked() -> None:
    folder = FOLDER / "requirements"
    needed = {exhibit.environment for exhibit in EXHIBITS if exhibit.environment}
    assert needed == {path.stem for path in folder.glob("*.in")}
    for name in needed:
        lock = (folder / f"{name}.txt").read_text(encoding="utf-8")
        assert "--hash=sha256:" in lock
        assert not re.search(r"://|--(index|find|extra)", lock)
