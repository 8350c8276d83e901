"""A ``dataclass`` for generated messages that does its work when a class is first used.

Making a dataclass writes and compiles its methods, and there are hundreds of messages of which a
command uses a few. A class that is decorated here becomes a dataclass at its first instance, or
when its fields are first asked for; until then it is a plain class, and nothing can tell. Two
threads must not use one for the first time at once.
"""

import dataclasses
import sys
from collections.abc import Callable
from functools import cache
from typing import Any, dataclass_transform, get_type_hints

from mulligan.proto.quick import default_of, parse, write


class _Fields:
    """Stands for the fields of a class that is no dataclass yet, and makes it one when asked."""

    def __init__(self, *, eq: bool, repr: bool) -> None:
        self.eq = eq
        self.repr = repr

    def __get__(self, instance: object, owner: type[Any]) -> Any:
        return finished(owner).__dataclass_fields__


@dataclass_transform(eq_default=False)
def dataclass(*, eq: bool, repr: bool) -> Callable[[type[Any]], type[Any]]:
    """Return what makes a class a dataclass later; the arguments are those of the real one."""

    def defer(cls: type[Any]) -> type[Any]:
        def first(self: Any, *arguments: Any, **named: Any) -> None:
            finished(type(self)).__init__(self, *arguments, **named)

        cls.__dataclass_fields__ = _Fields(eq=eq, repr=repr)
        cls.__init__ = first
        cls._is_pydantic = _never
        cls._get_field_default = default_of
        cls.parse = classmethod(parse)
        cls.__bytes__ = write
        return cls

    return defer


def _never(self: object) -> bool:
    """Answer for a message whether pydantic made it; to look would import all of pydantic."""
    return False


def finished(cls: type[Any]) -> type[Any]:
    """Return a deferred class as the dataclass that it is."""
    fields = vars(cls)["__dataclass_fields__"]
    if isinstance(fields, _Fields):
        del cls.__dataclass_fields__, cls.__init__
        cls.__doc__ = cls.__doc__ or cls.__name__  # else one is made of the signature, slowly
        dataclasses.dataclass(eq=fields.eq, repr=fields.repr)(cls)
        _keep_hints(cls)
    return cls


def _keep_hints(cls: type[Any]) -> None:
    """Let a message look up the types of its fields once, rather than once for each field."""

    @cache
    def hints() -> dict[str, Any]:
        return get_type_hints(cls, vars(sys.modules[cls.__module__]), {})

    cls._type_hints = staticmethod(hints)
