"""Strict TOML: a page of tables is read into Structs, or refused by file, line, key and cure.

A ``Section`` is a table: its fields are the keys it may hold, their types and bounds what is
accepted, their descriptions the comments of the page that ``render`` writes. Environment variables
``<PREFIX><SECTION>_<KEY>`` go before the text; lists are separated by commas there.
"""

import difflib
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, get_args, get_origin

import msgspec
from msgspec import Meta
from msgspec.structs import FieldInfo

from mulligan.errors import BadConfiguration

Decode = Callable[[type, object], object]
"""Makes a value of a type that TOML does not know; raises ValueError (see msgspec's dec_hook)."""


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """One table; every key has a default."""


S = TypeVar("S", bound=Section)


class Problem(NamedTuple):
    """One thing wrong: ``where`` is ``file:line`` or a variable, ``fix`` is what to do."""

    where: str
    key: str
    message: str
    fix: str

    def __str__(self) -> str:
        return f"{self.where}: {self.key}: {self.message}; {self.fix}"


class ConfigError(BadConfiguration):
    """The configuration cannot be used; ``problems`` names every reason and its cure."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where values come from: a file's text and the environment."""

    name: str
    text: str
    env: Mapping[str, str]
    prefix: str
    reserved: frozenset[str] = frozenset()

    def where(self, section: str, key: str) -> str:
        """Tell where a key's value stands: its variable, or file and line."""
        variable = self.variable(section, key)
        if variable in self.env and variable not in self.reserved:
            return f"${variable}"
        return f"{self.name}:{locate(self.text, section, key)}"

    def variable(self, section: str, key: str) -> str:
        """Name the variable that overrides a key."""
        return self.prefix + "_".join(filter(None, (section, key))).upper()


