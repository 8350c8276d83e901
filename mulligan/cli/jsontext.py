"""JSON values on the command line and in ``google.protobuf.Struct``."""

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mulligan.errors import InvalidArgument

if TYPE_CHECKING:
    from mulligan.proto.v1 import Metadef


def parse_values(pairs: Iterable[str], schemas: Mapping[str, Any], field: str) -> dict[str, Any]:
    """Read ``key=value`` pairs: a value is JSON, else text.

    It is text as well where its schema, by key, wants nothing else.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise InvalidArgument(field, f"{pair!r} is not key=value")
        if key in found:
            raise InvalidArgument(field, f"{key!r} is given twice")
        schema = schemas.get(key)
        is_text = isinstance(schema, dict) and schema.get("type") == "string"
        found[key] = text if is_text else _value(text)
    return found


def keys_of(pairs: Iterable[str]) -> list[str]:
    """Return the keys of ``key=value`` pairs."""
    return list(dict.fromkeys(pair.partition("=")[0] for pair in pairs))


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def json_text(value: Any) -> str:
    """Return a value as JSON on one line; a text as it is."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def json_of(struct: Any) -> dict[str, Any]:
    """Return the values of a Struct, whole numbers as integers."""
    from mulligan.services.structs import values_of

    return values_of(struct, "answer")


def schema_of(metadef: "Metadef") -> dict[str, Any]:
    """Return the schema of a definition."""
    return json_of(metadef.schema)
