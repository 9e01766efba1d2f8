"""Documents agree with the code: links, paths, tables, numbering. That they also run: tests/integration/test_readme.py.

`HEADRACE_WRITE_DOCS=1` writes the table of settings instead of comparing it.
"""

from __future__ import annotations

import ast
import inspect
import os
import re
import tomllib
from dataclasses import MISSING, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace import channels, settings
from headrace.channels import BUILT_IN, PARTITIONED
from headrace.events import AnyEvent, Event
from headrace.settings import Settings

ROOT = Path(__file__).parents[2]
ADR = ROOT / "docs" / "adr"
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.md")],
    key=lambda path: path.as_posix(),
)
FOLDERS = ("headrace", "publisher", "subscriber", "dashboard", "models", "tests", "benchmarks", "examples", "docs")
EVENTS: list[type[Event]] = list(AnyEvent.__args__)


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def prose(text: str) -> str:
    """The text without its code blocks."""
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> set[str]:
    """The anchors that headings get, as the usual hosts make them."""
    titles = re.findall(r"^#+ (.+)$", prose(path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_every_link_leads_somewhere(path: Path) -> None:
    text = prose(path.read_text(encoding="utf-8"))
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|srcset|href)="([^"]+)"', text)
    for link in links:
        if link.startswith(("https://", "http://", "mailto:")):
            continue
        target, _, anchor = link.partition("#")
        there = (path.parent / target).resolve() if target else path
        assert there.exists(), f"{named(path)} links to {link}, which does not exist"
        if anchor:
            assert anchor in anchors(there), f"{named(path)} links to {link}, and {named(there)} has no such heading"


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_every_path_named_exists(path: Path) -> None:
    for name in re.findall(r"`([\w./-]+)`", prose(path.read_text(encoding="utf-8"))):
        first, slash, _ = name.partition("/")
        if slash and first in FOLDERS:
            assert (ROOT / name).exists(), f"{named(path)} names {name}, which does not exist"


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_no_path_of_a_machine(path: Path) -> None:
    found = re.search(r"(?<![\w.~:])/(home|root|work|tmp|Users|var|opt|mnt)\b[^\s`]*", path.read_text(encoding="utf-8"))
    assert not found, f"{named(path)} holds {found}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_headings_go_down_one_level_at_a_time(path: Path) -> None:
    levels = [len(found) for found in re.findall(r"^(#+) ", prose(path.read_text(encoding="utf-8")), re.MULTILINE)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_decisions_are_numbered_listed_and_short() -> None:
    records = sorted(ADR.glob("0*.md"))
    listed = re.findall(r"^(\d+)\. \[(.+)\]\((.+)\)$", (ADR / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert [name for _, _, name in listed] == [path.name for path in records]
    for number, (path, (shown, title, _)) in enumerate(zip(records, listed, strict=True), 1):
        lines = path.read_text(encoding="utf-8").splitlines()
        assert path.name.startswith(f"{number:04d}-")
        assert int(shown) == number
        assert lines[0] == f"# {number}. {title}"
        assert re.fullmatch(r"Status: (accepted|replaced by \[\d+\]\(.+\))", lines[2]), f"{path.name}: {lines[2]}"
        assert [line for line in lines if line.startswith("## ")] == ["## Context", "## Decision", "## Consequences"]
        assert len(lines) <= 60, f"{path.name} is longer than a page"


def test_the_changelog_keeps_its_form() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert versions
    for version in versions:
        assert re.fullmatch(r"\[\d+\.\d+\.\d+\] - (Unreleased|\d{4}-\d{2}-\d{2})", version), version
    kinds = re.findall(r"^### (.+)$", text, re.MULTILINE)
    assert set(kinds) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert versions[0].startswith(f"[{project['version']}]"), "the newest entry is not of this version"


def test_the_readme_tables_the_extras() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"headrace\[([\w,-]+)\]", text))
    assert shown == set(extras) - {"build", "dev"}


def test_the_readme_tables_the_commands() -> None:
    from headrace.cli import SECTIONS

    rows = _rows(ROOT / "README.md")
    shown = {
        first.removeprefix("headrace "): cells[0] for first, cells in rows.items() if first.startswith("headrace ")
    }
    assert shown == {name: text for section in SECTIONS.values() for name, text in section.items()}


def test_the_guarantees_name_tests_that_exist() -> None:
    text = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
    named_tests = re.findall(r"- `(tests/[\w/]+\.py)`:((?:\s+`test_\w+`,?)+)", text)
    assert named_tests
    for path, names in named_tests:
        source = (ROOT / path).read_text(encoding="utf-8")
        for name in re.findall(r"test_\w+", names):
            assert f"def {name}(" in source, f"docs/guarantees.md names {path}::{name}, which does not exist"
    proven = re.findall(r"^(\d)\. .+\n {3}- `tests/", text, re.MULTILINE)
    promised = re.findall(r"^\*\*(\d)\. ", text, re.MULTILINE)
    assert proven == promised == list("12345678")


def test_the_dashboard_tables_every_alert() -> None:
    source = (ROOT / "subscriber" / "aggregation" / "alerts.py").read_text(encoding="utf-8")
    raised = set(re.findall(r'Condition\(\s*"([a-z ]+)"', source))
    rows = _rows(ROOT / "docs" / "dashboard.md")
    assert raised
    assert raised == {name for name, cells in rows.items() if cells[0] in ("warning", "critical")}


def test_the_wire_tables_every_event() -> None:
    rows = _rows(ROOT / "docs" / "wire.md")
    for kind in EVENTS:
        tag = kind.__struct_config__.tag
        assert tag in rows, f"docs/wire.md has no row for {tag}"
        shared = set(Event.__struct_fields__)
        own = {
            f"**`{field.name}`**" if field.required else f"`{field.name}`"
            for field in msgspec.structs.fields(kind)
            if field.name not in shared
        }
        assert set(rows[tag][1].split(", ")) == own, f"docs/wire.md: the fields of {tag} differ from its class"
        home = set(re.findall(r"`([\w-]+)`", rows[tag][0]))
        assert home <= set(BUILT_IN), f"docs/wire.md: {tag} belongs to no channel that there is"
    assert {tag for tag in rows if "." in tag} <= {kind.__struct_config__.tag for kind in EVENTS}


def test_the_wire_tells_what_the_intake_takes() -> None:
    from headrace.subscriber.aggregation.intake import TAKES

    rows = _rows(ROOT / "docs" / "wire.md")
    for channel, kinds in TAKES.items():
        for kind in kinds:
            assert f"`{channel}`" in rows[str(kind.__struct_config__.tag)][0]


def test_the_keys_are_those_of_the_code() -> None:
    keys = {line.strip() for line in (inspect.getdoc(channels) or "").splitlines() if line.startswith("    PREFIX:")}
    shown = (ROOT / "docs" / "wire.md").read_text(encoding="utf-8")
    assert keys == {line for line in shown.splitlines() if line.startswith("PREFIX:")}
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for key in keys:
        assert f"`{key.split()[0]}`" in guide, f"CONTRIBUTING.md does not name {key.split()[0]}"


def test_the_wire_names_the_partitioned_channels() -> None:
    text = (ROOT / "docs" / "wire.md").read_text(encoding="utf-8")
    sentence = re.search(r"((?:`\w+`(?:, | and ))+`\w+`) have as many partitions", text)
    assert sentence
    assert set(re.findall(r"`(\w+)`", sentence[1])) == PARTITIONED


def test_the_settings_are_those_of_the_code() -> None:
    path = ROOT / "docs" / "settings.md"
    text = path.read_text(encoding="utf-8")
    begin, end = "<!-- settings: begin -->\n", "<!-- settings: end -->"
    table = settings_table(_rows(path))
    current = re.sub(f"{begin}.*?{end}", lambda _: f"{begin}\n{table}\n{end}", text, flags=re.DOTALL)
    if os.environ.get("HEADRACE_WRITE_DOCS") == "1":
        path.write_text(current, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == current, (
        "run HEADRACE_WRITE_DOCS=1 make test ARGS=tests/unit/test_docs.py"
    )
    assert not re.search(r"\|\s*\|$", table, re.MULTILINE), "a setting has no meaning: write one below its field"


def settings_table(written: dict[str, list[str]]) -> str:
    """One row for each setting; a field without a docstring keeps the meaning that the document gives."""
    documented = _field_docs(ast.parse(inspect.getsource(settings)))
    names: dict[str, str] = settings._NAMES
    lines = ["| variable | default | meaning |", "| --- | --- | --- |"]
    for item in fields(Settings):
        variable = names.get(item.name, f"HEADRACE_{item.name.upper()}")
        meaning = documented.get(item.name) or (written.get(variable) or [""])[-1]
        lines.append(f"| `{variable}` | {_default(item)} | {meaning} |")
    return "\n".join(lines) + "\n"


def _default(item: Any) -> str:
    value = item.default if item.default is not MISSING else item.default_factory()
    if isinstance(value, Path):
        return f"`{value.as_posix().replace(Path.home().as_posix(), '~')}`"
    if isinstance(value, bool):
        return "`1`" if value else "`0`"
    if item.name.endswith("_bytes"):
        return f"`{value}` ({value >> 20} MiB)"
    accepted = settings._ACCEPTED.get(item.name, ())
    others = f" (or {', '.join(f'`{name}`' for name in accepted if name != value)})" if accepted else ""
    return f"`{value}`{others}"


def _field_docs(module: ast.Module) -> dict[str, str]:
    """The strings below the fields of Settings, by field."""
    [body] = [node.body for node in module.body if isinstance(node, ast.ClassDef) and node.name == "Settings"]
    found: dict[str, str] = {}
    for before, after in pairwise(body):
        if (
            isinstance(before, ast.AnnAssign)
            and isinstance(before.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
        ):
            found[before.target.id] = " ".join(str(after.value.value).split())
    return found


def _rows(path: Path) -> dict[str, list[str]]:
    """Rows of the tables of a document: the other cells by the first one, whose code marks are taken off."""
    rows: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("| `"):
            first, *cells = (cell.strip() for cell in line.strip("|").split(" | "))
            rows[first.strip("`")] = [cell.strip("| ") for cell in cells]
    return rows
