"""Publishing: training runs, applications, sources and the HTTP gateway.

    Publisher ─┐                     ┌─> log
    Run ───────┼─> buffer ─> outbox ─┤            predict ─> requests ... reply channel ─> Result
    sources ───┘    (one batch under way)  └─> live

Importing this is cheap: what needs a server is loaded when something is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headrace.publisher.aio import AsyncPrediction, AsyncPublisher
    from headrace.publisher.predictions import Result
    from headrace.publisher.publisher import Publisher
    from headrace.publisher.replies import Prediction
    from headrace.publisher.run import Run

__all__ = ["AsyncPrediction", "AsyncPublisher", "Prediction", "Publisher", "Result", "Run"]

_HOMES = {
    "AsyncPrediction": "aio",
    "AsyncPublisher": "aio",
    "Prediction": "replies",
    "Publisher": "publisher",
    "Result": "predictions",
    "Run": "run",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
