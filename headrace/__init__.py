"""Redis event pipeline for machine learning: publish, subscribe, consume, commit.

    with headrace.Run("digits", params={"alpha": 1e-4}) as run:
        run.log(step=1, loss=0.42)

    with headrace.Publisher() as publisher:
        publisher.predict("digits", rows).labels

Every name here is loaded when it is first used: `import headrace` costs a training script next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headrace.bus import Bus
    from headrace.errors import (
        BusError,
        CodecError,
        DeadlineError,
        EmbeddedError,
        EventError,
        FullError,
        GroupLostError,
        HeadraceError,
        InputError,
        LeaseLostError,
        ModelError,
        PredictionError,
        RefusedModelError,
        RejectedError,
        SettingsError,
        UnavailableError,
        UnknownModelError,
        UnknownTypeError,
    )
    from headrace.publisher import AsyncPublisher, Publisher, Run, adapters, track
    from headrace.settings import Settings

    __version__: str

__all__ = [
    "AsyncPublisher",
    "Bus",
    "BusError",
    "CodecError",
    "DeadlineError",
    "EmbeddedError",
    "EventError",
    "FullError",
    "GroupLostError",
    "HeadraceError",
    "InputError",
    "LeaseLostError",
    "ModelError",
    "PredictionError",
    "Publisher",
    "RefusedModelError",
    "RejectedError",
    "Run",
    "Settings",
    "SettingsError",
    "UnavailableError",
    "UnknownModelError",
    "UnknownTypeError",
    "__version__",
    "adapters",
    "track",
]

_HOMES = {
    "AsyncPublisher": "publisher",
    "Bus": "bus",
    "Publisher": "publisher",
    "Run": "publisher",
    "Settings": "settings",
    "adapters": "publisher",
    "track": "publisher",
}
"""Where a name lives; the others are errors."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("headrace")
    elif name in __all__:
        from importlib import import_module

        value = getattr(import_module(f"headrace.{_HOMES.get(name, 'errors')}"), name)
    else:
        raise AttributeError(f"module 'headrace' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
