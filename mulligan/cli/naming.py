"""Names instead of UUIDs in what people read."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import anyio

from mulligan.cli.output import Format
from mulligan.cli.verbs import Session
from mulligan.errors import MulliganError

if TYPE_CHECKING:
    from mulligan.proto.v1 import Name

PATIENCE = 3.0
"""Seconds that a table waits for names before it shows UUIDs."""
_UUID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")


async def name_fields(session: Session, items: Sequence[Any], *paths: str) -> None:
    """Put names in place of the UUIDs at ``paths`` of messages that people are about to read.

    A path is a field, or fields joined by dots, through lists; UUIDs are found anywhere in a text.
    One call asks for all. Wide tables have the UUIDs too; where no name is to be had they stay
    alone. Other forms are left as they are.
    """
    if not session.out.for_people:
        return
    uuids = sorted({uuid for text in _texts(items, paths) for uuid in _UUID.findall(text)})
    if not uuids:
        return
    names = await _names(session, uuids)
    wide = session.out.form is Format.WIDE

    def called(found: re.Match[str]) -> str:
        name = names.get(found[0])
        if name is None:
            return found[0]
        return f"{name.name} ({found[0]})" if wide else name.name

    def shown(text: str) -> str:
        return _UUID.sub(called, text)

    for path in _parted(paths):
        for item in items:
            _replace(item, path, shown)


async def names_of_all(session: Session, uuids: Sequence[str]) -> dict[str, str]:
    """Return what objects are called, by UUID, as far as it is to be had soon."""
    if not uuids:
        return {}
    return {uuid: name.name for uuid, name in (await _names(session, list(uuids))).items()}


async def _names(session: Session, uuids: list[str]) -> "dict[str, Name]":
    try:
        with anyio.fail_after(PATIENCE):
            return await session.client.names.describe(uuids)
    except (MulliganError, TimeoutError):
        return {}


def _texts(items: Sequence[Any], paths: Sequence[str]) -> Iterator[str]:
    found: list[str] = []

    def note(text: str) -> str:
        found.append(text)
        return text

    for path in _parted(paths):
        for item in items:
            _replace(item, path, note)
    yield from found


def _parted(paths: Sequence[str]) -> list[list[str]]:
    return [path.split(".") for path in paths]


def _replace(item: Any, path: list[str], change: Callable[[str], str]) -> None:
    if item is None:
        return
    field, *rest = path
    value = getattr(item, field)
    if rest:
        for one in value if isinstance(value, list) else [value]:
            _replace(one, rest, change)
    elif isinstance(value, list):
        setattr(item, field, [change(one) for one in value])
    else:
        setattr(item, field, change(value))
