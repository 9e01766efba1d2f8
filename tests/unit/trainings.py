"""Trainings of the story: one over four ranks, a halving search, some that went wrong, and hundreds that ended.

The same second always gives the same runs, points, candidates and saved state; `Rounds` says when they began.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from functools import lru_cache

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


@dataclass(frozen=True, slots=True)
class Rounds:
    """Everything comes in rounds since `begin`, Unix seconds, each `slow` times as long as usual.

    A test that looks at one training begins it itself: then none ends, or gives way to the next, while the test looks.
    """

    begin: float = 0.0
    slow: float = 1.0

    def at(self, t: float, round_s: float) -> tuple[int, float]:
        """Number of the round at `t`, and when it began."""
        number = int((t - self.begin) // (round_s * self.slow))
        return number, self.begin + number * round_s * self.slow


ALWAYS = Rounds()
Points = dict[str, dict[str, list[Point]]]
Spans = dict[str, dict[str, list[Span]]]


def views(t: float, rounds: Rounds = ALWAYS) -> list[RunView]:
    """The runs of the frame at `t`."""
    return [*_distributed(t, rounds), *_search(t, rounds), *_unlucky(t, rounds)]


def fresh(t: float, step_s: float, rounds: Rounds = ALWAYS) -> tuple[Points, Spans]:
    """New points and spans in the `step_s` before `t`."""
    turn, began = rounds.at(t, DISTRIBUTED_S)
    speed = STEPS_PER_S / rounds.slow
    low, high = int(max(0.0, t - began - step_s) * speed), int((t - began) * speed)
    steps = range(low + 1, min(high, TOTAL) + 1)
    if not steps:
        return {}, {}
    run = f"ddp{turn}"
    points: dict[str, list[Point]] = {CLOCK: [(n, began + n / speed) for n in steps]}
    spans: dict[str, list[Span]] = {}
    for metric in ("loss", "accuracy", "gradient_norm", "learning_rate"):
        values = {step: [_rank(metric, turn, rank, step) for rank in range(4)] for step in steps}
        points[metric] = [(step, sum(ranks) / 4) for step, ranks in values.items()]
        spans[metric] = [(step, min(ranks), max(ranks)) for step, ranks in values.items() if min(ranks) < max(ranks)]
    return {run: points}, {run: {metric: spanned for metric, spanned in spans.items() if spanned}}


def saved(name: str, t: float, rounds: Rounds = ALWAYS) -> dict[str, bytes]:
    """State that the aggregator would have saved."""
    if name == RUNS_STATE:
        return {f"past{n}": past(n, t, rounds).encode() for n in range(PAST)}
    if name.startswith(run_state("past")):
        return _curves(int(name.removeprefix(run_state("past"))), t, rounds)
    if name.startswith(search_state("search")):
        turn = int(name.removeprefix(search_state("search")))
        return {candidate_field(one.candidate, one.rung): one.encode() for one in candidates(turn, t, rounds)}
    return {}


def past(n: int, t: float, rounds: Rounds = ALWAYS) -> SavedRun:
    """One of those that ended, `n` runs ago."""
    chance = random.Random(n)
    rate = 10 ** chance.uniform(-3.5, -0.5)
    state = "failed" if n % 17 == 3 else "crashed" if n % 29 == 5 else "finished"
    ended = rounds.at(t, 600.0)[1] - 1200 - 300.0 * n
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


def candidates(turn: int, t: float, rounds: Rounds = ALWAYS) -> list[SavedCandidate]:
    """Those of the search of one turn that came until `t`: each rung keeps the best third of the one before."""
    found = []
    for one in _candidates(turn, rounds):
        found.append(one)
        if one.time > t:
            found[-1] = msgspec.structs.replace(one, status="running", metrics={})
            break
    return found


@lru_cache
def _candidates(turn: int, rounds: Rounds) -> list[SavedCandidate]:
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
    found, at, alive = [], rounds.begin + turn * SEARCH_S * rounds.slow, names
    for rung, (keep, steps) in enumerate(RUNGS):
        alive = sorted(alive, key=lambda name: -skill[name])[:keep] if rung else alive
        for name in alive if rung == 0 else sorted(alive):
            at += (0.9 + 0.35 * rung) * rounds.slow
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
    return found


def _distributed(t: float, rounds: Rounds) -> list[RunView]:
    found = []
    speed = STEPS_PER_S / rounds.slow
    newest, began = rounds.at(t, DISTRIBUTED_S)
    for turn, started in ((newest, began), (newest - 1, began - DISTRIBUTED_S * rounds.slow)):
        step = min(TOTAL, int((t - started) * speed))
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
                updated=min(t, started + TOTAL / speed),
                ended=started + TOTAL / speed if over else 0.0,
                step=step,
                total_steps=TOTAL,
                steps_per_s=0.0 if over else speed,
                ranks=4,
                metrics=metrics,
                best=metrics,
                cost_us=2.7,
            )
        )
    return found


def _search(t: float, rounds: Rounds) -> list[RunView]:
    turn, began = rounds.at(t, SEARCH_S)
    known = candidates(turn, t, rounds)
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
            started=began,
            updated=known[-1].time if over else t,
            ended=known[-1].time if over else 0.0,
            metrics={"candidates/score": scores[-1]} if scores else {},
            best=best,
            candidates=len({one.candidate for one in judged}),
        )
    ]


def _unlucky(t: float, rounds: Rounds) -> list[RunView]:
    _, hour = rounds.at(t, 3600.0)
    _, minute = rounds.at(t, 60.0)
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
            started=minute - 400,
            updated=t - 20 if state == "stalled" else minute - 200,
            ended=0.0 if state == "stalled" else minute - 200,
            step=step,
            total_steps=300,
            metrics={"loss": 1.4, "accuracy": 0.4},
            best={"loss": 1.3, "accuracy": 0.45},
            error=error,
        )
        for state, name, step, error in rows
    ]


@lru_cache(maxsize=20_000)
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


def _curves(n: int, t: float, rounds: Rounds) -> dict[str, bytes]:
    view = past(n, t, rounds).view
    loss, accuracy, clock = Curve(), Curve(), Curve()
    chance = random.Random(n)
    for step in range(1, view.step + 1):
        value = (_final(n) + 2.1 * math.exp(-0.02 * step)) * (1 + 0.05 * chance.gauss(0, 1))
        loss.add(step, value)
        accuracy.add(step, 1 - value / 2.6)
        clock.add(step, view.started + step * (view.ended - view.started) / view.step)
    found = {"loss": loss, "accuracy": accuracy, CLOCK: clock}
    return {part_field(metric, 0): msgspec.msgpack.encode(curve.save()) for metric, curve in found.items()}
