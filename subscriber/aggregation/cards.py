"""What is known of model versions, asked for once: a card may lie on a disk, and frames come 4 times a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from headrace.errors import HeadraceError
from headrace.subscriber.aggregation.quality import Cards, ModelCard

ASK_AGAIN_S: Final = 10.0
"""A version that was not known may have been stored since."""
KEPT: Final = 1000


class CardShelf:
    """Called like the `cards` given. A card never changes, so it is kept; that there is none is kept for 10 s."""

    def __init__(self, cards: Cards, clock: Callable[[], float] = time.monotonic) -> None:
        self._cards = cards
        self._clock = clock
        self._kept: dict[tuple[str, int], tuple[ModelCard | None, float]] = {}

    def __call__(self, model: str, version: int) -> ModelCard | None:
        now = self._clock()
        card, asked = self._kept.get((model, version), (None, -ASK_AGAIN_S))
        if card is not None or now - asked < ASK_AGAIN_S:
            return card
        try:
            card = self._cards(model, version)
        except HeadraceError:
            card = None
        if len(self._kept) >= KEPT:
            self._kept.clear()
        self._kept[model, version] = (card, now)
        return card
