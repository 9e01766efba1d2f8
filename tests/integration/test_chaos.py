"""One fault of each kind of tests/chaos. `HEADRACE_DEEP=1` plays every scenario, `make chaos` inflicts hundreds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.chaos.__main__ import play
from tests.chaos.scenario import Scenario
from tests.chaos.scenarios import ALL
from tests.chaos.stage import Size, prepare_models

DEEP = "HEADRACE_DEEP" in os.environ
TINY = Size(faults=1, requests=600, rate=1_200)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_models(tmp_path_factory.mktemp("chaos-models"))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("scenario", [one for one in ALL if DEEP or not one.deep], ids=lambda one: one.name)
async def test_the_books_balance_after(scenario: Scenario, models: Path, tmp_path: Path) -> None:
    found = await play(scenario, TINY, 7, tmp_path / "stage", models)
    if found.left_out:
        pytest.skip(found.left_out)
    assert found.balanced, found
    assert found.faults >= 1
    assert found.accepted > 0
    assert found.results + found.dead + found.announced == found.accepted
