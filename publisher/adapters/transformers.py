"""Hugging Face trainings as live runs: `Trainer(..., callbacks=[Callback("my model")])`.

https://huggingface.co/docs/transformers/main_classes/callback
"""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

from headrace.publisher.adapters.hook import Reporter, hook

SHOWN = ("learning_rate", "per_device_train_batch_size", "num_train_epochs", "weight_decay", "seed", "optim")


class Callback(Reporter, TrainerCallback):
    """Logs what the Trainer logs, as often as it does (`logging_steps`), in the process that leads.

    The Trainer tells its callbacks of no exception: `with Callback(...) as callback:` around `train()` does.
    """

    @hook
    def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Open the run."""
        if state.is_world_process_zero:
            params = {name: getattr(args, name, None) for name in SHOWN}
            self.begin(params, total_steps=state.max_steps, name="transformers")

    @hook
    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **others: Any) -> None:
        """Log what was logged."""
        if state.is_world_process_zero and logs and self.run is not None:
            found = {name: value for name, value in logs.items() if isinstance(value, (int, float))}
            self.tell(found, state.global_step, keep=True)

    @hook
    def on_train_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """End the run."""
        self.end()
