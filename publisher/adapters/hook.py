"""What every adapter is made of: a run behind a hook that a framework calls.

Rules: a hook raises nothing into the training and waits for nothing; its time is counted; what it says is bounded: at
first every step, in the long run `RATE` a second. Adapters travel to other processes without connection, and log into
the same run from there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import wraps
from types import TracebackType
from typing import Any, Self, TypeVar

from headrace.publisher.publisher import Publisher, shared
from headrace.publisher.run import TIMED, Run, Status
from headrace.publisher.sender import logger
from headrace.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])

RATE = 100.0
"""Steps a second that an adapter logs in the long run."""
BURST = 2_000
"""Steps that it may log at once."""


def hook(method: F) -> F:
    """A method of a `Reporter` that a framework calls: it raises nothing, and the run is told what it costs.

    The first 64 calls are timed, then every 64th.
    """

    @wraps(method)
    def guarded(self: Reporter, *args: Any, **kwargs: Any) -> Any:
        self._calls = calls = self._calls + 1
        began_ns = 0 if calls > TIMED and calls & TIMED else time.perf_counter_ns()
        try:
            return method(self, *args, **kwargs)
        except Exception as error:  # a fault of ours, or a framework that changed, must not end a training
            self.fault(error)
            return None
        finally:
            if began_ns and self.run is not None:
                self.run.spent(time.perf_counter_ns() - began_ns)

    hooked: Any = guarded
    return hooked  # type: ignore[no-any-return]


class Reporter:
    """A run as an adapter holds it: given, and ended by who gave it; or a name, and opened and ended by the adapter.

    As a context manager it ends at the end of the block, as failed if that raised: many frameworks tell their callbacks
    nothing of an exception, and some nothing of the end.
    """

    def __init__(
        self, run: Run | str = "", params: Mapping[str, Any] | None = None, *, publisher: Publisher | None = None
    ) -> None:
        self.run = run if isinstance(run, Run) else None
        self.left_out = 0
        """Steps that came too fast to be logged."""
        self._name = run if isinstance(run, str) else run.name
        self._params = dict(params or {})
        self._publisher = publisher
        self._settings: Settings | None = None
        self._owns = self.run is None
        self._held: tuple[Mapping[str, Any], int | None] | None = None
        self._allowed: float = BURST
        self._counted_s = time.monotonic()
        self._calls = 0
        self._faults = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.end()
        else:
            self.end("failed", f"{type(error).__name__}: {error}")

    def __getstate__(self) -> dict[str, Any]:
        settings = self._publisher.settings if self._publisher else self._settings
        return {**self.__dict__, "_publisher": None, "_settings": settings, "_held": None}

    def begin(self, params: Mapping[str, Any] | None = None, total_steps: int = 0, name: str = "training") -> Run:
        """The run, opened now unless it was given; `name` is for callers who gave none."""
        if self.run is None:
            publisher = self._publisher or (shared(self._settings) if self._settings else None)
            known = {**(params or {}), **self._params}
            self.run = Run(self._name or name, known, publisher=publisher, total_steps=total_steps)
        return self.run

    def may(self) -> bool:
        """Whether one more step may be said now; one that may not is counted."""
        if self._allowed < 1:  # only then is the clock asked
            now_s = time.monotonic()
            self._allowed = min(BURST, self._allowed + (now_s - self._counted_s) * RATE)
            self._counted_s = now_s
            if self._allowed < 1:
                self.left_out += 1
                return False
        self._allowed -= 1
        return True

    def tell(self, metrics: Mapping[str, Any], step: int | None = None, *, keep: bool = False) -> None:
        """Log a step, unless they come too fast: then the last of them waits for `end`. `keep` logs it in any case."""
        run = self.run or self.begin()
        if not keep and not self.may():
            self._held = (metrics, step)
            return
        if not keep:
            self._held = None
        run.log(metrics, step=step)

    def end(self, status: Status = "finished", error: str = "") -> None:
        """Log what waited, and end the run if it was opened here; it can begin anew then."""
        if self.run is None:
            return
        if self._held is not None:
            metrics, step = self._held
            self._held = None
            self.run.log(metrics, step=step)
        if self.left_out:
            logger.info("run %s: %d steps came too fast and were left out", self.run.name, self.left_out)
            self.left_out = 0
        if self._owns:
            self.run.finish(status, error)
            self.run = None

    def fault(self, error: Exception) -> None:
        """Note that a hook went wrong: the first time aloud."""
        self._faults += 1
        if self._faults == 1:
            logger.warning(
                "%s of run %r went wrong and is passed over (further times silently): %s: %s",
                type(self).__name__,
                self._name,
                type(error).__name__,
                error,
            )
