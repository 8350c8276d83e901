"""Streams ``metadata/…``: the tags and attributes of objects, whatever their kind."""

from datetime import datetime
from typing import Any

import msgspec

from mulligan.events.metadata import Event


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """Tags, sorted, and values by the UUIDs of their metadefs."""

    kind: str
    object: str
    tags: tuple[str, ...]
    values: dict[str, Any]


def evolve(state: Metadata | None, event: Event, at: datetime) -> Metadata:
    """Return the metadata as they are after the event."""
    tags = set(state.tags if state else ()) - set(event.remove_tags) | set(event.add_tags)
    values = {**(state.values if state else {}), **event.set}
    for metadef in event.remove:
        values.pop(metadef, None)
    return Metadata(kind=event.kind, object=event.object, tags=tuple(sorted(tags)), values=values)
