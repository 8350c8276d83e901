"""Stream ``name/<kind>/<scope>/<slug>``: one holder for each name.

``scope`` is a project's UUID, or ``region`` for names that are unique in the region.
"""

from typing import ClassVar

import msgspec


class NameAssigned(msgspec.Struct, frozen=True, kw_only=True):
    """``object`` (a UUID of ``kind``) is called ``name``; ``slug`` is its URI-clean form."""

    TYPE: ClassVar = "name.assigned"
    kind: str
    scope: str
    name: str
    slug: str
    object: str


class NameReleased(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing has the name any more; it may be assigned again."""

    TYPE: ClassVar = "name.released"
    object: str


Event = NameAssigned | NameReleased
