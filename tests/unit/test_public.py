"""What is public is named once, is there, and tells what it guarantees."""

from __future__ import annotations

import importlib
import inspect
import typing

import msgspec
import pytest

from headrace.events import AnyEvent, Event

MODULES = ("headrace.bus", "headrace.embedded", "headrace.events", "headrace.publisher", "headrace.testing")


@pytest.mark.parametrize("module", MODULES)
def test_public_names_are_there_once_and_have_a_docstring(module: str) -> None:
    loaded = importlib.import_module(module)
    assert loaded.__doc__
    assert len(loaded.__all__) == len(set(loaded.__all__))
    for name in loaded.__all__:
        assert not name.startswith("_")
        value = getattr(loaded, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), f"{module}.{name} has no docstring"


@pytest.mark.parametrize("module", MODULES)
def test_methods_of_public_classes_have_docstrings(module: str) -> None:
    loaded = importlib.import_module(module)
    for name in loaded.__all__:
        value = getattr(loaded, name)
        if inspect.isclass(value) and value.__module__.startswith("headrace."):
            for method, function in vars(value).items():
                if inspect.isfunction(function) and not method.startswith("_"):
                    assert inspect.getdoc(function), f"{module}.{name}.{method} has no docstring"


def test_the_union_holds_every_event() -> None:
    events = importlib.import_module("headrace.events")
    kinds = set(typing.get_args(AnyEvent))
    named = {getattr(events, name) for name in events.__all__}
    assert kinds == {kind for kind in named if inspect.isclass(kind) and issubclass(kind, Event) and kind is not Event}


def test_types_on_the_wire_are_words_with_dots() -> None:
    tags = [kind.__struct_config__.tag for kind in typing.get_args(AnyEvent)]
    assert len(tags) == len(set(tags))
    assert all(part.isalpha() and part.islower() for tag in tags for part in tag.split("."))


def test_new_fields_can_be_left_out() -> None:
    """Whoever adds a field gives it a default: these are the fields that were required from the first day."""
    required = {
        kind.__struct_config__.tag: {field.name for field in msgspec.structs.fields(kind) if field.required}
        for kind in typing.get_args(AnyEvent)
    }
    assert required == {
        "run.started": {"run"},
        "run.metrics": {"run", "step", "metrics"},
        "run.alive": {"run"},
        "run.candidate": {"run", "candidate"},
        "run.finished": {"run"},
        "prediction.requested": {"model", "inputs"},
        "prediction.scored": {"model", "version", "positions", "ids"},
        "prediction.rejected": {"request", "position", "reason"},
        "prediction.labelled": {"prediction", "labels"},
        "prediction.joined": {"model", "version", "predictions", "predicted", "actual"},
        "prediction.sampled": {"model", "version", "prediction", "request", "inputs"},
        "entry.dead": {"channel", "partition", "position", "group", "reason", "attempts", "payload"},
        "worker.alive": {"worker", "kind"},
        "worker.stopped": {"worker", "kind"},
        "publisher.report": {"producer"},
        "model.promoted": {"model", "version", "sha256"},
        "model.refused": {"model", "version", "worker", "reason"},
        "alert": {"name", "state"},
        "action.taken": {"action"},
        "frame": set(),
    }
