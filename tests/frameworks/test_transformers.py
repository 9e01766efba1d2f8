"""The Trainer of transformers calls its callbacks as the adapter expects."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headrace import Publisher, adapters
from headrace.events import RunFinished, RunMetrics, RunStarted

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

pytestmark = pytest.mark.filterwarnings("ignore")


class Line(torch.nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def forward(self, x: Any, labels: Any = None) -> Any:
        found = self.layer(x)
        return {"loss": (found - labels).square().mean(), "logits": found}


def test_what_the_trainer_logs_is_logged(publisher: Publisher, said: Callable[[], list[Any]], tmp_path: Path) -> None:
    rows = [{"x": torch.randn(4), "labels": torch.ones(1)} for _ in range(32)]
    args = transformers.TrainingArguments(
        output_dir=str(tmp_path),
        num_train_epochs=2,
        per_device_train_batch_size=8,
        logging_steps=2,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
    )
    callback = adapters.transformers.Callback("line", publisher=publisher)
    with callback:
        transformers.Trainer(Line(), args, train_dataset=rows, callbacks=[callback]).train()
    found = said()
    assert isinstance(found[0], RunStarted)
    assert (found[0].total_steps, found[0].params["per_device_train_batch_size"]) == (8, 8)
    losses = [event for event in found if isinstance(event, RunMetrics) and "loss" in event.metrics]
    assert [event.step for event in losses] == [2, 4, 6, 8]
    assert isinstance(found[-1], RunFinished)
    assert found[-1].status == "finished"
