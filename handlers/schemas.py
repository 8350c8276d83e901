"""JSON Schemas of attributes: which are taken, and whether a value meets one.

Deciding must be quick and always come out the same, and whoever defines an attribute is not to be
trusted with the time of others. So a schema is JSON Schema draft 2020-12 of the keywords below and
no others; it refers to nothing outside of itself and not to itself in a ring; its regular
expressions are matched in linear time (no look-around, no back-references); and what it unfolds to
times the size of a value is bounded. ``format`` is an annotation: it checks nothing.
"""

from functools import lru_cache
from typing import Any

import jsonschema_rs
import msgspec

from mulligan.errors import FailedPrecondition, InvalidArgument
from mulligan.handlers import values

MAX_SCHEMA = 16 * 1024
"""Bytes of a schema as JSON."""
MAX_VALUE = 8 * 1024
"""Bytes of one value as JSON."""
MAX_PATTERNS = 16
MAX_PATTERN = 256
MAX_SUBSCHEMAS = 1000
"""Subschemas once all references are unfolded."""
MAX_WORK = 100_000
"""Unfolded subschemas times values within the value."""

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_ONE = frozenset({
    "items", "contains", "additionalProperties", "propertyNames", "not", "if", "then", "else",
})  # fmt: skip
_MANY = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_NAMED = frozenset({"properties", "patternProperties", "dependentSchemas"})
_KEPT = frozenset({"$defs"})
_FACTS = frozenset({
    "type", "enum", "const", "multipleOf", "maximum", "exclusiveMaximum", "minimum",
    "exclusiveMinimum", "maxLength", "minLength", "pattern", "minContains", "maxContains",
    "maxItems", "minItems", "uniqueItems", "required", "minProperties", "maxProperties",
    "dependentRequired", "format", "title", "description", "default", "examples", "deprecated",
    "readOnly", "writeOnly", "$comment",
})  # fmt: skip
_KNOWN = _ONE | _MANY | _NAMED | _KEPT | _FACTS | {"$schema", "$ref"}

_PATTERNS = jsonschema_rs.RegexOptions(size_limit=1 << 18, dfa_size_limit=1 << 18)


def check(schema: dict[str, Any], field: str = "schema") -> None:
    """Raise InvalidArgument, naming ``field``, unless the plain ``schema`` can be used."""
    if len(values.canonical(schema)) > MAX_SCHEMA:
        raise InvalidArgument(field, f"at most {MAX_SCHEMA} bytes of JSON")
    try:
        _compiled(values.canonical(schema))
    except _Unfit as error:
        raise InvalidArgument(field, str(error)) from error


def require(schema: dict[str, Any], value: Any, field: str) -> None:
    """Raise InvalidArgument, naming ``field``, unless the plain value meets the schema.

    Raise FailedPrecondition for a schema that was taken once and no longer is.
    """
    if len(values.canonical(value)) > MAX_VALUE:
        raise InvalidArgument(field, f"at most {MAX_VALUE} bytes of JSON")
    try:
        use = _compiled(values.canonical(schema))
    except _Unfit as error:
        raise FailedPrecondition(f"{field}: update its metadef's schema: {error}") from error
    if use.unfolded * values.nodes(value) > MAX_WORK:
        raise InvalidArgument(field, "too large to be held against so large a schema")
    for problem in use.validator.iter_errors(value):
        place = "".join(f"[{part!r}]" for part in problem.instance_path)
        raise InvalidArgument(f"{field}{place}", _short(problem.message))


class _Compiled(msgspec.Struct, frozen=True):
    validator: jsonschema_rs.Draft202012Validator
    unfolded: int


class _Unfit(Exception):
    """The schema cannot be used; the text says why."""


