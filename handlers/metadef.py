"""Streams ``metadef/…``: attributes that objects may carry, and who may read and write them."""

from datetime import datetime
from typing import Any, assert_never

import msgspec
from msgspec.structs import replace

from mulligan.events import metadef as ev
from mulligan.model import MetadefId, ProjectId


class Metadef(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A definition; ``project`` is empty for one of the region."""

    id: MetadefId
    name: str
    description: str
    schema: dict[str, Any]
    project: ProjectId = ProjectId("")
    kinds: tuple[str, ...] = ()
    read_roles: tuple[str, ...] = ()
    write_roles: tuple[str, ...] = ()
    protected: bool = False
    deleted: bool = False


def evolve(state: Metadef | None, event: ev.Event, at: datetime) -> Metadef:
    """Return the definition as it is after the event."""
    if isinstance(event, ev.MetadefCreated):
        return Metadef(
            id=event.metadef,
            name=event.name,
            description=event.description,
            schema=event.schema,
            project=event.project,
            kinds=event.kinds,
            read_roles=event.read_roles,
            write_roles=event.write_roles,
            protected=event.protected,
        )
    assert state is not None, "the first event of a metadef creates it"
    match event:
        case ev.MetadefChanged():
            return replace(
                state,
                description=event.description,
                schema=event.schema,
                kinds=event.kinds,
                read_roles=event.read_roles,
                write_roles=event.write_roles,
                protected=event.protected,
            )
        case ev.MetadefDeleted():
            return replace(state, deleted=True)
        case _:
            assert_never(event)
