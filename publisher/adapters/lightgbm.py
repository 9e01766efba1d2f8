"""LightGBM trainings as live runs.

    with Callback("boosted") as callback:
        lightgbm.train(params, rows, valid_sets=[held_out], callbacks=[callback])

https://lightgbm.readthedocs.io/en/stable/Python-API.html#callbacks
"""

from __future__ import annotations

from typing import Any

from headrace.publisher.adapters.hook import Reporter, hook


class Callback(Reporter):
    """Logs each round's evaluations. LightGBM tells of no early stop and no exception: the `with` does."""

    order = 20
    """Before early stopping, which ends a round for those after it."""

    @hook
    def __call__(self, env: Any) -> None:
        """A round is done; `env` is LightGBM's CallbackEnv."""
        if self.run is None:
            plain = {key: value for key, value in env.params.items() if not callable(value)}
            self.begin(plain, total_steps=env.end_iteration - env.begin_iteration, name="lightgbm")
        # (rows, metric, value, whether higher is better), and its deviation in cross-validation
        self.tell({f"{one[0]} {one[1]}": one[2] for one in env.evaluation_result_list or ()}, env.iteration + 1)
        if env.iteration + 1 == env.end_iteration:
            self.end()
