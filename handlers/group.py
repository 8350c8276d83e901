"""Stream ``group/…``: sets of providers."""

from datetime import datetime
from typing import ClassVar, assert_never

import msgspec
from msgspec.structs import replace

from mulligan.events import group as ev
from mulligan.handlers import names
from mulligan.handlers.decision import Change, Command, States, existing, require_new
from mulligan.handlers.provider import Provider
from mulligan.model import GroupId, ProviderId, StreamId, stream_id


class Group(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A provider group; members are sorted."""

    id: GroupId
    name: str
    attributes: dict[str, str] = {}
    members: tuple[ProviderId, ...] = ()
    deleted: bool = False


def evolve(state: Group | None, event: ev.Event, at: datetime) -> Group:
    """Return the group as it is after the event."""
    if isinstance(event, ev.GroupCreated):
        return Group(id=event.group, name=event.name, attributes=event.attributes)
    assert state is not None, "the first event of a group creates it"
    match event:
        case ev.MembersAdded():
            return replace(state, members=tuple(sorted({*state.members, *event.providers})))
        case ev.MembersRemoved():
            return replace(state, members=tuple(sorted({*state.members} - {*event.providers})))
        case ev.GroupDeleted():
            return replace(state, members=(), deleted=True)
        case _:
            assert_never(event)


class CreateGroup(Command, frozen=True, kw_only=True):
    """Make an empty group."""

    NAME: ClassVar = "group.create"
    group: GroupId
    name: str
    attributes: dict[str, str] = {}

    def reads(self, states: States) -> list[StreamId]:
        """Read the group and its name."""
        return [stream_id("group", self.group), names.name_stream("group", self.name)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Create it under a free name."""
        require_new(states, "group", self.group)
        event = ev.GroupCreated(group=self.group, name=self.name, attributes=self.attributes)
        changes = names.assign(states, "group", self.name, self.group)
        return [*changes, Change(stream_id("group", self.group), event)]


class UpdateMembers(Command, frozen=True, kw_only=True):
    """Add and remove providers."""

    NAME: ClassVar = "group.update_members"
    group: GroupId
    add: tuple[ProviderId, ...] = ()
    remove: tuple[ProviderId, ...] = ()

    def reads(self, states: States) -> list[StreamId]:
        """Read the group and the providers to add."""
        return [stream_id("group", self.group), *(stream_id("provider", p) for p in self.add)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Emit only what changes the set."""
        state = existing(states, "group", self.group, Group)
        for provider in self.add:
            existing(states, "provider", provider, Provider)
        stream = stream_id("group", self.group)
        members = {*state.members}
        added = tuple(sorted({*self.add} - members))
        removed = tuple(sorted({*self.remove} & members))
        changes = [Change(stream, ev.MembersAdded(providers=added))] if added else []
        return changes + ([Change(stream, ev.MembersRemoved(providers=removed))] if removed else [])


class DeleteGroup(Command, frozen=True, kw_only=True):
    """Forget a group."""

    NAME: ClassVar = "group.delete"
    group: GroupId

    def reads(self, states: States) -> list[StreamId]:
        """Read the group, then its name."""
        stream = stream_id("group", self.group)
        state: Group | None = states.get(stream)
        return [stream] if state is None else [stream, names.name_stream("group", state.name)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Delete it and free its name."""
        state = existing(states, "group", self.group, Group)
        changes = [Change(stream_id("group", self.group), ev.GroupDeleted())]
        return changes + names.free(states, "group", state.name, self.group)
