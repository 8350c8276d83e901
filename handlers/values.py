"""Values of attributes: one text for equal values, whatever way they came."""

import hashlib
from typing import Any

import msgspec

from mulligan.errors import InvalidArgument

MAX_DEPTH = 16
"""Lists and objects in one another."""

EXACT = 2**53
"""Above this an integer that came as a double is not the one that was sent."""

_encode = msgspec.json.Encoder(order="sorted").encode


def plain(value: Any, field: str, depth: int = MAX_DEPTH) -> Any:
    """Return a JSON value with whole numbers as integers; raise InvalidArgument naming ``field``.

    Refused are what is not a number, and what lies deeper than ``depth``.
    """
    match value:
        case dict() | list() if depth == 0:
            raise InvalidArgument(field, f"at most {MAX_DEPTH} levels of lists and objects")
        case dict():
            return {key: plain(value[key], field, depth - 1) for key in sorted(value)}
        case list():
            return [plain(one, field, depth - 1) for one in value]
        case float():
            return _number(value, field)
        case _:
            return value


def _number(value: float, field: str) -> float | int:
    if value != value or value in (float("inf"), float("-inf")):
        raise InvalidArgument(field, "a number must be finite")
    whole = value.is_integer() and abs(value) <= EXACT
    return int(value) if whole else value


def canonical(value: Any) -> bytes:
    """Return the JSON of a plain value; equal values have the same."""
    return _encode(value)


def digest(value: Any) -> str:
    """Return a short text that equal plain values share, and no others."""
    return hashlib.blake2b(canonical(value), digest_size=20).hexdigest()


def nodes(value: Any) -> int:
    """Count the values in a value, itself included."""
    match value:
        case dict():
            return 1 + sum(nodes(one) for one in value.values())
        case list():
            return 1 + sum(nodes(one) for one in value)
        case _:
            return 1
