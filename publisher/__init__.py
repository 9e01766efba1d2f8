"""Publishing: training runs, applications, sources and the HTTP gateway.

    Publisher ─┐                     ┌─> log
    Run ───────┼─> buffer ─> outbox ─┤            predict ─> requests ... reply channel ─> Result
    sources ───┘    (one batch under way)  └─> live

Importing this is cheap: what needs a server is loaded when something is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headrace.publisher import adapters
    from headrace.publisher.aio import AsyncPrediction, AsyncPublisher
    from headrace.publisher.predictions import Result
    from headrace.publisher.publisher import Publisher
    from headrace.publisher.replies import Prediction
    from headrace.publisher.run import Run
    from headrace.publisher.track import track

__all__ = [
    "AsyncPrediction",
    "AsyncPublisher",
    "Prediction",
    "Publisher",
    "Result",
    "Run",
    "adapters",
    "track",
]

_HOMES = {
    "AsyncPrediction": "aio",
    "AsyncPublisher": "aio",
    "Prediction": "replies",
    "Publisher": "publisher",
    "Result": "predictions",
    "Run": "run",
    "track": "track",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    home = import_module(f"{__name__}.{_HOMES.get(name, name)}")
    value = getattr(home, name) if name in _HOMES else home
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
