"""Ray Tune searches as live runs: `Tuner(..., run_config=RunConfig(callbacks=[Callback("my search")]))`.

Everything is said by the driver, which hears every trial. https://docs.ray.io/en/latest/tune/tutorials/tune-metrics.html
"""

from __future__ import annotations

from typing import Any, Literal

from ray import tune
from ray.tune.result import AUTO_RESULT_KEYS

from headrace.publisher.adapters.hook import Reporter, hook

_OWN = frozenset(AUTO_RESULT_KEYS)
"""What Tune adds to each result; `mean_loss` and `mean_accuracy`, which it knows by name, are the trial's."""


class Callback(Reporter, tune.Callback):
    """Trials as candidates: parameters, each result with its iteration as resource, and how they ended.

    A trial that its scheduler stopped early ends like one that ended by itself: Tune tells no difference.
    """

    def setup(
        self, stop: Any = None, num_samples: int | None = None, total_num_samples: int | None = None, **info: Any
    ) -> None:
        """Open the run."""
        self._began(total_num_samples or num_samples or 0)

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any) -> None:
        """A trial said how it is doing; its `last_result` is the one before."""
        self._judged(trial, "running", result)

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """A trial ended."""
        self._judged(trial, "finished", trial.last_result)

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """A trial failed."""
        self._judged(trial, "failed", trial.last_result)

    def on_experiment_end(self, trials: Any, **info: Any) -> None:
        """End the run."""
        self._ended()

    @hook
    def _began(self, samples: int) -> None:
        self.begin({"samples": samples}, name="ray tune")

    @hook
    def _judged(self, trial: Any, status: Literal["running", "finished", "failed"], result: Any) -> None:
        if status == "running" and not self.may():
            return
        last = result or {}
        found: dict[str, Any] = {
            str(name): value
            for name, value in last.items()
            if name not in _OWN and isinstance(value, (int, float)) and not isinstance(value, bool)
        }
        resource = float(last.get("training_iteration", 0))
        self.begin().candidate(trial.trial_id, trial.config, status=status, resource=resource, **found)

    @hook
    def _ended(self) -> None:
        self.end()
