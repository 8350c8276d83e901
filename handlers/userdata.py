"""Stream ``userdata/…``: what tenants give their machines at first boot; content is kept apart."""

from datetime import datetime
from typing import ClassVar, assert_never

import msgspec
from msgspec.structs import replace

from mulligan.errors import InvalidArgument, NotFound
from mulligan.events import userdata as ev
from mulligan.handlers import names
from mulligan.handlers.decision import Change, Command, States, existing, require_new
from mulligan.handlers.project import path_streams, require_open
from mulligan.model import ProjectId, StreamId, UserDataId, stream_id

MAX_SIZE = 64 * 1024
"""Bytes of one content: cloud-init and the clouds take no more either."""


class UserData(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """User data of a project; ``version`` names the content in the secret store."""

    id: UserDataId
    name: str
    project: ProjectId
    version: str
    sha256: str
    size: int
    deleted: bool = False


def evolve(state: UserData | None, event: ev.Event, at: datetime) -> UserData:
    """Return the user data as it is after the event."""
    match event:
        case ev.UserDataCreated():
            return UserData(
                id=event.user_data,
                name=event.name,
                project=event.project,
                version=event.version,
                sha256=event.sha256,
                size=event.size,
            )
        case ev.UserDataDeleted():
            assert state is not None, "the first event of user data creates it"
            return replace(state, deleted=True)
        case _:
            assert_never(event)


class CreateUserData(Command, frozen=True, kw_only=True):
    """Announce user data whose content is in the secret store already."""

    NAME: ClassVar = "userdata.create"
    user_data: UserDataId
    name: str
    project: ProjectId
    version: str
    sha256: str
    size: int

    def reads(self, states: States) -> list[StreamId]:
        """Read the user data, its name in the project, and the project's path."""
        return [
            stream_id("userdata", self.user_data),
            names.name_stream("userdata", self.name, self.project),
            *path_streams(states, self.project),
        ]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Create it under a name that is free in the project."""
        require_new(states, "userdata", self.user_data)
        require_open(states, self.project)
        if not 0 < self.size <= MAX_SIZE:
            raise InvalidArgument("content", f"give 1 to {MAX_SIZE} bytes, this has {self.size}")
        event = ev.UserDataCreated(
            user_data=self.user_data,
            name=self.name,
            project=self.project,
            version=self.version,
            sha256=self.sha256,
            size=self.size,
        )
        changes = names.assign(states, "userdata", self.name, self.user_data, self.project)
        return [*changes, Change(stream_id("userdata", self.user_data), event)]


class DeleteUserData(Command, frozen=True, kw_only=True):
    """Forget user data; its content is destroyed by the service after this."""

    NAME: ClassVar = "userdata.delete"
    user_data: UserDataId
    project: ProjectId = ProjectId("")

    def reads(self, states: States) -> list[StreamId]:
        """Read the user data, then its name."""
        stream = stream_id("userdata", self.user_data)
        state: UserData | None = states.get(stream)
        if state is None:
            return [stream]
        return [stream, names.name_stream("userdata", state.name, state.project)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Delete it and free its name; machines that booted with it are not touched."""
        state = existing(states, "userdata", self.user_data, UserData)
        if self.project and state.project != self.project:
            raise NotFound("userdata", self.user_data)
        event = ev.UserDataDeleted()
        changes = [Change(stream_id("userdata", self.user_data), event)]
        return changes + names.free(states, "userdata", state.name, state.id, state.project)
