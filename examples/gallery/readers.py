"""The same rows through two readers of files larger than memory: Polars in batches, numpy through a memory map.

A file of rows is written once; each reader hands them batch by batch to the same model, which is told nothing else.
What a reader costs is seen as rows a second. Vaex, which these pipelines were first shown with, still runs, but brings
1.8 GB with its machine-learning part; Polars reads the same Arrow files with one wheel.

From: out-of-core data frames with Vaex; Polars is what is maintained most today.
Look at: `rows_per_s` of both runs against step, with the same loss curve twice.
Checked: both readers give every row once (sums of all columns), and the two models end with the same loss.
Needs: readers
Weight: light
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from sklearn.linear_model import SGDClassifier

from billion import FEATURES, batch, log_loss
from stage import Show, play

BATCH = 100_000


def main(show: Show) -> str:
    batches = max(2, show.sizes["rows"] // BATCH)
    rng = np.random.default_rng(10)
    truth = rng.normal(size=FEATURES).astype(np.float32)
    fresh = batch(rng, truth)
    with tempfile.TemporaryDirectory() as folder:
        arrow, plain = Path(folder, "rows.arrow"), Path(folder, "rows.f4")
        total = written(arrow, plain, batches, rng, truth)
        losses, paces = {}, {}
        readers = {"polars": polars_batches(arrow), "numpy": memory_mapped(plain)}
        for name, reader in readers.items():
            losses[name], paces[name] = train(show, name, reader, batches, total, fresh)
    show.check(abs(losses["polars"] - losses["numpy"]) < 1e-3, f"the models differ: {losses}")
    said = ", ".join(f"{name} {pace / 1e6:.1f}" for name, pace in paces.items())
    return f"{batches * BATCH / 1e6:g} million rows twice, million rows a second with training: {said}"


def written(arrow: Path, plain: Path, batches: int, rng: Any, truth: Any) -> float:
    """Write the same table as Arrow and as plain numbers; the sum of all its numbers."""
    mapped = np.memmap(plain, dtype=np.float32, mode="w+", shape=(batches * BATCH, FEATURES + 1))
    for number in range(batches):
        rows, labels = batch(rng, truth)
        mapped[number * BATCH : (number + 1) * BATCH] = np.column_stack([rows, labels])
    pl.DataFrame(np.asarray(mapped), schema=[*(f"x{n}" for n in range(FEATURES)), "y"]).write_ipc(arrow)
    return float(mapped.sum(dtype=np.float64))


def polars_batches(path: Path) -> Iterator[Any]:
    """Rows as Polars streams them, in pieces of the size that it likes."""
    for piece in pl.scan_ipc(path).collect_batches(chunk_size=BATCH, maintain_order=True):
        yield piece.to_numpy()


def memory_mapped(path: Path) -> Iterator[Any]:
    """Rows as the operating system pages them in."""
    mapped = np.memmap(path, dtype=np.float32, mode="r").reshape(-1, FEATURES + 1)
    for start in range(0, len(mapped), BATCH):
        yield np.array(mapped[start : start + BATCH])


def train(
    show: Show, name: str, reader: Iterable[Any], batches: int, total: float, fresh: tuple[Any, Any]
) -> tuple[float, float]:
    """One pass of a model over what a reader gives: its loss on fresh rows, and rows a second."""
    model = SGDClassifier(loss="log_loss", learning_rate="invscaling", eta0=0.05, average=True, shuffle=False)
    seen, summed, step, began_s = 0, 0.0, 0, time.monotonic()
    with show.run(f"read by {name}", {"reader": name}, total_steps=batches) as run:
        for step, table in enumerate(reader, 1):
            model.partial_fit(table[:, :-1], table[:, -1] > 0.5, classes=[False, True])
            seen += len(table)
            summed += table.sum(dtype=np.float64)
            loss = log_loss(model.coef_[0], model.intercept_[0], *fresh)
            run.log(step=step, loss=loss, rows_per_s=seen / (time.monotonic() - began_s))
    show.expect(run, metrics=step)
    show.check(seen == batches * BATCH, f"{name} gave {seen:,} of {batches * BATCH:,} rows")
    show.check(abs(summed - total) < 1e-6 * seen, f"{name} gave other rows: their sum is {summed}, not {total}")
    return loss, seen / (time.monotonic() - began_s)


if __name__ == "__main__":
    play(main, ("polars", "numpy", "scikit-learn"), rows=(2_000_000, 300_000))
