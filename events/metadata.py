"""Stream ``metadata/<kind>/<uuid>``: the tags and attributes of an object.

The kind is part of the key because a machine and the provider of its resources share a UUID.
"""

from typing import Any, ClassVar

import msgspec


class MetadataChanged(msgspec.Struct, frozen=True, kw_only=True):
    """Tags were added and removed, attributes set and removed, by the UUIDs of their metadefs."""

    TYPE: ClassVar = "metadata.changed"
    kind: str
    object: str
    add_tags: tuple[str, ...] = ()
    remove_tags: tuple[str, ...] = ()
    set: dict[str, Any] = {}
    remove: tuple[str, ...] = ()


Event = MetadataChanged
