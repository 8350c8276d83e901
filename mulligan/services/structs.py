"""JSON values as ``google.protobuf.Struct`` carries them, and back."""

from typing import Any

from mulligan.errors import InvalidArgument
from mulligan.handlers.values import MAX_DEPTH, plain
from mulligan.proto._generated.google.protobuf import Struct, Value


def values_of(message: Struct | None, field: str) -> dict[str, Any]:
    """Return the values of a message by name, whole numbers as integers.

    Raise InvalidArgument, naming the value, for one that is no JSON or too deep.
    """
    found = message.fields if message is not None else {}
    return {
        name: plain(_read(value, f"{field}[{name}]", MAX_DEPTH), f"{field}[{name}]")
        for name, value in sorted(found.items())
    }


def struct_of(values: dict[str, Any]) -> Struct:
    """Return values as a message."""
    return Struct.from_dict(values)


def _read(value: Value, field: str, depth: int) -> Any:
    if depth < 0:
        raise InvalidArgument(field, f"at most {MAX_DEPTH} levels of lists and objects")
    if value.struct_value is not None:
        inner = value.struct_value.fields
        return {name: _read(one, field, depth - 1) for name, one in inner.items()}
    if value.list_value is not None:
        return [_read(one, field, depth - 1) for one in value.list_value.values]
    for scalar in (value.string_value, value.number_value, value.bool_value):
        if scalar is not None:
            return scalar
    if value.null_value is None:
        raise InvalidArgument(field, "it has no value; write null for that")
    return None
