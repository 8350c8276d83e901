"""The line that filters the log: what may be typed, and what passes.

``kind:machine type:machine.step_* actor:rita -command:machine.observe "power off"``: all words must
hold; a comma is "or"; ``*`` stands for anything; ``-`` in front turns a word around; a bare word is
looked for anywhere in the line. ``#1234`` goes to that entry.
"""

import shlex
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase

import msgspec

from mulligan.console.log.rows import LogRow
from mulligan.errors import InvalidArgument

FIELDS = ("kind", "stream", "type", "actor", "command", "project", "commit", "trace")
GRAMMAR = "kind: stream: type: actor: command: project: trace: text  -not  a,b or  * any  #1234"


class Term(msgspec.Struct, frozen=True):
    """One word of a filter: any of ``values`` in ``field`` (empty: anywhere in the line)."""

    field: str
    values: tuple[str, ...]
    negated: bool = False


class Filter(msgspec.Struct, frozen=True):
    """What a line must be to pass; without terms everything does."""

    terms: tuple[Term, ...] = ()
    go_to: int = 0
    text: str = ""

    def only(self, field: str) -> str:
        """Return the one exact value that a field must have, if it is so; else nothing.

        The log's service filters by this already, so what cannot pass is not sent.
        """
        for term in self.terms:
            exact = len(term.values) == 1 and "*" not in term.values[0]
            if term.field == field and exact and not term.negated:
                return term.values[0]
        return ""


EVERYTHING = Filter()


def parse_filter(text: str) -> Filter:
    """Read a filter line; raise InvalidArgument, naming the word, for what is none."""
    try:
        words = shlex.split(text)
    except ValueError:
        raise InvalidArgument("filter", "a quote is not closed") from None
    terms: list[Term] = []
    go_to = 0
    for word in words:
        if word.startswith("#"):
            if not word[1:].isdecimal() or int(word[1:]) < 1:
                raise InvalidArgument("filter", f"{word!r} is no entry; write #1234")
            go_to = int(word[1:])
            continue
        terms.append(_term(word))
    return Filter(tuple(terms), go_to, text.strip())


def _term(word: str) -> Term:
    negated = word.startswith("-") and len(word) > 1
    bare = word[1:] if negated else word
    field, colon, value = bare.partition(":")
    if not colon or (field not in FIELDS and not field.isalpha()):
        return Term("", (bare.lower(),), negated)
    if field not in FIELDS:
        known = ", ".join(f"{name}:" for name in FIELDS)
        raise InvalidArgument("filter", f"{field}: is none of {known}; quote text with a colon")
    values = tuple(one for one in value.split(",") if one)
    if not values:
        raise InvalidArgument(
            "filter", f"{field}: needs a value, such as {field}:{_example(field)}"
        )
    return Term(field, values, negated)


def _example(field: str) -> str:
    return {
        "kind": "machine", "stream": "machine/node-1", "type": "claim.made",
        "command": "claim.*",
    }.get(field, "…")  # fmt: skip


def passing(wanted: Filter, names: Mapping[str, str]) -> Callable[[LogRow], bool]:
    """Return whether a line passes; ``names`` are what objects and accounts are called by UUID."""
    tests = [_test(term, names) for term in wanted.terms]
    if not tests:
        return lambda row: True
    return lambda row: all(test(row) for test in tests)


def _test(term: Term, names: Mapping[str, str]) -> Callable[[LogRow], bool]:
    negated, values = term.negated, term.values
    if not term.field:
        return lambda row: (values[0] in _text(row, names)) is not negated

    def test(row: LogRow) -> bool:
        found = _values(row, term.field, names)
        return any(_matches(one, value) for one in found for value in values) is not negated

    return test


def _matches(found: str, pattern: str) -> bool:
    return fnmatchcase(found, pattern) if "*" in pattern else found == pattern


def _values(row: LogRow, field: str, names: Mapping[str, str]) -> tuple[str, ...]:
    """Return what a line has in a field: as it is stored, and as people call it."""
    commit, event = row
    match field:
        case "kind":
            return (event.stream.partition("/")[0],)
        case "stream":
            kind, _, key = event.stream.partition("/")
            return event.stream, f"{kind}/{names.get(key, '')}", key, names.get(key, "")
        case "type":
            return (event.type,)
        case "actor":
            return commit.account, names.get(commit.account, "")
        case "command":
            return (commit.command,)
        case "project":
            return commit.project, names.get(commit.project, "")
        case "commit":
            return (commit.commit,)
        case _:
            return (commit.trace,)


def _text(row: LogRow, names: Mapping[str, str]) -> str:
    commit, event = row
    key = event.stream.partition("/")[2]
    parts = (
        event.type, event.stream, names.get(key, ""), commit.command, commit.account,
        names.get(commit.account, ""), commit.commit, event.data,
    )  # fmt: skip
    return "\n".join(parts).lower()
