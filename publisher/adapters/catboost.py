"""CatBoost trainings as live runs.

    with Callback("boosted") as callback:
        model.fit(rows, eval_set=held_out, callbacks=[callback])

https://catboost.ai/docs/en/concepts/python-usages-examples#user-defined-callbacks
"""

from __future__ import annotations

from typing import Any

from headrace.publisher.adapters.hook import Reporter, hook


class Callback(Reporter):
    """Logs each iteration's metrics. CatBoost tells its callbacks of no end: the `with` ends the run."""

    def after_iteration(self, info: Any) -> bool:
        """Log an iteration; True goes on."""
        self._iteration(info)
        return True

    @hook
    def _iteration(self, info: Any) -> None:
        self.begin(name="catboost")
        found = {f"{rows} {name}": values[-1] for rows, named in info.metrics.items() for name, values in named.items()}
        self.tell(found, info.iteration)
