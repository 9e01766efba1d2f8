"""Strategies for events: any struct of the wire, with any values that the types of its fields allow."""

from __future__ import annotations

import typing
from typing import Any

import msgspec
from hypothesis import strategies as st

from headrace.events import AnyEvent

KINDS: tuple[type[Any], ...] = typing.get_args(AnyEvent)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
"""What both codecs carry."""


def values(hint: Any, floats: st.SearchStrategy[float] = FINITE) -> st.SearchStrategy[Any]:
    """Values of a field's type."""
    parts = typing.get_args(hint)
    origin = typing.get_origin(hint)
    if hint is float:
        return floats
    if hint is int:
        return INTEGERS
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return structs(hint, floats)
    if origin is typing.Literal:
        return st.sampled_from(parts)
    if origin is list:
        return st.lists(values(parts[0], floats), max_size=3)
    if origin is dict:
        return st.dictionaries(values(parts[0], floats), values(parts[1], floats), max_size=3)
    if origin is tuple and parts[-1] is ...:
        return st.lists(values(parts[0], floats), max_size=3).map(tuple)
    if origin is tuple:
        return st.tuples(*(values(part, floats) for part in parts))
    if parts:
        return st.one_of(*(values(part, floats) for part in parts))
    found: st.SearchStrategy[Any] = st.from_type(hint)
    return found


def structs(kind: type[Any], floats: st.SearchStrategy[float] = FINITE) -> st.SearchStrategy[Any]:
    """Instances of a struct; each field may be left at its default."""
    hints = typing.get_type_hints(kind)
    fields = {field.name: values(hints[field.name], floats) for field in msgspec.structs.fields(kind)}
    optional = {
        field.name: fields.pop(field.name)
        for field in msgspec.structs.fields(kind)
        if not field.required and field.name in fields
    }

    def build(given: dict[str, Any]) -> Any:
        return kind(**given)

    return st.fixed_dictionaries(fields, optional=optional).map(build)
