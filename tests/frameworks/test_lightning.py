"""Lightning calls its callbacks as the adapter expects."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headrace import Publisher, adapters
from headrace.events import RunFinished, RunMetrics, RunStarted

torch = pytest.importorskip("torch")
lightning = pytest.importorskip("lightning.pytorch")

pytestmark = pytest.mark.filterwarnings("ignore")


class Line(lightning.LightningModule):  # type: ignore[misc, name-defined]
    def __init__(self, lr: float = 0.1, fails: bool = False) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch: Any, index: int) -> Any:
        if self.hparams.fails and index == 3:
            raise ValueError("a bad batch")
        x = batch[0]
        loss = (self.layer(x) - x.sum(1, keepdim=True)).square().mean()
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: Any, index: int) -> None:
        self.log("val_loss", self.layer(batch[0]).square().mean())

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), self.hparams.lr)


def fit(publisher: Publisher, folder: Path, **options: Any) -> None:
    torch.manual_seed(0)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(64, 4)), 8)
    trainer = lightning.Trainer(
        max_epochs=2,
        accelerator="cpu",
        log_every_n_steps=4,
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[adapters.lightning.Callback("line", publisher=publisher)],
    )
    trainer.fit(Line(**options), loader, loader)


def test_steps_epochs_and_validation_are_logged(
    publisher: Publisher, said: Callable[[], list[Any]], tmp_path: Path
) -> None:
    fit(publisher, tmp_path)
    found = said()
    assert isinstance(found[0], RunStarted)
    assert (found[0].params["lr"], found[0].total_steps) == (0.1, 16)
    logged = [event for event in found if isinstance(event, RunMetrics)]
    assert {4, 8, 12, 16} <= {event.step for event in logged}
    assert {"loss", "val_loss"} == {name for event in logged for name in event.metrics}
    assert isinstance(found[-1], RunFinished)
    assert found[-1].status == "finished"


def test_an_exception_is_a_failed_run(publisher: Publisher, said: Callable[[], list[Any]], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="bad batch"):
        fit(publisher, tmp_path, fails=True)
    assert (said()[-1].status, said()[-1].error) == ("failed", "ValueError: a bad batch")
