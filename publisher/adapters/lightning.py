"""Lightning trainings as live runs: `Trainer(callbacks=[Callback("my model")])`.

https://lightning.ai/docs/pytorch/stable/extensions/callbacks.html
"""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl

from headrace.events import new_id
from headrace.publisher.adapters.hook import Reporter, hook
from headrace.publisher.run import Run


class Callback(Reporter, pl.callbacks.Callback):
    """Logs what the module logs: by batch as often as the Trainer's loggers would, and after each epoch.

    Each rank logs for itself into one run. Reading a metric waits for the device, hence not at every batch.
    """

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Open the run; the ranks agree on its id."""
        run = trainer.strategy.broadcast(new_id())
        self._began(trainer, pl_module, run)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Log a step, when it is one of those that loggers get."""
        if trainer.global_step % (trainer.log_every_n_steps or 1) == 0:
            self._said(trainer)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Log the epoch."""
        self._said(trainer, epoch=True)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Log the validation, unless it is the check before the training."""
        if not trainer.sanity_checking:
            self._said(trainer, epoch=True)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """End the run."""
        self._ended("")

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """End the run as failed."""
        self._ended(f"{type(exception).__name__}: {exception}")

    @hook
    def _began(self, trainer: Any, module: Any, run: str) -> None:
        if self.run is not None:
            return
        steps = trainer.estimated_stepping_batches
        self.run = Run(
            self._name or type(module).__name__,
            {**dict(module.hparams), **self._params},
            publisher=self._publisher,
            id=run,
            rank=trainer.global_rank,
            world_size=trainer.world_size,
            total_steps=int(steps) if 0 < steps < 2**53 else 0,
        )

    @hook
    def _said(self, trainer: Any, epoch: bool = False) -> None:
        found = {name: value.item() for name, value in trainer.callback_metrics.items() if value.numel() == 1}
        if found:
            self.tell(found, trainer.global_step, keep=epoch)

    @hook
    def _ended(self, error: str) -> None:
        self.end("failed" if error else "finished", error)
