"""Stream ``name/…``: names are unique by kind and scope."""

import re
from datetime import datetime
from typing import assert_never

import msgspec

from mulligan.errors import AlreadyExists, InvalidArgument
from mulligan.events.name import Event, NameAssigned, NameReleased
from mulligan.handlers.decision import Change, States
from mulligan.model import StreamId, is_uuid, slug, stream_id

REGION_SCOPE = "region"
"""The scope of names that are unique in the region rather than in a project."""

_FORM = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ._-]{0,61}[A-Za-z0-9])?")


class NameState(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds a name; ``object`` is empty while it is free."""

    kind: str
    scope: str
    name: str
    slug: str
    object: str


def evolve(state: NameState | None, event: Event, at: datetime) -> NameState:
    """Return the name as it is after the event."""
    match event:
        case NameAssigned():
            return NameState(
                kind=event.kind,
                scope=event.scope,
                name=event.name,
                slug=event.slug,
                object=event.object,
            )
        case NameReleased():
            assert state is not None
            return msgspec.structs.replace(state, object="")
        case _:
            assert_never(event)


def slug_of(name: str, field: str = "name") -> str:
    """Return the URI-clean form of a name; raise InvalidArgument naming ``field``."""
    if not _FORM.fullmatch(name):
        raise InvalidArgument(
            field,
            f"{name!r} is not a name: use 1 to 63 letters, digits, spaces, dots, dashes or"
            " underscores, with a letter or digit at both ends",
        )
    return slug(name)


def name_stream(kind: str, name: str, scope: str = REGION_SCOPE) -> StreamId:
    """Name the stream that guards ``name`` among the objects of ``kind`` in ``scope``."""
    return stream_id("name", f"{kind}/{scope}/{slug_of(name)}")


def assign(
    states: States, kind: str, name: str, holder: str, scope: str = REGION_SCOPE
) -> list[Change]:
    """Give ``holder`` the name; raise AlreadyExists when another object has it.

    Raise InvalidArgument for a name that would be taken for a UUID wherever it is written.
    """
    if is_uuid(name.lower()):
        raise InvalidArgument("name", f"{name!r} is a UUID; names must not be")
    stream = name_stream(kind, name, scope)
    held: NameState | None = states.get(stream)
    if held is not None and held.object == holder:
        return []
    if held is not None and held.object:
        raise AlreadyExists(f"a {kind} named {name!r} exists already; choose another name")
    event = NameAssigned(kind=kind, scope=scope, name=name, slug=slug_of(name), object=holder)
    return [Change(stream, event)]


def free(
    states: States, kind: str, name: str, holder: str, scope: str = REGION_SCOPE
) -> list[Change]:
    """Take the name back from ``holder``; nothing when it does not have it."""
    stream = name_stream(kind, name, scope)
    held: NameState | None = states.get(stream)
    if held is None or held.object != holder:
        return []
    return [Change(stream, NameReleased(object=holder))]
