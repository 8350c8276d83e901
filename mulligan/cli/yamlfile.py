"""YAML files read strictly: every complaint names the file, the line and the key."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any, Generic, TypeVar

import msgspec
import yaml

from mulligan.errors import InvalidArgument

T = TypeVar("T")
Path = tuple[str | int, ...]

_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")
_BOOLEAN = re.compile(r"^(?:true|false)$")


_Parser: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # a fleet's file takes 10 s without C


class Loader(_Parser):  # type: ignore[misc]
    """YAML without its surprises: no dates, and ``yes``, ``on`` and the like are strings."""


Loader.yaml_implicit_resolvers = {
    first: [
        (tag, _BOOLEAN if tag.endswith(":bool") else pattern)
        for tag, pattern in resolvers
        if not tag.endswith(":timestamp")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class Document(Generic[T]):
    """One YAML document as a typed value that remembers where its parts stand."""

    def __init__(self, source: str, value: T, lines: dict[Path, int]) -> None:
        self.source = source
        self.value = value
        self._lines = lines

    def where(self, *path: str | int) -> str:
        """Return ``file:line: path`` of a part, or of the nearest part around it."""
        return _where(self.source, self._lines, path)


def read_documents(source: str, kind: type[T]) -> Iterator[Document[T]]:
    """Yield the documents of a file, or of standard input for ``-``.

    Raise InvalidArgument, its field ``file:line: path``, for bad YAML, a repeated or an unknown
    key, or a value of the wrong type.
    """
    text = sys.stdin.read() if source == "-" else _text_of(source)
    yield from read_text(text, "standard input" if source == "-" else source, kind)


def read_text(text: str, shown: str, kind: type[T]) -> Iterator[Document[T]]:
    """Yield the documents of a text that is called ``shown``; raise as ``read_documents`` does."""
    loader = Loader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            lines: dict[Path, int] = {}
            _locate(node, (), lines, shown)
            data = loader.construct_document(node)
            if data is not None:
                yield Document(shown, _convert(data, kind, shown, lines), lines)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise InvalidArgument(f"{shown}{line}", f"is not YAML: {problem}") from error
    finally:
        loader.dispose()


def _text_of(source: str) -> str:
    try:
        return FilePath(source).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgument(source, f"cannot be read: {error}") from error


def _locate(node: Any, path: Path, lines: dict[Path, int], source: str) -> None:
    lines[path] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            if name in seen:
                where = _where(source, {(*path, name): key.start_mark.line + 1}, (*path, name))
                raise InvalidArgument(where, "is given twice")
            seen.add(name)
            _locate(value, (*path, name), lines, source)
            lines[(*path, name)] = key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            _locate(item, (*path, number), lines, source)


def _convert(data: object, kind: type[T], source: str, lines: dict[Path, int]) -> T:
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        problem, _, place = str(error).partition(" - at `")
        path = _path(place.rstrip("`"))
        unknown = re.search(r"unknown field `(.+)`", problem)
        if unknown:
            path, problem = (*path, unknown[1]), "is not a key that is known here"
        raise InvalidArgument(_where(source, lines, path), problem) from error


def _path(place: str) -> Path:
    """Read the way msgspec writes places: ``$.machines[3].bmc``; ``[...]`` is any value."""
    steps: list[str | int] = []
    for name, index in _STEP.findall(place.removeprefix("$")):
        if index == "...":
            break
        steps.append(int(index) if index else name)
    return tuple(steps)


def _where(source: str, lines: dict[Path, int], path: Path) -> str:
    around = path
    while around and around not in lines:
        around = around[:-1]
    line = lines.get(around, 1)
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return f"{source}:{line}: {text.lstrip('.')}" if text else f"{source}:{line}"
