"""What the operator looks for on the fleet map, typed in one line. Pure."""

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase

from mulligan.console.brief import MachineBrief
from mulligan.errors import InvalidArgument

Test = Callable[[MachineBrief], bool]

GRAMMAR = (
    "node-1*  state:failed  health:critical  make:dell*  rack:r7  is:busy|cordoned|faulty  -word"
)
"""What can be typed, by example."""

BUSY = frozenset({"inspecting", "cleaning", "deploying", "rescuing", "restoring"})
"""States in which something goes on."""
_TRAITS: Mapping[str, Test] = {
    "busy": lambda one: one.state in BUSY or bool(one.operation),
    "cordoned": lambda one: bool(one.cordon),
    "faulty": lambda one: bool(one.fault),
    "claimed": lambda one: bool(one.claim),
    "on": lambda one: one.power == "on",
    "off": lambda one: one.power == "off",
}
_FIELDS: Mapping[str, Callable[[MachineBrief], str]] = {
    "state": lambda one: one.state,
    "health": lambda one: one.health,
    "make": lambda one: one.make,
    "name": lambda one: one.name,
    "op": lambda one: one.operation,
    "fault": lambda one: one.fault,
    "claim": lambda one: one.claim,
    "project": lambda one: one.project,
}


def parse(text: str, rack_of: Callable[[str], str]) -> Test | None:
    """Return the test that a line stands for; None for an empty one.

    All words must hold; a word with ``-`` before it must not; values between ``|`` are
    alternatives. ``rack_of`` gives the way down to a machine's rack. Raise InvalidArgument.
    """
    tests = [_word(word, rack_of) for word in text.split()]
    if not tests:
        return None
    return lambda one: all(test(one) for test in tests)


def _word(word: str, rack_of: Callable[[str], str]) -> Test:
    if word.startswith("-") and len(word) > 1:
        other = _word(word[1:], rack_of)
        return lambda one: not other(one)
    key, colon, wanted = word.partition(":")
    if not colon:
        return _anywhere(word)
    values = [value for value in wanted.casefold().split("|") if value]
    if key == "is":
        unknown = [value for value in values if value not in _TRAITS]
        if unknown or not values:
            raise InvalidArgument("filter", f"is: takes {', '.join(_TRAITS)}, not {wanted!r}")
        return lambda one: any(_TRAITS[value](one) for value in values)
    if key == "rack":
        return lambda one: _matches(rack_of(one.uuid), values)
    if key not in _FIELDS:
        known = ", ".join([*_FIELDS, "rack", "is"])
        raise InvalidArgument("filter", f"{key!r} is none of {known}")
    field = _FIELDS[key]
    return lambda one: _matches(field(one), values)


def _anywhere(word: str) -> Test:
    values = [word.casefold()]
    return lambda one: any(
        _matches(text, values)
        for text in (one.name, one.state, one.make, one.operation, one.fault, one.uuid)
    )


def _matches(text: str, values: list[str]) -> bool:
    folded = text.casefold()
    return any(fnmatchcase(folded, value) if "*" in value else value in folded for value in values)
