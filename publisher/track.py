"""A loop as a live run: how far it is, how fast, and how long it will take.

for batch in track(loader, "train"):
    learn(batch)

steps = track(loader, "train")
for batch in steps:
    steps.log(loss=learn(batch))
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from headrace.publisher.publisher import Publisher
from headrace.publisher.run import Run

T = TypeVar("T")

EVERY_S = 0.1
"""How often a loop that logs nothing says where it is."""


class Track(Generic[T]):
    """What `track` gives: iterate over it, and `log` metrics of the step that the loop is in."""

    def __init__(self, items: Iterable[T], run: Run, total: int, owns: bool) -> None:
        self.run = run
        self.step = 0
        self._items, self._total, self._owns = items, total, owns
        self._logged = 0

    def __iter__(self) -> Iterator[T]:
        run = self.run
        began_s = told_s = time.monotonic()
        try:
            for item in self._items:
                self.step += 1
                yield item
                now_s = time.monotonic()
                if now_s - told_s >= EVERY_S:
                    told_s = now_s
                    self._tell(now_s - began_s)
        except GeneratorExit:  # the loop was left early, by `break` or by what it raised
            self._end(began_s)
            raise
        except BaseException as error:
            if self._owns:
                run.finish("failed", f"{type(error).__name__}: {error}")
            raise
        self._end(began_s)

    def log(self, metrics: Mapping[str, Any] | None = None, /, **values: Any) -> None:
        """Metrics of this step, as `Run.log` takes them."""
        self.run.log(metrics, step=self.step, **values)

    def _tell(self, took_s: float) -> None:
        rate = self.step / took_s if took_s > 0 else 0.0
        found = {"steps/s": rate}
        if self._total and rate:
            found["left s"] = max(0, self._total - self.step) / rate
        self.run.log(found, step=self.step)

    def _end(self, began_s: float) -> None:
        if self.step:
            self._tell(time.monotonic() - began_s)
        if self._owns:
            self.run.finish()


def track(
    items: Iterable[T],
    run: Run | str = "loop",
    params: Mapping[str, Any] | None = None,
    *,
    total: int | None = None,
    publisher: Publisher | None = None,
) -> Track[T]:
    """Iterate over `items` as a run, which begins here and ends with the loop; a run that is given goes on.

    `total` defaults to `len(items)`, if there is one. The loop fails if `items` raise; leaving it early finishes it.
    """
    if total is None:
        total = len(items) if hasattr(items, "__len__") else 0  # type: ignore[arg-type]
    opened = run if isinstance(run, Run) else Run(run, params, publisher=publisher, total_steps=total)
    return Track(items, opened, total, opened is not run)
