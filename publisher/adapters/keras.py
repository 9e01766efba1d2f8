"""Keras 3 trainings as live runs, on any backend: `model.fit(..., callbacks=[Callback("my model")])`.

https://keras.io/api/callbacks/base_callback/
"""

from __future__ import annotations

from typing import Any

import keras

from headrace.publisher.adapters.hook import Reporter, hook


class Callback(Reporter, keras.callbacks.Callback):
    """Logs the metrics of batches and epochs; steps are batches.

    Keras tells its callbacks of no exception: `with Callback(...) as callback:` around `fit` does.
    """

    def __init__(self, run: Any = "", params: Any = None, **options: Any) -> None:
        keras.callbacks.Callback.__init__(self)
        Reporter.__init__(self, run, params, **options)
        self._step = 0

    @hook
    def on_train_begin(self, logs: Any = None) -> None:
        """Open the run."""
        epochs, steps = self.params.get("epochs") or 0, self.params.get("steps") or 0
        self._step = 0
        self.begin({"epochs": epochs, "steps": steps}, total_steps=epochs * steps, name="keras")

    @hook
    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Log a batch."""
        self._step += 1
        self.tell(logs or {}, self._step)

    @hook
    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Log an epoch, with its validation."""
        self.tell({f"epoch {name}": value for name, value in (logs or {}).items()}, self._step, keep=True)

    @hook
    def on_train_end(self, logs: Any = None) -> None:
        """End the run."""
        self.end()
