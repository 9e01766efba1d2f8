"""Trainings of the story: one over four ranks, a halving search, some that went wrong, and hundreds that ended.

The same second always gives the same runs, points, candidates and saved state.
"""

from __future__ import annotations

import math
import random

import msgspec

from headrace.curves import (
    CLOCK,
    RUNS_STATE,
    Curve,
    Point,
    SavedCandidate,
    SavedRank,
    SavedRun,
    Span,
    candidate_field,
    part_field,
    run_state,
    search_state,
)
from headrace.events import RunView, Scalar

PAST = 240
"""Runs that ended before those that frames hold."""
DISTRIBUTED_S = 90.0
SEARCH_S = 120.0
RUNGS = ((27, 20), (9, 60), (3, 180), (1, 540))
"""Candidates of each rung of the search, and the steps that each may take."""
STEPS_PER_S = 6.0
TOTAL = 480

Points = dict[str, dict[str, list[Point]]]
Spans = dict[str, dict[str, list[Span]]]


def views(t: float) -> list[RunView]:
    """The runs of the frame at `t`."""
    return [*_distributed(t), *_search(t), *_unlucky(t)]


def fresh(t: float, step_s: float) -> tuple[Points, Spans]:
    """New points and spans in the `step_s` before `t`."""
    turn = int(t // DISTRIBUTED_S)
    age = t - turn * DISTRIBUTED_S
    low, high = int(max(0.0, age - step_s) * STEPS_PER_S), int(age * STEPS_PER_S)
    steps = range(low + 1, min(high, TOTAL) + 1)
    if not steps:
        return {}, {}
    run = f"ddp{turn}"
    points: dict[str, list[Point]] = {CLOCK: [(n, turn * DISTRIBUTED_S + n / STEPS_PER_S) for n in steps]}
    spans: dict[str, list[Span]] = {}
    for metric in ("loss", "accuracy", "gradient_norm", "learning_rate"):
        values = {step: [_rank(metric, turn, rank, step) for rank in range(4)] for step in steps}
        points[metric] = [(step, sum(ranks) / 4) for step, ranks in values.items()]
        spans[metric] = [(step, min(ranks), max(ranks)) for step, ranks in values.items() if min(ranks) < max(ranks)]
    return {run: points}, {run: {metric: spanned for metric, spanned in spans.items() if spanned}}


def saved(name: str, t: float) -> dict[str, bytes]:
    """State that the aggregator would have saved."""
    if name == RUNS_STATE:
        return {f"past{n}": past(n, t).encode() for n in range(PAST)}
    if name.startswith(run_state("past")):
        return _curves(int(name.removeprefix(run_state("past"))), t)
    if name.startswith(search_state("search")):
        turn = int(name.removeprefix(search_state("search")))
        return {candidate_field(one.candidate, one.rung): one.encode() for one in candidates(turn, t)}
    return {}


def past(n: int, t: float) -> SavedRun:
    """One of those that ended, `n` runs ago."""
    chance = random.Random(n)
    rate = 10 ** chance.uniform(-3.5, -0.5)
    state = "failed" if n % 17 == 3 else "crashed" if n % 29 == 5 else "finished"
    ended = t - t % 600 - 1200 - 300.0 * n
    loss = _final(n)
    view = RunView(
        run=f"past{n}",
        name=f"digits {('sgd', 'adam', 'lbfgs')[n % 3]} #{PAST - n}",
        state=state,
        params={
            "learning_rate": float(f"{rate:.2g}"),
            "solver": ("sgd", "adam", "lbfgs")[n % 3],
            "seed": n,
            "batch": 64,
        },
        started=ended - 70 - n % 40,
        updated=ended,
        ended=ended,
        step=300 if state == "finished" else 40 + n,
        total_steps=300,
        metrics={"loss": loss, "accuracy": 1 - loss / 2.6},
        best={"loss": loss * 0.98, "accuracy": 1 - loss / 2.7},
        error="RuntimeError: out of memory" if state == "failed" else "",
        cost_us=3.0,
    )
    return SavedRun(view=view, ranks={0: SavedRank(step=view.step, status=state, ended=ended)}, seen=ended)


def candidates(turn: int, t: float) -> list[SavedCandidate]:
    """Those of the search of one turn that came until `t`: each rung keeps the best third of the one before."""
    chance = random.Random(turn)
    names = [f"c{n:02}" for n in range(RUNGS[0][0])]
    params: dict[str, dict[str, Scalar]] = {
        name: {
            "learning_rate": float(f"{10 ** chance.uniform(-4, -0.5):.3g}"),
            "alpha": float(f"{10 ** chance.uniform(-6, -1):.3g}"),
            "layers": chance.choice([1, 2, 3]),
            "activation": chance.choice(["relu", "tanh", "logistic"]),
        }
        for name in names
    }
    skill = {
        name: 0.97 - 0.05 * abs(math.log10(float(str(params[name]["learning_rate"]))) + 2) ** 1.4 for name in names
    }
    found, at, alive = [], turn * SEARCH_S, names
    for rung, (keep, steps) in enumerate(RUNGS):
        alive = sorted(alive, key=lambda name: -skill[name])[:keep] if rung else alive
        for name in alive if rung == 0 else sorted(alive):
            at += 0.9 + 0.35 * rung
            score = skill[name] * (1 - 0.4 * math.exp(-steps / 60)) + chance.gauss(0, 0.004)
            found.append(
                SavedCandidate(
                    candidate=name,
                    number=names.index(name) + 1,
                    status="failed" if name == "c13" else "finished",
                    rung=rung,
                    resource=float(steps),
                    time=at,
                    params=dict(params[name]),
                    metrics={} if name == "c13" else {"score": round(score, 4), "fit_s": round(steps / 90, 3)},
                )
            )
            if at > t:
                found[-1].status, found[-1].metrics = "running", {}
                return found
    return found


def _distributed(t: float) -> list[RunView]:
    found = []
    for turn in (int(t // DISTRIBUTED_S), int(t // DISTRIBUTED_S) - 1):
        started = turn * DISTRIBUTED_S
        step = min(TOTAL, int((t - started) * STEPS_PER_S))
        over = step == TOTAL
        metrics: dict[str, float | None] = {
            metric: sum(_rank(metric, turn, rank, max(1, step)) for rank in range(4)) / 4
            for metric in ("loss", "accuracy", "gradient_norm", "learning_rate")
        }
        found.append(
            RunView(
                run=f"ddp{turn}",
                name="digits mlp, 4 ranks",
                state="finished" if over else "running",
                params={"learning_rate": 0.05, "solver": "sgd", "momentum": 0.9, "world_size": 4, "batch": 256},
                started=started,
                updated=min(t, started + TOTAL / STEPS_PER_S),
                ended=started + TOTAL / STEPS_PER_S if over else 0.0,
                step=step,
                total_steps=TOTAL,
                steps_per_s=0.0 if over else STEPS_PER_S,
                ranks=4,
                metrics=metrics,
                best=metrics,
                cost_us=2.7,
            )
        )
    return found


def _search(t: float) -> list[RunView]:
    turn = int(t // SEARCH_S)
    known = candidates(turn, t)
    judged = [one for one in known if one.metrics]
    scores = [score for one in judged if (score := one.metrics["score"]) is not None]
    over = len(known) == sum(keep for keep, _ in RUNGS) and known[-1].status != "running"
    best: dict[str, float | None] = {"candidates/score": max(scores)} if scores else {}
    return [
        RunView(
            run=f"search{turn}",
            name="digits halving search",
            state="finished" if over else "running",
            params={"factor": 3, "resource": "max_iter", "candidates": RUNGS[0][0]},
            started=turn * SEARCH_S,
            updated=known[-1].time if over else t,
            ended=known[-1].time if over else 0.0,
            metrics={"candidates/score": scores[-1]} if scores else {},
            best=best,
            candidates=len({one.candidate for one in judged}),
        )
    ]


def _unlucky(t: float) -> list[RunView]:
    hour = t - t % 3600
    rows = (
        ("stalled", "digits sgd, no sign of life", 120, ""),
        ("failed", "digits adam", 44, "ValueError: Input X contains NaN"),
        ("crashed", "digits lbfgs", 71, ""),
    )
    return [
        RunView(
            run=f"{state}{int(hour)}",
            name=name,
            state=state,
            params={"learning_rate": 0.3, "solver": name.split()[1].strip(",")},
            started=t - 400 - t % 60,
            updated=t - 20 if state == "stalled" else t - 200 - t % 60,
            ended=0.0 if state == "stalled" else t - 200 - t % 60,
            step=step,
            total_steps=300,
            metrics={"loss": 1.4, "accuracy": 0.4},
            best={"loss": 1.3, "accuracy": 0.45},
            error=error,
        )
        for state, name, step, error in rows
    ]


def _rank(metric: str, turn: int, rank: int, step: int) -> float:
    if metric == "learning_rate":
        return 0.05 * (0.5 + 0.5 * math.cos(math.pi * step / TOTAL))
    chance = random.Random(f"{metric}/{turn}/{rank}/{step}")
    loss = 0.08 + 2.2 * math.exp(-0.012 * step) + 0.05 * rank * math.exp(-0.004 * step)
    loss *= 1 + 0.06 * chance.gauss(0, 1)
    if metric == "gradient_norm":
        return 9 * math.exp(1.3 * math.log(loss))
    return loss if metric == "loss" else 1 - loss / 2.6


def _final(n: int) -> float:
    return round(0.08 + 0.5 * random.Random(n * 7 + 1).random() ** 2, 4)


def _curves(n: int, t: float) -> dict[str, bytes]:
    view = past(n, t).view
    loss, accuracy, clock = Curve(), Curve(), Curve()
    chance = random.Random(n)
    for step in range(1, view.step + 1):
        value = (_final(n) + 2.1 * math.exp(-0.02 * step)) * (1 + 0.05 * chance.gauss(0, 1))
        loss.add(step, value)
        accuracy.add(step, 1 - value / 2.6)
        clock.add(step, view.started + step * (view.ended - view.started) / view.step)
    found = {"loss": loss, "accuracy": accuracy, CLOCK: clock}
    return {part_field(metric, 0): msgspec.msgpack.encode(curve.save()) for metric, curve in found.items()}
