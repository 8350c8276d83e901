"""Stream ``group/<uuid>``: sets of providers (rack, row, power feed, tenant pool)."""

from typing import ClassVar

import msgspec

from mulligan.model import GroupId, ProviderId


class GroupCreated(msgspec.Struct, frozen=True, kw_only=True):
    """A group exists, still empty."""

    TYPE: ClassVar = "group.created"
    group: GroupId
    name: str
    attributes: dict[str, str] = {}


class MembersAdded(msgspec.Struct, frozen=True, kw_only=True):
    """The providers joined the group."""

    TYPE: ClassVar = "group.members_added"
    providers: tuple[ProviderId, ...]


class MembersRemoved(msgspec.Struct, frozen=True, kw_only=True):
    """The providers left the group."""

    TYPE: ClassVar = "group.members_removed"
    providers: tuple[ProviderId, ...]


class GroupDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """The group is gone; its members are not touched."""

    TYPE: ClassVar = "group.deleted"


Event = GroupCreated | MembersAdded | MembersRemoved | GroupDeleted
