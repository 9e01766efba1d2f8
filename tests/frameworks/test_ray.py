"""Ray Tune calls its callbacks as the adapter expects."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace import Publisher, adapters
from headrace.events import RunCandidate, RunFinished

ray = pytest.importorskip("ray")
tune = pytest.importorskip("ray.tune")

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(autouse=True)
def cluster() -> Iterator[None]:
    ray.init(num_cpus=2, include_dashboard=False, configure_logging=False, log_to_driver=False)
    yield
    ray.shutdown()


def objective(config: dict[str, Any]) -> None:
    for step in range(3):
        if config["x"] == 2 and step == 1:
            raise ValueError("no")
        tune.report({"loss": config["x"] * (3 - step), "mean_accuracy": 0.5})


def test_trials_are_candidates(publisher: Publisher, said: Callable[[], list[Any]], tmp_path: Path) -> None:
    callback = adapters.ray.Callback("search", publisher=publisher)
    tuner = tune.Tuner(
        objective,
        param_space={"x": tune.grid_search([1, 2])},
        run_config=tune.RunConfig(callbacks=[callback], storage_path=str(tmp_path), verbose=0),
    )
    tuner.fit()
    found = [event for event in said() if isinstance(event, RunCandidate)]
    last = {event.params["x"]: event for event in found}
    assert (last[1].status, last[1].metrics["loss"], last[1].resource) == ("finished", 1, 3)
    assert last[2].status == "failed"
    assert set(last[1].metrics) == {"loss", "mean_accuracy"}  # not what Tune adds
    assert [event.resource for event in found if event.params["x"] == 1 and event.status == "running"] == [1, 2, 3]
    assert [event.status for event in said() if isinstance(event, RunFinished)] == ["finished"]
