"""Optuna studies as live runs: trials with parameters, intermediate values and what became of them.

    optimize(study, objective, "my study", n_trials=50)

https://optuna.readthedocs.io/en/stable/reference/generated/optuna.study.Study.html#optuna.study.Study.optimize
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import optuna
from optuna.trial import FrozenTrial, TrialState

from headrace.publisher.adapters.hook import Reporter, hook
from headrace.publisher.publisher import Publisher
from headrace.publisher.run import Run

_ENDS: dict[TrialState, Literal["finished", "failed", "pruned"]] = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


def optimize(
    study: optuna.Study,
    objective: Callable[[optuna.Trial], Any],
    run: Run | str = "",
    params: Mapping[str, Any] | None = None,
    *,
    publisher: Publisher | None = None,
    **options: Any,
) -> None:
    """`study.optimize(objective, **options)` as a live run, named like the study unless it is named."""
    with Trials(run or study.study_name, params, publisher=publisher) as trials:
        trials.begin({"sampler": type(study.sampler).__name__, "pruner": type(study.pruner).__name__})
        callbacks = [*(options.pop("callbacks", None) or ()), trials.told]
        study.optimize(trials.reporting(objective), callbacks=callbacks, **options)


class Trials(Reporter):
    """The parts of `optimize`: `reporting` goes around an objective, and `told` is a callback of the study."""

    def reporting(self, objective: Callable[[optuna.Trial], Any]) -> Callable[[optuna.Trial], Any]:
        """The objective, whose trials also say here what they report."""

        def reported(trial: optuna.Trial) -> Any:
            report = trial.report

            def both(value: float, step: int) -> None:
                report(value, step)
                self._reported(trial, value, step)

            trial.report = both  # type: ignore[method-assign]
            return objective(trial)

        return reported

    def told(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """A trial ended."""
        self._ended(trial)

    @hook
    def _reported(self, trial: optuna.Trial, value: float, step: int) -> None:
        if self.may():
            name = f"trial {trial.number}"
            self.begin().candidate(name, trial.params, status="running", resource=step, value=float(value))

    @hook
    def _ended(self, trial: FrozenTrial) -> None:
        values = trial.values or ([trial.intermediate_values[trial.last_step]] if trial.last_step is not None else [])
        named = {"value": values[0]} if len(values) == 1 else {f"value {at}": one for at, one in enumerate(values)}
        self.begin().candidate(
            f"trial {trial.number}",
            trial.params,
            status=_ENDS.get(trial.state, "running"),
            resource=trial.last_step or 0,
            **named,
        )
