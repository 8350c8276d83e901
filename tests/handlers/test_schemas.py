"""Schemas that are taken, and values held against them in bounded time."""

import time
from typing import Any

import pytest

from mulligan.errors import InvalidArgument
from mulligan.handlers.schemas import MAX_WORK, check, require

DEEP: dict[str, Any] = {"type": "integer"}
for _ in range(20):
    DEEP = {"items": DEEP}

DOUBLING = {
    "$ref": "#/$defs/d0",
    "$defs": {
        **{f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(12)},
        "d12": {"type": "integer"},
    },
}

REFUSED: dict[str, Any] = {
    "not a type": {"type": "colour"},
    "not JSON Schema": {"minimum": "low"},
    "remote": {"$ref": "https://example.org/schema.json"},
    "remote by id": {"$id": "https://example.org/"},
    "file": {"$ref": "file:///etc/passwd"},
    "elsewhere in it": {"$ref": "#/properties/a", "properties": {"a": True}},
    "not there": {"$ref": "#/$defs/a"},
    "ring": {"$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"},
    "root": {"properties": {"a": {"$ref": "#"}}},
    "dynamic": {"$dynamicRef": "#a"},
    "unknown keyword": {"tpye": "string"},
    "unevaluated": {"unevaluatedProperties": False},
    "older draft": {"$schema": "http://json-schema.org/draft-07/schema#"},
    "doubling": DOUBLING,
    "deep": DEEP,
    "large": {"const": "x" * 16_384},
    "list for schema": {"properties": []},
    "text for schema": {"items": "string"},
    "pattern that is none": {"pattern": "("},
    "back-reference": {"pattern": r"(a)\1"},
    "look-ahead": {"pattern": "(?=a)"},
    "huge pattern": {"pattern": "(a{1000}){1000}"},
    "long pattern": {"pattern": "a" * 300},
    "many patterns": {"patternProperties": {f"a{n}": True for n in range(17)}},
}


@pytest.mark.parametrize("name", REFUSED)
def test_such_a_schema_is_refused_with_its_field(name: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        check(REFUSED[name])
    assert refused.value.violations[0].field == "schema"
    assert len(refused.value.message) < 500


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({}, None, None),
        ({"enum": ["gold", "silver"]}, "gold", "lead"),
        ({"type": "string", "pattern": "^[A-Z]{2}[0-9]+$"}, "DE12", "12"),
        ({"$ref": "#/$defs/u", "$defs": {"u": {"type": "integer", "maximum": 48}}}, 48, 49),
        ({"type": "array", "uniqueItems": True}, [1, 2], [1, 1]),
        ({"required": ["a"], "additionalProperties": False, "properties": {"a": {}}}, {"a": 1}, {}),
        ({"if": {"type": "string"}, "then": {"minLength": 2}}, "ab", "a"),
    ],
)
def test_a_value_is_held_against_its_schema(schema: Any, good: Any, bad: Any) -> None:
    check(schema)
    require(schema, good, "value")
    if schema:
        with pytest.raises(InvalidArgument, match="value"):
            require(schema, bad, "value")


def test_a_pattern_that_explodes_elsewhere_takes_linear_time_here() -> None:
    schema = {"type": "string", "pattern": "^(a+)+$"}
    check(schema)
    began = time.process_time()
    with pytest.raises(InvalidArgument):
        require(schema, "a" * 8000 + "!", "value")
    assert time.process_time() - began < 0.5, "backtracking would take longer than the universe has"


def test_the_work_of_one_validation_is_bounded() -> None:
    schema = {"items": {"allOf": [{"type": "integer"}] * 400}}
    check(schema)
    require(schema, [1] * 200, "value")
    with pytest.raises(InvalidArgument, match="too large"):
        require(schema, [1] * (MAX_WORK // 400), "value")
