"""Keras 3 calls its callbacks as the adapter expects."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from headrace import Publisher, adapters
from headrace.events import RunFinished, RunMetrics, RunStarted

pytest.importorskip("torch")
os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras")

pytestmark = pytest.mark.filterwarnings("ignore")


def test_batches_epochs_and_validation_are_logged(publisher: Publisher, said: Callable[[], list[Any]]) -> None:
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    history = model.fit(
        x,
        x.sum(1),
        batch_size=16,
        epochs=3,
        verbose=0,
        validation_data=(x, x.sum(1)),
        callbacks=[adapters.keras.Callback("line", publisher=publisher)],
    )
    found = said()
    assert isinstance(found[0], RunStarted)
    assert found[0].total_steps == 12
    logged = [event for event in found if isinstance(event, RunMetrics)]
    assert sorted({event.step for event in logged if "loss" in event.metrics}) == list(range(1, 13))
    epochs = [event.metrics for event in logged if "epoch val_loss" in event.metrics]
    assert [one["epoch val_loss"] for one in epochs] == pytest.approx(history.history["val_loss"])
    assert isinstance(found[-1], RunFinished)
    assert found[-1].status == "finished"