def read(cls: type[S], source: Source, decode: Decode) -> S:
    """Read the page; raise ConfigError with every problem that it has."""
    try:
        document = tomllib.loads(source.text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        line = found[1] if found else str(source.text.count("\n") + 1)
        problem = Problem(f"{source.name}:{line}", "syntax", str(error), "write valid TOML")
        raise ConfigError([problem]) from None
    problems: list[Problem] = []
    page = _read_table(cls, "", document, source, decode, problems)
    if problems:
        raise ConfigError(problems)
    return page


def _read_table(
    cls: type[S],
    name: str,
    table: Mapping[str, object],
    source: Source,
    decode: Decode,
    problems: list[Problem],
) -> S:
    fields = {field.name: field for field in msgspec.structs.fields(cls)}
    problems.extend(_unknown(name, table, fields, source))
    values: dict[str, Any] = {}
    for key, field in fields.items():
        if _is_section(field):
            inner = table.get(key, {})
            if isinstance(inner, dict):
                values[key] = _read_table(field.type, key, inner, source, decode, problems)
            else:
                fix = f"write [{key}] and its keys below"
                problems.append(
                    Problem(source.where(name, key), key, f"expected a table, got {inner!r}", fix)
                )
            continue
        variable = source.variable(name, key)
        override = source.env.get(variable) if variable not in source.reserved else None
        if override is None and key not in table:
            continue
        try:
            values[key] = _convert(field, table.get(key), override, decode)
        except msgspec.ValidationError as error:
            problems.append(_refusal(name, field, error, source))
    return cls(**values) if not problems else cls()


def _convert(field: FieldInfo, value: object, override: str | None, decode: Decode) -> object:
    strict = override is None
    if override is not None:
        is_list = get_origin(_bare(field)) is tuple
        value = [part.strip() for part in override.split(",")] if is_list else override
    if value == "" and type(None) in get_args(_bare(field)):
        return None
    return msgspec.convert(value, field.type, strict=strict, dec_hook=decode)


def _refusal(
    section: str, field: FieldInfo, error: msgspec.ValidationError, source: Source
) -> Problem:
    key = ".".join(filter(None, (section, field.name)))
    message = str(error).replace("`", "")
    message = re.sub(r" matching regex '.*'$", " of another form", message)
    default = field.default
    fix = f"write it like {field.name} = {_toml(default)}"
    if get_origin(_bare(field)) is Literal:
        fix = "write one of " + ", ".join(map(_toml, get_args(_bare(field))))
    elif description := _meta(field).description:
        fix += f" ({description})"
    return Problem(source.where(section, field.name), key, message, fix)


def _unknown(
    section: str, table: Mapping[str, object], fields: Mapping[str, FieldInfo], source: Source
) -> Iterator[Problem]:
    for key in table.keys() - fields.keys():
        where = f"{source.name}:{locate(source.text, section, key)}"
        yield Problem(
            where, ".".join(filter(None, (section, key))), "unknown key", _near(key, fields)
        )
    if not section:
        return
    prefix = source.variable(section, "")
    for variable in source.env:
        key = variable.removeprefix(prefix + "_").lower()
        known = key in fields or variable in source.reserved
        if variable.startswith(prefix + "_") and not known:
            yield Problem(f"${variable}", f"{section}.{key}", "unknown key", _near(key, fields))


def _near(key: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f"did you mean {close[0]}?" if close else "known are " + ", ".join(known)


_HEADER = re.compile(r"\s*\[+\s*([^\]]+?)\s*\]+\s*(#.*)?$")
_KEY = re.compile(r"\s*([A-Za-z0-9_.\"'\s-]+?)\s*=")


def locate(text: str, section: str, key: str) -> int:
    """Return the line (from 1) where ``key`` is set in ``section``, else where that begins."""
    wanted = ".".join(filter(None, (section, key)))
    current, best, quote = "", 1, ""
    for number, line in enumerate(text.splitlines(), 1):
        inside, quote = quote, _open_quote(line, quote)
        if inside:
            continue
        if header := _HEADER.match(line):
            current = header[1].replace('"', "").replace("'", "")
            if current == wanted:
                return number
            best = number if current == section else best
        elif found := _KEY.match(line):
            name = re.sub(r"[\"'\s]", "", found[1])
            path = f"{current}.{name}" if current else name
            if path == wanted:
                return number
            best = number if path == section else best
    return best


def _open_quote(line: str, quote: str) -> str:
    """Return the multi-line quote that is open after ``line``, if one is."""
    for mark in re.findall(r'"""|\'\'\'', line):
        quote = "" if quote == mark else quote or mark
    return quote


def render(page: Section, show: Callable[[object], object]) -> Sequence[str]:
    """Write a page's lines, with comments; ``show`` may replace a value by what is to be shown."""
    fields = msgspec.structs.fields(page)
    keys = [field for field in fields if not _is_section(field)]
    lines = [_render_key(field, show(getattr(page, field.name))) for field in keys]
    for field in filter(_is_section, fields):
        section = getattr(page, field.name)
        lines += [
            "",
            f"[{field.name}]  # {(section.__doc__ or '').strip()}",
            *render(section, show),
        ]
    return lines


def _render_key(field: FieldInfo, value: object) -> str:
    text = f"{field.name} = {_toml(value)}"
    comment = _meta(field).description
    return f"{text:<44}  # {comment}" if comment else text


def _toml(value: object) -> str:
    match value:
        case None:
            return '""'
        case tuple():
            return f"[{', '.join(map(_toml, value))}]"
        case str() | Path():
            return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
        case int() if not isinstance(value, bool):
            return f"{value:_}"
        case _:
            return json.dumps(value)


def _is_section(field: FieldInfo) -> bool:
    return isinstance(field.type, type) and issubclass(field.type, Section)


def _meta(field: FieldInfo) -> Meta:
    found = [m for m in getattr(field.type, "__metadata__", ()) if isinstance(m, Meta)]
    return found[0] if found else Meta()


def _bare(field: FieldInfo) -> Any:
    return field.type.__origin__ if hasattr(field.type, "__metadata__") else field.type