@lru_cache(maxsize=64)
def _compiled(encoded: bytes) -> _Compiled:
    schema = msgspec.json.decode(encoded)
    unfolded = _Unfolding(schema).total()
    if unfolded > MAX_SUBSCHEMAS:
        raise _Unfit(f"it unfolds to more than {MAX_SUBSCHEMAS} subschemas")
    try:
        validator = jsonschema_rs.Draft202012Validator(
            schema, pattern_options=_PATTERNS, retriever=_refuse, validate_formats=False
        )
    except (jsonschema_rs.ValidationError, ValueError) as error:
        text = error.message if isinstance(error, jsonschema_rs.ValidationError) else str(error)
        raise _Unfit(f"it is no JSON Schema (draft 2020-12) of ours: {_short(text)}") from error
    return _Compiled(validator, unfolded)


def _refuse(uri: str) -> Any:
    raise ValueError(f"{uri} lies outside of the schema")


def _short(text: str) -> str:
    first = " ".join(text.split())
    return first if len(first) <= 300 else f"{first[:300]}…"


class _Unfolding:
    """Counts the subschemas of a schema with each reference replaced by what it names."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._root = schema
        self._named: dict[str, int] = {}
        self._open: set[str] = set()
        self._patterns = 0

    def total(self) -> int:
        """Return the count; raise _Unfit for what is not taken in a schema."""
        return self._count(self._root, values.MAX_DEPTH)

    def _count(self, schema: Any, depth: int) -> int:
        if isinstance(schema, bool):
            return 1
        if not isinstance(schema, dict):
            raise _Unfit("a subschema is an object, true or false")
        if depth == 0:
            raise _Unfit(f"it is deeper than {values.MAX_DEPTH} levels")
        for key in schema:
            if key not in _KNOWN:
                raise _Unfit(f"the keyword {_short(key)!r} is not taken")
        if schema.get("$schema", _DRAFT) != _DRAFT:
            raise _Unfit(f"$schema is {_DRAFT}, or left out")
        self._see_patterns(schema)
        found = 1 + sum(self._count(one, depth - 1) for one in _parts(schema))
        for kept in _mapping(schema, "$defs").values():
            self._count(kept, depth - 1)
        return found + (self._refer(schema["$ref"], depth) if "$ref" in schema else 0)

    def _refer(self, reference: Any, depth: int) -> int:
        if not isinstance(reference, str) or not reference.startswith("#/$defs/"):
            raise _Unfit('a $ref leads to "#/$defs/NAME" of the same schema')
        if reference in self._open:
            raise _Unfit(f"{_short(reference)} refers to itself")
        if reference not in self._named:
            name = reference.removeprefix("#/$defs/")
            kept = _mapping(self._root, "$defs")
            if name not in kept or not name.replace("_", "").replace("-", "").isalnum():
                raise _Unfit(f"{_short(reference)} is not there")
            self._open.add(reference)
            self._named[reference] = self._count(kept[name], depth - 1)
            self._open.remove(reference)
        return self._named[reference]

    def _see_patterns(self, schema: dict[str, Any]) -> None:
        own = [schema["pattern"]] if "pattern" in schema else []
        for pattern in [*own, *_mapping(schema, "patternProperties")]:
            self._patterns += 1
            if self._patterns > MAX_PATTERNS:
                raise _Unfit(f"it has more than {MAX_PATTERNS} patterns")
            if not isinstance(pattern, str) or len(pattern) > MAX_PATTERN:
                raise _Unfit(f"a pattern is at most {MAX_PATTERN} characters")


def _parts(schema: dict[str, Any]) -> list[Any]:
    found = [schema[key] for key in _ONE if key in schema]
    for key in _MANY & schema.keys():
        if not isinstance(schema[key], list):
            raise _Unfit(f"{key} is a list of schemas")
        found += schema[key]
    for key in _NAMED & schema.keys():
        found += _mapping(schema, key).values()
    return found


def _mapping(schema: dict[str, Any], key: str) -> dict[str, Any]:
    found = schema.get(key, {})
    if not isinstance(found, dict):
        raise _Unfit(f"{key} is an object of schemas")
    return found
