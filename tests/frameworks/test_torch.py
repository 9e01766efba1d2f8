"""PyTorch: ranks of one process group are ranks of one run, whatever launched them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headrace import Publisher, adapters
from headrace.bus.sync import Link
from headrace.codec import decode
from headrace.embedded.probe import free_port
from headrace.events import RunFinished, RunMetrics, RunStarted
from headrace.settings import Settings

torch = pytest.importorskip("torch")

RANK = """
import sys
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from headrace import adapters

rank, size, store = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=size)
torch.manual_seed(0)
model = DistributedDataParallel(nn.Linear(4, 1))
optimizer = torch.optim.SGD(model.parameters(), 0.1)
with adapters.torch.ranked("ddp", {"lr": 0.1}, total_steps=5) as run:
    for step in range(1, 6):
        x = torch.randn(8, 4)
        loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        run.log(step=step, loss=loss.item())
run.publisher.flush(200.0)
distributed.destroy_process_group()
"""


def test_without_a_group_it_is_a_run(publisher: Publisher, said: Callable[[], list[Any]]) -> None:
    with adapters.torch.ranked("alone", publisher=publisher) as run:
        run.log(loss=torch.tensor(0.5), step=1)
    assert [type(event) for event in said()] == [RunStarted, RunMetrics, RunFinished]
    assert said()[1].metrics == {"loss": 0.5}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_ranks_make_one_run(server_settings: Settings, tmp_path: Path) -> None:
    environ = {
        **os.environ,
        "REDIS_URL": server_settings.redis_url,
        "HEADRACE_PREFIX": server_settings.prefix,
        "HEADRACE_SPILL": str(tmp_path),
        "OMP_NUM_THREADS": "1",
    }
    store = f"tcp://127.0.0.1:{free_port()}"
    ranks = [subprocess.Popen([sys.executable, "-c", RANK, str(rank), "2", store], env=environ) for rank in range(2)]
    assert [rank.wait(280) for rank in ranks] == [0, 0]
    found: list[Any] = [decode(entry.payload) for entry in Link(server_settings).read("runs", 0, count=1000)]
    assert len({event.run for event in found}) == 1
    assert {(event.rank, event.world_size) for event in found if isinstance(event, RunStarted)} == {(0, 2), (1, 2)}
    steps = [(event.rank, event.step) for event in found if isinstance(event, RunMetrics)]
    assert sorted(steps) == [(rank, step) for rank in range(2) for step in range(1, 6)]
    assert {event.status for event in found if isinstance(event, RunFinished)} == {"finished"}
