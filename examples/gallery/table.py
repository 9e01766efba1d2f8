"""Run exhibits, each in an environment that has what it needs, and write what came of it into docs/gallery.md.

    python examples/gallery/table.py [NAME...] [--quick]

Environments are made in `.gallery`, from the locked requirements beside this file, when they are first needed. Rows of
exhibits that did not run stay as they are; with --quick the document does. The exit status is 1 if an exhibit fails.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from headrace.cli.gallery import ENVIRONMENTS, Exhibit, exhibits
from headrace.embedded import EmbeddedServer

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]
DOCUMENT = ROOT / "docs" / "gallery.md"
BEGIN, END = "<!-- gallery: begin -->\n", "<!-- gallery: end -->"
HEAD = "| exhibit | versions | result | events | time |\n| --- | --- | --- | --- | --- |\n"
LONGEST_S = 600


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="small, and without a word in the document")
    asked = parser.parse_args()
    found = exhibits(FOLDER)
    if unknown := set(asked.names) - {exhibit.name for exhibit in found}:
        parser.error(f"no exhibit is called {', '.join(sorted(unknown))}")
    chosen = [exhibit for exhibit in found if not asked.names or exhibit.name in asked.names]
    failed = []
    for exhibit in chosen:
        row = perform(exhibit, asked.quick)
        if row is None:
            failed.append(exhibit.name)
        elif not asked.quick:
            written(exhibit.name, row, [each.name for each in found])
    print(f"{len(chosen) - len(failed)} of {len(chosen)} exhibits did what they say", *failed)
    return 1 if failed else 0


def perform(exhibit: Exhibit, quick: bool) -> str | None:
    """Run an exhibit on a server of its own: its row of the table, or None if it failed."""
    python = exhibit.whole() or made(exhibit)
    with TemporaryDirectory(prefix="headrace-gallery-", ignore_cleanup_errors=True) as home, EmbeddedServer() as server:
        report = Path(home, "report.json")
        environ = os.environ | {
            "PATH": f"{Path(python).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "REDIS_URL": server.url,
            "HEADRACE_MODELS": str(Path(home, "models")),
            "HEADRACE_SPILL": str(Path(home, "spill")),
        }
        words = [python, str(exhibit.path), "--report", str(report), *(["--quick"] if quick else [])]
        began_s = time.monotonic()
        try:
            status = subprocess.run(words, env=environ, check=False, timeout=LONGEST_S).returncode
        except subprocess.TimeoutExpired:
            print(f"{exhibit.name} did not end within {LONGEST_S} s", file=sys.stderr)
            return None
        seconds = time.monotonic() - began_s
        return row(exhibit.name, json.loads(report.read_text(encoding="utf-8")), seconds) if status == 0 else None


def row(name: str, report: Mapping[str, object], seconds: float) -> str:
    """One row of the table, from what an exhibit reported."""
    versions = report["versions"]
    assert isinstance(versions, dict)
    shown = ", ".join(f"{package} {version}" for package, version in versions.items())
    return f"| `{name}` | {shown} | {report['result']} | {report['events']:,} | {seconds:.0f} s |"


def written(name: str, row: str, order: Sequence[str]) -> None:
    """Put a row in its place in the document."""
    text = DOCUMENT.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    table, after = rest.split(END)
    rows = {found[1]: found[0] for found in re.finditer(r"^\| `(\w+)` .*$", table, re.MULTILINE)} | {name: row}
    lines = [rows[each] for each in order if each in rows]
    DOCUMENT.write_text(f"{before}{BEGIN}\n{HEAD}{chr(10).join(lines)}\n\n{END}{after}", encoding="utf-8")


def made(exhibit: Exhibit) -> str:
    """The interpreter of the environment that the exhibit needs, made from its locked requirements."""
    home = ROOT / ENVIRONMENTS / exhibit.environment
    print(f"making {home.relative_to(ROOT)} for {exhibit.name}", flush=True)
    venv.create(home, with_pip=True, clear=True)
    python = home / "bin" / "python"
    try:
        for words in steps(exhibit.requirements):
            subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *words], check=True)
    except subprocess.CalledProcessError:
        (home / "bin" / "python").unlink()  # half an environment must not look like one
        raise SystemExit(f"the environment of {exhibit.name} cannot be made; the lines above say why") from None
    return str(python)


def steps(requirements: Path) -> list[list[str]]:
    """What pip installs, one call after the other: the lock, what cannot be in it, and headrace itself."""
    late = requirements.with_suffix(".late.txt")
    alone = ["--no-deps", "--no-build-isolation"]
    return [
        ["--require-hashes", "-r", str(requirements.with_suffix(".txt"))],
        *([[*alone, "-r", str(late)]] if late.exists() else []),
        [*alone, "-e", str(ROOT)],
    ]


if __name__ == "__main__":
    sys.exit(main())
