"""A systolic array multiplies two n x n matrices in 3n-2 steps, and every cell of it is a curve.

Each cell knows only its neighbours: in each step it multiplies what comes from the left by what comes from above, adds
the product to its own sum, and hands both numbers on, to the right and down. Rows enter one step late each, columns
too, so that the right pairs meet.

From: Kung and Leiserson, Systolic Arrays for VLSI, 1978.
Look at: the cells' sums in the training page's charts. They begin to grow along a diagonal that crosses the array, and
stop along another n steps later. The candidates are the finished cells, with the step at which each was done.
Checked: the product equals numpy's; the last cell is done in step 3n-2 and not earlier; each works for n steps.
Needs: nothing more
Weight: light
"""

from __future__ import annotations

import time

import numpy as np

from stage import Show, play

SHOWN_S = 6.0
"""How long the whole is made to take, so that somebody can watch; the computation itself takes microseconds."""
DRAWN = 4
"""Arrays up to this size have one curve a cell."""


def main(show: Show) -> str:
    n = show.sizes["n"]
    rng = np.random.default_rng(15)
    left, above = rng.integers(-9, 10, (n, n)).astype(float), rng.integers(-9, 10, (n, n)).astype(float)
    # Registers of all cells: NaN stands for nothing, so that a pair that does not meet in time would be seen.
    moving_right, moving_down = np.full((n, n), np.nan), np.full((n, n), np.nan)
    sums, worked = np.zeros((n, n)), np.zeros((n, n), dtype=int)
    finished: dict[tuple[int, int], int] = {}

    with show.run("systolic array", {"n": n}, total_steps=3 * n - 2) as run:
        step = 0
        while len(finished) < n * n:
            step += 1
            moving_right = np.column_stack([entering(left, step), moving_right[:, :-1]])
            moving_down = np.vstack([entering(above.T, step), moving_down[:-1]])
            products = moving_right * moving_down
            busy = ~np.isnan(products)
            sums[busy] += products[busy]
            worked += busy
            curves = {f"cell {i + 1},{j + 1}": sums[i, j] for i in range(n) for j in range(n)} if n <= DRAWN else {}
            run.log(step=step, busy=busy.sum(), **curves)
            for i, j in zip(*np.nonzero(busy & (worked == n)), strict=True):
                finished[i, j] = step
                place = {"row": i + 1, "column": j + 1}
                run.candidate(f"cell {i + 1},{j + 1}", place, resource=step, value=sums[i, j], step=step)
            time.sleep(0 if show.quick else SHOWN_S / (3 * n - 2))
    show.expect(run, metrics=3 * n - 2, candidates=n * n)

    show.check(np.array_equal(sums, left @ above), "the product of the array differs from numpy's")
    show.check(step == 3 * n - 2, f"the array took {step} steps instead of {3 * n - 2}")
    show.check((worked == n).all(), f"cells worked for {worked.min()} to {worked.max()} steps instead of {n}")
    wave = all(done == i + j + n for (i, j), done in finished.items())
    show.check(wave, "a cell was not done n steps after the wave reached it")
    return f"{n} x {n}: equal to numpy's product after {step} = 3n-2 steps, each cell busy for {n}"


def entering(rows: np.ndarray, step: int) -> np.ndarray:
    """What enters the array at `step`: row i is delayed by i steps, and NaN stands for nothing."""
    n = len(rows)
    place = step - 1 - np.arange(n)
    return np.where((place >= 0) & (place < n), rows[np.arange(n), place.clip(0, n - 1)], np.nan)


if __name__ == "__main__":
    play(main, ("numpy",), n=(4, 3))
