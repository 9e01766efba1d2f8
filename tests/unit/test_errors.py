"""Errors: one tree, drawn at the head of its module; each says what to do, and whether trying again may help."""

from __future__ import annotations

import ast
import inspect
import re

import pytest

from headrace import errors
from headrace.errors import HeadraceError

TREE = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, HeadraceError)}
RETRYABLE = {"UnavailableError", "FullError", "DeadlineError"}

EXAMPLES = [
    errors.UnknownTypeError("run.paused"),
    errors.UnavailableError("redis://db:6379", "connection refused"),
    errors.FullError("requests", 3),
    errors.GroupLostError("requests", "scorers"),
    errors.LeaseLostError("leader"),
    errors.UnknownModelError("digit", ("digits", "cancer")),
    errors.UnknownModelError("digit"),
    errors.RejectedError("0-1-1", "the rows have 3 values, the model takes 64"),
    errors.DeadlineError("0-1-1", 2.5),
]


def test_the_drawing_shows_the_tree() -> None:
    drawing = re.findall(r"^(?:    )?([│ ]*[├└]── )?(\w+Error)\b", errors.__doc__ or "", re.MULTILINE)
    parents: list[str] = []
    drawn: dict[str, str | None] = {}
    for branch, name in drawing:
        depth = len(branch) // 4
        del parents[depth:]
        drawn[name] = parents[-1] if parents else None
        parents.append(name)
    assert drawn == {
        name: None if kind is HeadraceError else next(base.__name__ for base in kind.__bases__)
        for name, kind in TREE.items()
    }


@pytest.mark.parametrize("name", sorted(TREE))
def test_each_says_what_it_means_and_whether_to_try_again(name: str) -> None:
    assert inspect.getdoc(TREE[name])
    assert TREE[name].retryable is (name in RETRYABLE)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_texts_name_what_was_wrong(error: HeadraceError) -> None:
    said = str(error)
    for value in vars(error).values():
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, str):
                assert part in said


def test_texts_say_what_to_do() -> None:
    assert "set REDIS_URL" in str(errors.UnavailableError("redis://db", "refused"))
    assert "Add a consumer, raise HEADRACE_DEPTH_LIMIT" in str(errors.FullError("requests"))
    assert "known: digits, cancer" in str(errors.UnknownModelError("digit", ("digits", "cancer")))
    assert "headrace models train" in str(errors.UnknownModelError("digit"))
    assert "Is a scorer running?" in str(errors.DeadlineError("0-1-1", 2.5))


def test_the_module_imports_nothing() -> None:
    tree = ast.parse(inspect.getsource(errors))
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [getattr(node, "module", None) for node in imported] == ["__future__"]
