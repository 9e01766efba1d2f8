"""What labels say of the models in the story of frames.py, and a registry with versions of one of them."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

from headrace.codec import encode
from headrace.events import PredictionRequested, QualityView
from headrace.models.card import Card
from headrace.models.quarantine import examine
from headrace.models.registry import Registry
from headrace.positions import Entry, Position
from tests.unit.trainings import ALWAYS, Rounds

BLOCK_S = 300
"""The worst mistakes of the story change every five minutes."""
WORST = 12
FORGOTTEN = 5
"""Of every so many mistakes, the log has the request of one no more."""
WEIGHTS = (0, 0, 2, 6, 9, 14, 21, 34, 71, 843)
RESIDUALS = (1, 0, 2, 5, 9, 17, 31, 44, 61, 72, 66, 51, 38, 22, 12, 7, 3, 0, 1)


def mistakes(t: float, rounds: Rounds = ALWAYS) -> list[tuple[Position, int, int, float]]:
    """Position of the request, true and predicted digit, confidence: the worst at `t`."""
    return _mistakes(*rounds.at(t, BLOCK_S))


@lru_cache
def _mistakes(block: int, began: float) -> list[tuple[Position, int, int, float]]:
    chance = random.Random(block)
    found = []
    for n in range(WORST):
        actual = chance.randrange(10)
        place = Position(int(began * 1000) - 4_000 * (WORST - n), block % 10**9 * WORST + n)
        found.append((place, actual, (actual + chance.choice((1, 3, 5, 7))) % 10, round(0.999 - 0.017 * n, 3)))
    return found


def classifier(t: float, view: QualityView, rounds: Rounds = ALWAYS) -> QualityView:
    """The quality `view` of the classifier with what labels say of its confidence."""
    bins = []
    for place, weight in enumerate(WEIGHTS):
        n = view.joined * weight // 1000
        sure = (place + 0.55) / 10
        bins.append((n, int(n * min(0.995, max(0.0, sure - 0.06 * math.sin(place)))), n * sure))
    return QualityView(
        joined=view.joined,
        correct=view.correct,
        confusion=view.confusion,
        recent=[(at, 900, int(900 * (0.968 + 0.012 * math.sin(at / 23)))) for at in _slices(t, 30)],
        calibration=bins,
        worst=[(f"0-{at}", 0, float(said), float(true), sure) for at, true, said, sure in mistakes(t, rounds)],
    )


def regression(t: float, rounds: Rounds = ALWAYS) -> QualityView:
    """The quality of the regression: two labels a second."""
    block_s = int(rounds.at(t, BLOCK_S)[1])
    n = 442 + 2 * int(t % 10_000)
    pairs = [_pair(2 * int(t) - back) for back in range(24, 0, -1)]
    far = _far(block_s)
    return QualityView(
        joined=n,
        sum_abs=n * 43.2,
        sum_sq=n * 2_900.0,
        sum_y=n * 152.1,
        sum_y2=n * 29_072.0,
        recent=[(at, 20, 0) for at in _slices(t, 30)],
        residual_width=16.0,
        residual_first=-9,
        residuals=[count * n // 442 for count in RESIDUALS],
        errors=[_errors(at) for at in _slices(t, 6)],
        pairs=pairs,
        worst=[(f"0-{block_s * 1000 - 9_000 * n}-7", 0, *far[n], 0.0) for n in range(WORST)],
    )


def _slices(t: float, count: int) -> list[float]:
    """Beginnings of the newest ten seconds, oldest first."""
    return [t // 10 * 10 - 10 * back for back in range(count - 1, -1, -1)]


@lru_cache
def _far(block_s: int) -> list[tuple[float, float]]:
    """Predicted and actual, the furthest apart first."""
    return sorted((_pair(2 * block_s + n) for n in range(60)), key=lambda pair: -abs(pair[0] - pair[1]))


@lru_cache(maxsize=10_000)
def _pair(number: int) -> tuple[float, float]:
    """Predicted and actual."""
    chance = random.Random(number)
    actual = 60 + 240 * chance.random()
    return round(150 + 0.62 * (actual - 152) + 38 * chance.gauss(0, 1), 1), round(actual, 1)


@lru_cache(maxsize=1_000)
def _errors(time: float) -> tuple[float, int, float, float, float, float]:
    pairs = [_pair(2 * int(time) + n) for n in range(20)]
    off = [predicted - actual for predicted, actual in pairs]
    truth = [actual for _, actual in pairs]
    return (time, 20, sum(map(abs, off)), sum(x * x for x in off), sum(truth), sum(x * x for x in truth))


def requests(t: float, digit: Callable[[int, int], list[float]], rounds: Rounds = ALWAYS) -> list[Entry]:
    """The log of requests, as far as mistakes of the half hour around `t` came from it."""
    found = []
    for block in range(-3, 4):
        for n, (place, actual, _, _) in enumerate(mistakes(t + block * BLOCK_S * rounds.slow, rounds)):
            if n % FORGOTTEN != FORGOTTEN - 1:
                found.append(_request(place, actual, digit))
    return found


@lru_cache(maxsize=1_000)
def _request(place: Position, actual: int, digit: Callable[[int, int], list[float]]) -> Entry:
    """Made once: a page that shows mistakes asks for them again and again."""
    return Entry(place, encode(PredictionRequested(model="digits", inputs=[[*digit(actual, place.number)]])))


@lru_cache(maxsize=1)
def _fitted() -> object:
    from sklearn.datasets import load_digits
    from sklearn.naive_bayes import GaussianNB

    data = load_digits()
    return GaussianNB().fit(data.data, data.target)


def shelf(folder: Path, now: datetime | None = None) -> Registry:
    """A registry with three versions of `digits`; the third is in service, and the second was before."""
    registry = Registry(folder, vet=lambda content, limits: examine(content))
    now = now or datetime.now(UTC)
    for version, accuracy in enumerate((0.912, 0.968, 0.973), start=1):
        card = Card(
            name="digits",
            kind="classification",
            labels=tuple(str(digit) for digit in range(10)),
            image_shape=(8, 8),
            metrics={"accuracy": accuracy, "log_loss": round(0.4 - 0.1 * version, 3)},
        )
        registry.save(_fitted(), card, now - timedelta(hours=30 - 9 * version))
        if version > 1:
            registry.promote("digits", version, now - timedelta(hours=29 - 9 * version))
    return registry
