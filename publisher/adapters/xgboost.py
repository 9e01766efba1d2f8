"""XGBoost trainings as live runs.

    with Callback("boosted") as callback:
        xgboost.train(params, rows, evals=[(held_out, "val")], callbacks=[callback])

https://xgboost.readthedocs.io/en/stable/python/callbacks.html
"""

from __future__ import annotations

from typing import Any

from xgboost.callback import TrainingCallback

from headrace.publisher.adapters.hook import Reporter, hook


class Callback(Reporter, TrainingCallback):
    """Logs each round's evaluations. The `with` tells a training that raised; without it, what ends ends the run."""

    def before_training(self, model: Any) -> Any:
        """Open the run."""
        self._began()
        return model

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """Log a round; stops nothing."""
        self._round(epoch, evals_log)
        return False

    def after_training(self, model: Any) -> Any:
        """End the run."""
        self._ended()
        return model

    @hook
    def _began(self) -> None:
        self.begin(name="xgboost")

    @hook
    def _round(self, epoch: int, evals_log: Any) -> None:
        found = {}
        for rows, metrics in evals_log.items():
            for metric, values in metrics.items():
                last = values[-1]  # a pair with its deviation, in cross-validation
                found[f"{rows} {metric}"] = last[0] if isinstance(last, tuple) else last
        self.tell(found, epoch + 1)

    @hook
    def _ended(self) -> None:
        self.end()
