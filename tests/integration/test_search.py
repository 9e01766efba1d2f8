"""Searches say their candidates from inside joblib's worker processes, and the books are complete whatever dies."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from headrace.bus.sync import Link
from headrace.channels import RUNS
from headrace.codec import decode
from headrace.events import RunCandidate, RunFinished, RunMetrics, RunStarted
from headrace.settings import Settings
from headrace.subscriber.aggregation.runs import Runs

pytestmark = [pytest.mark.server, pytest.mark.slow]

SEARCH = """
import sys
import joblib
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.experimental import enable_halving_search_cv
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV
from headrace import Run, adapters

x, y = make_classification(n_samples=120, n_features=6, random_state=0)
if __name__ == "__main__":
    backend = sys.argv[1]
    if backend == "halving":
        forest = RandomForestClassifier(random_state=0)
        search = HalvingGridSearchCV(
            forest, {"max_depth": [1, 2, 3, None]}, resource="n_estimators", max_resources=12, factor=3,
            min_resources=4, cv=2, n_jobs=2,
        )
    else:
        search = GridSearchCV(LogisticRegression(), {"C": [0.01, 0.1, 1.0, 10.0]}, cv=3, n_jobs=2)
    with joblib.parallel_config("loky" if backend == "halving" else backend):
        with adapters.sklearn.watch(search, backend):
            search.fit(x, y)
    if backend == "loky":
        with Run("lanes") as run, adapters.joblib.lanes(run, "loky", n_jobs=2) as lanes:
            found = RandomForestClassifier(20, random_state=0).fit(x, y)
            values = joblib.Parallel()(joblib.delayed(abs)(-n) for n in range(30))
        assert values == list(range(30))
        assert lanes.tasks == 50, lanes.tasks
"""


def searched(settings: Settings, folder: Path, backend: str) -> list[Any]:
    """The events of a search in processes of its own."""
    script = folder / "search.py"
    script.write_text(SEARCH, encoding="utf-8")
    environ = {
        **os.environ,
        "REDIS_URL": settings.redis_url,
        "HEADRACE_PREFIX": settings.prefix,
        "HEADRACE_SPILL": str(folder / "spill"),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", script, backend],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    return [decode(entry.payload) for entry in Link(settings).read(RUNS, 0, count=10_000)]


@pytest.mark.parametrize("backend", ["loky", "multiprocessing"])
def test_folds_come_from_the_processes_that_fitted_them(
    server_settings: Settings, tmp_path: Path, backend: str
) -> None:
    found = searched(server_settings, tmp_path, backend)
    started = found[0]
    assert isinstance(started, RunStarted)
    mine = [event for event in found if event.run == started.run]
    folds = [event for event in mine if isinstance(event, RunCandidate) and event.folds]
    assert {event.source for event in folds}.isdisjoint({started.source})
    assert len({(event.candidate, event.fold) for event in folds}) == len(folds)
    if backend == "loky":  # workers of a pool are killed in the end, and may take a last fold along
        assert len(folds) == 12
        lanes = [event for event in found if isinstance(event, RunMetrics)]
        assert lanes[-1].metrics["tasks"] == 50
    runs = Runs()
    for event in mine:
        runs.fold(event, event.time)
    [view] = runs.view(0.0)
    assert (view.state, view.candidates) == ("finished", 4)
    whole = {event.candidate: event for event in mine if isinstance(event, RunCandidate) and not event.folds}
    assert len(whole) == 4
    for event in folds:
        assert whole[event.candidate].metrics[f"score fold {event.fold}"] == event.metrics["score"]


def test_halving_says_rungs_and_resources(server_settings: Settings, tmp_path: Path) -> None:
    found = searched(server_settings, tmp_path, "halving")
    candidates = [event for event in found if isinstance(event, RunCandidate)]
    rungs = {(event.rung, event.resource) for event in candidates}
    assert rungs == {(0, 4.0), (1, 12.0)}
    live = {(event.candidate, event.rung) for event in candidates if event.folds}
    assert live == {(event.candidate, event.rung) for event in candidates if not event.folds}
    assert len([one for one in live if one[1] == 0]) == 4
    assert [event.status for event in found if isinstance(event, RunFinished)] == ["finished"]
