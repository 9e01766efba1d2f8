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
from headrace.testing import wait_until_sync

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(300)]

SEARCH = """
import sys
import joblib
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.experimental import enable_halving_search_cv
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV
from headrace import Run, adapters
from headrace.publisher.publisher import shared

x, y = make_classification(n_samples=120, n_features=6, random_state=0)
if __name__ == "__main__":
    backend = sys.argv[1]
    search = GridSearchCV(LogisticRegression(), {"C": [0.01, 0.1, 1.0, 10.0]}, cv=3, n_jobs=2)
    with joblib.parallel_config(backend), adapters.sklearn.watch(search, "grid"):
        search.fit(x, y)
    if backend == "loky":
        forest = RandomForestClassifier(random_state=0)
        search = HalvingGridSearchCV(
            forest, {"max_depth": [1, 2, 3, None]}, resource="n_estimators", max_resources=12, factor=3,
            min_resources=4, cv=2, n_jobs=2,
        )
        with adapters.sklearn.watch(search, "halving"):
            search.fit(x, y)
        with Run("lanes") as run, adapters.joblib.lanes(run, "loky", n_jobs=2) as lanes:
            values = joblib.Parallel()(joblib.delayed(abs)(-n) for n in range(30))
        assert values == list(range(30))
        assert lanes.tasks == 30, lanes.tasks
    shared().flush(200.0)
    print("done", flush=True)
    sys.stdin.read()
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

    def found() -> list[Any]:
        return [decode(entry.payload) for entry in Link(settings).read(RUNS, 0, count=10_000)]

    def folds() -> int:
        return len([event for event in found() if isinstance(event, RunCandidate) and event.folds])

    words = [sys.executable, "-W", "error", str(script), backend]
    with subprocess.Popen(words, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "done\n"
        if backend == "loky":  # its workers live on; those of a pool are killed, and may take folds along
            wait_until_sync(lambda: folds() == 12 + 12, 200.0, "the folds of the workers")
        process.communicate(timeout=60)
    assert process.returncode == 0
    return found()


def of_run(found: list[Any], name: str) -> list[Any]:
    [run] = {event.run for event in found if isinstance(event, RunStarted) and event.name == name}
    return [event for event in found if event.run == run]


@pytest.mark.parametrize("backend", ["loky", "multiprocessing"])
def test_searches_are_followed_into_their_workers(server_settings: Settings, tmp_path: Path, backend: str) -> None:
    found = searched(server_settings, tmp_path, backend)
    mine = of_run(found, "grid")
    folds = [event for event in mine if isinstance(event, RunCandidate) and event.folds]
    whole = {event.candidate: event for event in mine if isinstance(event, RunCandidate) and not event.folds}
    assert {event.source for event in folds}.isdisjoint({mine[0].source})
    assert len({(event.candidate, event.fold) for event in folds}) == len(folds)
    assert len(whole) == 4
    for event in folds:
        assert whole[event.candidate].metrics[f"score fold {event.fold}"] == event.metrics["score"]
    runs = Runs()
    for event in mine:
        runs.fold(event, event.time)
    [view] = runs.view(0.0)
    assert (view.state, view.candidates) == ("finished", 4)
    if backend == "loky":
        assert len(folds) == 12
        _halving(of_run(found, "halving"))
        lanes = [event.metrics for event in of_run(found, "lanes") if isinstance(event, RunMetrics)]
        assert lanes[-1]["tasks"] == 30
        assert sum(lanes[-1].get(f"lane {lane} tasks") or 0 for lane in (1, 2)) == 30


def _halving(mine: list[Any]) -> None:
    candidates = [event for event in mine if isinstance(event, RunCandidate)]
    assert {(event.rung, event.resource) for event in candidates} == {(0, 4.0), (1, 12.0)}
    live = {(event.candidate, event.rung) for event in candidates if event.folds}
    assert live == {(event.candidate, event.rung) for event in candidates if not event.folds}
    assert len([one for one in live if one[1] == 0]) == 4
    assert [event.status for event in mine if isinstance(event, RunFinished)] == ["finished"]
