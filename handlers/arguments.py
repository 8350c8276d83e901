"""What a command was asked, kept beside its events so that it can be decided again.

Most of a command stands in its events already. The log keeps the rest only: the *arguments* of a
commit are the fields that its events do not tell. A field is told by what ``Command.recalled``
says; else by the field of the same name of the first event that has one; else, where it is called
as the kind of a stream that was changed, by that stream's key; else it has its default.

That rule and every ``recalled`` are part of the log's format: what was left out under them is read
under them for ever.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec

from mulligan.events.codec import Event
from mulligan.handlers.decision import Change, Command, States
from mulligan.model import stream_key, stream_kind

NOTHING = msgspec.Raw(b"{}")
"""The arguments of a command that its events tell whole."""

_NONE = object()
_encode = msgspec.json.Encoder().encode


class Unrecalled(Exception):
    """Arguments that do not make a command of this version; the text says why."""


def arguments(
    command: Command, changes: Sequence[Change], states: States, now: datetime
) -> msgspec.Raw:
    """Return what ``changes``, decided on ``states`` at ``now``, do not tell of the command."""
    cls = type(command)
    told = _told(cls, changes, states, now)
    kept = {}
    for name, default in _defaults(cls):
        value = getattr(command, name)
        told_value = told.get(name, default)
        if value is not told_value and value != told_value:
            kept[name] = value
    return msgspec.Raw(_encode(kept)) if kept else NOTHING


def recall(
    cls: type[Command],
    args: msgspec.Raw | bytes,
    changes: Sequence[Change],
    states: States,
    now: datetime,
) -> Command:
    """Return the command that was asked; raise Unrecalled when this version has no such command."""
    told = _told(cls, changes, states, now)
    types = _types(cls)
    try:
        for name, raw in _kept_decoder.decode(args).items():
            if name not in types:
                raise Unrecalled(f"{cls.NAME} has no argument {name!r}")
            told[name] = msgspec.json.decode(raw, type=types[name])
        return cls(**told)
    except (msgspec.MsgspecError, TypeError, UnicodeDecodeError) as error:
        raise Unrecalled(f"{cls.NAME}: {error}") from error


_kept_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


def _told(
    cls: type[Command], changes: Sequence[Change], states: States, now: datetime
) -> dict[str, Any]:
    told: dict[str, Any] = dict(cls.recalled(changes, states, now))
    wanted = len(cls.__struct_fields__)
    seen: set[type[Event]] = set()
    for _, event in changes:
        if len(told) == wanted:
            return told
        if type(event) not in seen:
            seen.add(type(event))
            for name in _shared(cls, type(event)):
                if name not in told:
                    told[name] = getattr(event, name)
    for stream, _ in changes:
        if len(told) == wanted:
            break
        kind = stream_kind(stream)
        if kind in cls.__struct_fields__ and kind not in told:
            told[kind] = stream_key(stream)
    return told


@lru_cache(maxsize=2048)
def _shared(cls: type[Command], event: type[Event]) -> tuple[str, ...]:
    fields: Sequence[str] = getattr(event, "__struct_fields__", ())
    return tuple(name for name in cls.__struct_fields__ if name in fields)


@lru_cache(maxsize=512)
def _defaults(cls: type[Command]) -> tuple[tuple[str, Any], ...]:
    found = []
    for field in msgspec.structs.fields(cls):
        default = field.default
        if field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory()
        found.append((field.name, _NONE if default is msgspec.NODEFAULT else default))
    return tuple(found)


@lru_cache(maxsize=512)
def _types(cls: type[Command]) -> Mapping[str, Any]:
    return {field.name: field.type for field in msgspec.structs.fields(cls)}
