"""Matrix multiplication in CUDA, naive against tiled in shared memory, on a GPU or on numba's simulator.

The naive kernel reads both matrices from global memory for each product. The tiled one has a block of threads fetch a
tile of each into shared memory, wait for each other, and use it as often as the tile is wide. What is shown is what the
difference is made of: reads of global memory, counted. The simulator runs kernels in Python, for their logic alone: it
says nothing of time.

From: the tiled kernel of the CUDA C++ programming guide, as taught with numba.
Look at: `tile_reads` and `naive_reads` over the growing sizes, and the error of each kernel.
Checked: both kernels equal numpy's product, for sizes that tiles divide and sizes that they do not; the tiled kernel
reads global memory fewer times by the width of a tile.
Needs: numba
Weight: light
"""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("NUMBA_ENABLE_CUDASIM", "0" if os.path.exists("/dev/nvidia0") else "1")

import numpy as np
from numba import cuda, float32

from stage import Show, play

TILE = 4


@cuda.jit
def naive(left: Any, right: Any, out: Any, reads: Any) -> None:
    """One thread an element; every factor comes from global memory."""
    i, j = cuda.grid(2)
    if i < out.shape[0] and j < out.shape[1]:
        total = float32(0.0)
        for k in range(left.shape[1]):
            total += left[i, k] * right[k, j]
        out[i, j] = total
        cuda.atomic.add(reads, 0, 2 * left.shape[1])


@cuda.jit
def tiled(left: Any, right: Any, out: Any, reads: Any) -> None:
    """One thread an element; a block fetches tiles together, and what lies outside of the matrices is zero."""
    # On lines of their own: the simulator tells shared arrays apart by the line that makes them.
    left_tile = cuda.shared.array((TILE, TILE), float32)
    right_tile = cuda.shared.array((TILE, TILE), float32)
    i, j = cuda.grid(2)
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    total = float32(0.0)
    for tile in range((left.shape[1] + TILE - 1) // TILE):
        k = tile * TILE
        left_tile[x, y] = 0
        right_tile[x, y] = 0
        if i < left.shape[0] and k + y < left.shape[1]:
            left_tile[x, y] = left[i, k + y]
            cuda.atomic.add(reads, 0, 1)
        if k + x < right.shape[0] and j < right.shape[1]:
            right_tile[x, y] = right[k + x, j]
            cuda.atomic.add(reads, 0, 1)
        cuda.syncthreads()
        for n in range(TILE):
            total += left_tile[x, n] * right_tile[n, y]
        cuda.syncthreads()
    if i < out.shape[0] and j < out.shape[1]:
        out[i, j] = total


def main(show: Show) -> str:
    largest = show.sizes["size"]
    rng = np.random.default_rng(13)
    sizes = [(n, n, n) for n in range(TILE, largest + 1, TILE)] + [(largest - 1, largest - 3, largest)]
    simulated = os.environ["NUMBA_ENABLE_CUDASIM"] == "1"
    worst, ratio = 0.0, 0.0
    with show.run("tiles", {"tile": TILE, "simulated": simulated}, total_steps=len(sizes)) as run:
        for step, (rows, inner, columns) in enumerate(sizes, 1):
            left = rng.normal(size=(rows, inner)).astype(np.float32)
            right = rng.normal(size=(inner, columns)).astype(np.float32)
            counted, errors = {}, {}
            for name, kernel in (("naive", naive), ("tiled", tiled)):
                out, reads = np.zeros((rows, columns), np.float32), np.zeros(1, np.int64)
                blocks = (-(-rows // TILE), -(-columns // TILE))
                kernel[blocks, (TILE, TILE)](left, right, out, reads)
                counted[name] = int(reads[0])
                errors[name] = float(np.abs(out - left @ right).max())
                show.check(errors[name] < 1e-3, f"{name}, {rows}x{inner}x{columns}: off by {errors[name]}")
            worst = max(worst, *errors.values())
            if rows % TILE == inner % TILE == columns % TILE == 0:
                ratio = counted["naive"] / counted["tiled"]
                show.check(ratio == TILE, f"tiles save reads {ratio} times instead of {TILE}")
            run.log(
                step=step,
                naive_reads=counted["naive"],
                tile_reads=counted["tiled"],
                naive_error=errors["naive"],
                tile_error=errors["tiled"],
            )
    show.expect(run, metrics=len(sizes))
    where = "on the simulator, which says nothing of time" if simulated else "on a GPU"
    return f"both kernels within {worst:.0e} of numpy up to {largest}; tiles read {ratio:g} times less; {where}"


if __name__ == "__main__":
    play(main, ("numba",), size=(16, 8))
