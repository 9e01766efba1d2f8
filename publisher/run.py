"""Training telemetry: what a run says of itself, at a cost of microseconds and never with an exception.

    with Run("digits-sgd", params={"alpha": 1e-4}) as run:
        for step in range(100):
            run.log(step=step, loss=train(step))

`finished`: the block ended. `failed`: it raised; the error is sent and raised on. `crashed`: the process ended without
either. A process killed with -9 says nothing any more, which the aggregator notices.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Literal, Self

from headrace.events import Event, RunAlive, RunCandidate, RunFinished, RunStarted, Scalar, new_id
from headrace.publisher.publisher import Publisher, shared
from headrace.publisher.sender import CROWD, logger
from headrace.settings import Settings

ERROR_CHARS = 2_000
TIMED = 63
"""Every 64th `log` is timed: the bits that must be 0 in its count."""

Status = Literal["finished", "failed", "crashed"]


class Run:
    """One training run, or one rank of it; begins when made. It never blocks and never raises into the training loop.

    `name` groups runs; `params` are shown beside the curves; `total_steps` lets the page show progress. `rank` and
    `world_size` default to the environment's RANK and WORLD_SIZE; ranks of one run need one `id`, which launchers of
    torchrun's kind provide and others must be given. A pickled copy logs into the same run from another process.
    """

    def __init__(
        self,
        name: str,
        params: Mapping[str, Any] | None = None,
        *,
        publisher: Publisher | None = None,
        id: str = "",
        parent: str = "",
        rank: int | None = None,
        world_size: int | None = None,
        total_steps: int = 0,
    ) -> None:
        self.rank = _from_environment("RANK", 0) if rank is None else rank
        self.world_size = _from_environment("WORLD_SIZE", 1) if world_size is None else world_size
        self._join(name, id or _common_id(name, self.world_size) or new_id(), parent, publisher)
        self._sender.open_run(self)
        self._sender.record(
            RunStarted(
                id=new_id(),
                source=self._sender.buffer.source,
                time=time.time(),
                run=self.id,
                name=name,
                params=scalars(params or {}),
                parent=parent,
                rank=self.rank,
                world_size=self.world_size,
                total_steps=total_steps,
                host=os.uname().nodename,
                pid=os.getpid(),
            )
        )

    def _join(self, name: str, run: str, parent: str, publisher: Publisher | None) -> None:
        self.name, self.id, self.parent = name, run, parent
        self.publisher = publisher or shared()
        self.summary: dict[str, float | None] = {}
        """The last value of each metric, as far as the background thread has come."""
        self.skipped: dict[str, int] = {}
        """Values that were not numbers, by metric."""
        self._sender = self.publisher.sender
        self._limit = self.publisher.settings.buffer_events
        self._crowd = min(self._limit, CROWD)
        self._pid = os.getpid()
        self._began = time.monotonic()
        self._open = True
        self._step = self._steps = 0
        self._calls = self._timed = self._timed_ns = 0
        self._hooks = self._hooks_ns = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
            self.finish()
        else:
            self.finish("failed", f"{type(error).__name__}: {error}")

    def __reduce__(self) -> Any:
        return _rejoined, (self.name, self.id, self.parent, self.rank, self.world_size, self.publisher.settings)

    def log(self, metrics: Mapping[str, Any] | None = None, /, *, step: int | None = None, **values: Any) -> None:
        """Metrics at a step; without one, steps count on from the last. Values are numbers, or scalars that convert.

        Anything else is left out, counted in `skipped` and warned of once. What the server cannot take in time is
        dropped, oldest first, and counted.
        """
        self._calls = calls = self._calls + 1
        began = 0 if calls & TIMED else time.perf_counter_ns()
        if metrics is not None:
            values = {**metrics, **values}
            for name in values:
                if name.__class__ is not str:
                    values = {str(name): value for name, value in values.items()}
                    break
        for value in values.values():
            if value.__class__ is not float and value.__class__ is not int:
                values = self._numbers(values)
                break
        if step is None:
            step = self._step + 1
        elif step.__class__ is not int:
            step = self._whole(step)
        self._step = step
        if step > self._steps:  # noqa: PLR1730 - max() would take a tenth of the time of this method
            self._steps = step
        sender = self._sender
        logged = sender.logged
        if len(logged) >= self._crowd:
            self._crowded(logged)
        logged.append((self.id, self.rank, step, values, time.time(), self.summary))
        if sender.asleep:
            sender.rouse()
        if began:
            self._timed += 1
            self._timed_ns += time.perf_counter_ns() - began

    def candidate(
        self,
        name: str,
        params: Mapping[str, Any] | None = None,
        *,
        status: Literal["running", "finished", "failed", "pruned"] = "finished",
        rung: int = 0,
        resource: float = 0.0,
        fold: int = 0,
        folds: int = 0,
        **metrics: Any,
    ) -> None:
        """One trial of a search was judged; `rung` and `resource` are those of halving searches.

        With `folds`, one `fold` of so many was, counted from 1, in whatever process; the page shows them together.
        """
        self._leave(
            RunCandidate(
                id=new_id(),
                source=self._sender.buffer.source,
                time=time.time(),
                run=self.id,
                candidate=str(name),
                params=scalars(params or {}),
                metrics=self._numbers(metrics),
                status=status,
                rung=rung,
                resource=float(resource),
                fold=fold,
                folds=folds,
                rank=self.rank,
            )
        )

    def child(self, name: str, params: Mapping[str, Any] | None = None, *, total_steps: int = 0) -> Run:
        """A nested run, such as a trial of a search with curves of its own."""
        return Run(
            name,
            params,
            publisher=self.publisher,
            parent=self.id,
            rank=self.rank,
            world_size=self.world_size,
            total_steps=total_steps,
        )

    def finish(self, status: Status = "finished", error: str = "") -> None:
        """End the run; the first call counts. A forked child or a pickled copy ends nothing: the run goes on."""
        if not self._open or os.getpid() != self._pid:
            return
        self._open = False
        self._sender.close_run(self)
        self._sender.settle()
        self._sender.record(
            RunFinished(
                id=new_id(),
                source=self._sender.buffer.source,
                time=time.time(),
                run=self.id,
                status=status,
                error=error[:ERROR_CHARS],
                rank=self.rank,
                steps=self._steps,
                duration_s=time.monotonic() - self._began,
                summary=dict(self.summary),
                cost_us=round(self.cost_us, 3),
            )
        )

    def spent(self, hook_ns: int) -> None:
        """Count one call from a training framework that took so many nanoseconds, with what it logged, as a sample."""
        self._hooks += 1
        self._hooks_ns += hook_ns

    @property
    def cost_us(self) -> float:
        """Mean time of a step in our code in the training thread, microseconds: of a hook, if a framework calls one,
        else of `log`, from every 64th call."""
        if self._hooks:
            return self._hooks_ns / self._hooks / 1000
        return self._timed_ns / self._timed / 1000 if self._timed else 0.0

    def alive(self) -> RunAlive:
        """What the background thread sends every few seconds."""
        return RunAlive(
            id=new_id(),
            source=self._sender.buffer.source,
            time=time.time(),
            run=self.id,
            rank=self.rank,
            cost_us=round(self.cost_us, 3),
        )

    def crash(self) -> None:
        """The process ends and nobody has said how the run did."""
        self.finish("crashed", "the process ended before the run was finished")

    def _leave(self, event: Event) -> None:
        """Leave an event to the background thread, behind what was logged."""
        logged = self._sender.logged
        if len(logged) >= self._crowd:
            self._crowded(logged)
        logged.append(event)
        if self._sender.asleep:
            self._sender.rouse()

    def _crowded(self, logged: Any) -> None:
        """More than the background thread should leave lying: wake it, and without room drop the oldest."""
        self._sender.rouse()
        if len(logged) < self._limit:
            return
        try:
            oldest = logged.popleft()
        except IndexError:  # the background thread has just taken them
            return
        if isinstance(oldest, tuple):
            self._sender.overrun += 1
        else:
            self._sender.record(oldest)

    def _numbers(self, values: Mapping[str, Any]) -> dict[str, float | None]:
        found: dict[str, float | None] = {}
        for name, value in values.items():
            if value is None:
                found[name] = None
                continue
            try:
                found[name] = float(value)
            except Exception as error:
                if name not in self.skipped:
                    logger.warning(
                        "run %s: metric %r is left out, as %r is not a number: %s",
                        self.name,
                        name,
                        type(value).__name__,
                        error,
                    )
                self.skipped[name] = self.skipped.get(name, 0) + 1
        return found

    def _whole(self, step: Any) -> int:
        try:
            return int(step)
        except Exception:
            self.skipped["step"] = self.skipped.get("step", 0) + 1
            return self._steps + 1


def scalars(params: Mapping[str, Any]) -> dict[str, Scalar]:
    """Parameters as an event carries them: plain scalars, and the text of anything else."""
    found: dict[str, Scalar] = {}
    for name, value in params.items():
        plain = value
        if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
            plain = value.item()
        if plain is None or isinstance(plain, (str, bool, float)) or (isinstance(plain, int) and abs(plain) < 2**63):
            found[str(name)] = plain
        else:
            found[str(name)] = repr(plain)[:200]
    return found


def _rejoined(name: str, run: str, parent: str, rank: int, world_size: int, settings: Settings) -> Run:
    """A copy of a run in another process: it logs, and leaves beginning and end to the original."""
    copy = Run.__new__(Run)
    copy.rank, copy.world_size = rank, world_size
    copy._join(name, run, parent, shared(settings))
    copy._open = False
    return copy


def _from_environment(variable: str, otherwise: int) -> int:
    text = os.environ.get(variable, "")
    return int(text) if text.isascii() and text.isdigit() else otherwise


def _common_id(name: str, world_size: int) -> str:
    """The same id in all ranks, from what the launcher tells them all."""
    launch = os.environ.get("TORCHELASTIC_RUN_ID", "")
    return f"{name}.{launch}" if world_size > 1 and launch not in ("", "none") else ""
