"""Models that take their time: how much of `predict_proba` alone is left when the rows come as requests."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from benchmarks import score
from benchmarks.actor import Actor
from benchmarks.samples import Result, way
from benchmarks.score import Round
from benchmarks.stage import Stage
from headrace.models.datasets import load
from headrace.models.registry import Registry
from headrace.settings import Settings

MODELS = ("forest", "boosting")


@dataclass(frozen=True, slots=True)
class Size:
    """`requests` in each backlog, `rounds` times; `trees` in the forest, and iterations of the boosting."""

    requests: int
    rounds: int
    trees: int = 100


FULL = Size(30_000, 5)
QUICK = Size(6_000, 2)
TINY = Size(100, 1, 3)


def run(stage: Stage, size: Size) -> Result:
    """headrace, and the model alone with as many rows a call as the scorer reads at once."""
    at_once = Settings().consume_entries
    ways: dict[str, tuple[str, list[Round]]] = {}
    publish(stage, size.trees)
    with Actor("worker") as worker, Actor("bare") as bare:
        for model in MODELS:
            bare.ask(do="open", models=str(stage.models), model=model)
            alone, ours = f"{model}, alone", f"{model}, headrace"
            ways |= {alone: (alone, []), ours: (alone, [])}
            score.headrace_round(stage, worker, score.Size(at_once, 1), model)
            for _ in range(size.rounds):
                calls = max(1, size.requests // at_once)
                ways[alone][1].append(score.model_round(bare, at_once, calls))
                ways[ours][1].append(score.headrace_round(stage, worker, score.Size(size.requests, 1), model))
    first = next(iter(ways))
    return Result(
        "trees",
        f"One scorer process empties a backlog of {size.requests:,} single-row requests (digits) for a forest of "
        f"{size.trees} trees and for histogram gradient boosting. Alone: predict_proba with as many rows a call as the "
        f"scorer reads at once, {at_once}; the ratio of each model is to that. {size.rounds} rounds, taking turns.",
        first,
        [way(name, rounds, ways[alone][1]) for name, (alone, rounds) in ways.items()],
    )


def publish(stage: Stage, trees: int) -> None:
    """Train both and put them into service, once, by one thread: idle ones that spin would hold up the others."""
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from threadpoolctl import threadpool_limits

    registry = Registry(stage.models)
    if set(MODELS) <= set(registry.names()):
        return
    data = load("digits")
    card = data.card({}, {})
    for name, estimator in (
        ("forest", RandomForestClassifier(trees, random_state=0)),
        ("boosting", HistGradientBoostingClassifier(max_iter=trees, random_state=0)),
    ):
        with threadpool_limits(1):
            estimator.fit(data.train_x, data.train_y)
        stored = registry.save(estimator, msgspec.structs.replace(card, name=name))
        registry.promote(name, stored.version)
