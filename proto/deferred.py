"""A ``dataclass`` for generated messages that does its work when a class is first used.

Making a dataclass writes and compiles its methods, and there are hundreds of messages of which a
command uses a few. A class that is decorated here becomes a dataclass at its first instance, or
when its fields are first asked for; until then it is a plain class, and nothing can tell. Any
number of threads may use one for the first time at once: one of them makes it, under a lock, and
the others see it as it was or whole.
"""

import dataclasses
import sys
from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from threading import RLock
from typing import Any, dataclass_transform, get_type_hints

import betterproto2

from mulligan.proto.quick import default_of, parse, write

_making = RLock()
_FIELDS = "__dataclass_fields__"
_OF_EACH_CLASS = frozenset(("__dict__", "__weakref__", "__init__", _FIELDS))

field: Callable[..., Any] = partial(partial, betterproto2.field)
"""Takes what betterproto2.field takes; it is called when the class becomes a dataclass."""


class _Fields:
    """Stands for the fields of a class that is no dataclass yet, and makes it one when asked."""

    def __init__(self, *, eq: bool, repr: bool) -> None:
        self.eq = eq
        self.repr = repr

    def __get__(self, instance: object, owner: type[Any]) -> Any:
        return finished(owner).__dataclass_fields__


class Later:
    """A module that is imported when something of it is first asked for."""

    def __init__(self, name: str) -> None:
        self._module = name

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self._module), name)


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
    if isinstance(vars(cls)[_FIELDS], _Fields):
        with _making:
            fields = vars(cls)[_FIELDS]
            if isinstance(fields, _Fields):  # no other thread was faster
                _finish(cls, fields)
    return cls


def _finish(cls: type[Any], wanted: _Fields) -> None:
    """Make the dataclass beside the class, and give it the parts, what others look at last."""
    own = {name: value for name, value in vars(cls).items() if name not in _OF_EACH_CLASS}
    deferred = [name for name, value in own.items() if isinstance(value, partial)]
    for name in deferred:
        own[name] = own[name]()
    own["__qualname__"] = cls.__qualname__
    own["__doc__"] = cls.__doc__ or cls.__name__  # else one is made of the signature, slowly
    metaclass: Any = type(cls)
    made = metaclass(cls.__name__, cls.__bases__, own)
    made = dataclasses.dataclass(eq=wanted.eq, repr=wanted.repr)(made)
    _keep_hints(cls)
    for name, value in vars(made).items():
        if name not in own and name not in _OF_EACH_CLASS:
            setattr(cls, name, value)
    cls.__init__ = made.__init__
    cls.__dataclass_fields__ = made.__dataclass_fields__
    for name in deferred:
        delattr(cls, name)


def _keep_hints(cls: type[Any]) -> None:
    """Let a message look up the types of its fields once, rather than once for each field."""

    @cache
    def hints() -> dict[str, Any]:
        return get_type_hints(cls, vars(sys.modules[cls.__module__]), {})

    cls._type_hints = staticmethod(hints)
