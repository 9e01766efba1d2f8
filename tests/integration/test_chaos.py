"""Each fault of tests/chaos once: `make chaos` inflicts hundreds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.__main__ import play
from tests.chaos.scenario import Scenario
from tests.chaos.scenarios import ALL
from tests.chaos.stage import Size, prepare_models

TINY = Size(faults=1, requests=600, rate=1_200)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_models(tmp_path_factory.mktemp("chaos-models"))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("scenario", ALL, ids=lambda one: one.name)
async def test_the_books_balance_after(scenario: Scenario, models: Path, tmp_path: Path) -> None:
    found = await play(scenario, TINY, 7, tmp_path / "stage", models)
    if found.left_out:
        pytest.skip(found.left_out)
    assert found.balanced, found
    assert found.faults >= 1
    assert found.accepted > 0
    assert found.results + found.dead == found.accepted
