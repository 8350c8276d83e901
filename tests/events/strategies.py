"""Any event at all, drawn from the types of its fields."""

import types
import typing
from collections.abc import Mapping
from datetime import UTC, timedelta
from typing import Any

import msgspec
from hypothesis import strategies as st

from mulligan.events.codec import EVENT_TYPES, Event

_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2)
    ),
    max_leaves=4,
)


def of_type(hint: Any) -> st.SearchStrategy[Any]:
    """Values that a field of this type may hold."""
    while hasattr(hint, "__supertype__"):
        hint = hint.__supertype__
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return st.one_of([of_type(arg) for arg in args])
    if origin is typing.Literal:
        return st.sampled_from(args)
    if origin is tuple:
        return st.lists(of_type(args[0]), max_size=2).map(tuple)
    if origin is frozenset:
        return st.frozensets(of_type(args[0]), max_size=3)
    if origin in (dict, Mapping):
        return st.dictionaries(of_type(args[0]), of_type(args[1]), max_size=2)
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return of_struct(hint)
    return _plain(hint)


def _plain(hint: Any) -> st.SearchStrategy[Any]:
    known: dict[Any, st.SearchStrategy[Any]] = {
        str: st.text(max_size=12),
        int: st.integers(-(2**63), 2**63 - 1),
        float: st.floats(allow_nan=False, allow_infinity=False),
        bool: st.booleans(),
        type(None): st.none(),
        timedelta: st.timedeltas(timedelta(days=-9), timedelta(days=9)),
    }
    if hint is Any:
        return _JSON
    if hint in known:
        return known[hint]
    return st.datetimes(timezones=st.just(UTC))


def of_struct(cls: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    """Structs of one type."""
    hints = typing.get_type_hints(cls)
    fields = {f.name: of_type(hints[f.name]) for f in msgspec.structs.fields(cls)}
    return st.builds(cls, **fields)


ANY_EVENT: st.SearchStrategy[Event] = st.sampled_from(sorted(EVENT_TYPES)).flatmap(
    lambda name: of_struct(typing.cast("type[msgspec.Struct]", EVENT_TYPES[name]))
)
