"""Stream ``project/…``: tenants as a tree, and which of them may be used."""

from datetime import datetime
from typing import ClassVar

from mulligan.errors import FailedPrecondition, InvalidArgument
from mulligan.events import project as ev
from mulligan.handlers import names
from mulligan.handlers.account import Project
from mulligan.handlers.decision import Change, Command, States, existing, require_new
from mulligan.model import ProjectId, StreamId, stream_id

MAX_DEPTH = 16
"""So many projects may lie one below the other, the root counted."""


def path_streams(states: States, project: ProjectId) -> list[StreamId]:
    """Name a project and those above it, as far as they are known, itself first."""
    found: list[StreamId] = []
    while project and len(found) <= MAX_DEPTH:
        stream = stream_id("project", project)
        found.append(stream)
        state: Project | None = states.get(stream)
        project = state.parent if state is not None else ProjectId("")
    return found


def require_open(states: States, project: ProjectId) -> None:
    """Raise FailedPrecondition when the project, or one above it, is disabled or deleted.

    What is made in a project reads its path, so nothing comes to be in one that is being deleted.
    """
    for stream in path_streams(states, project):
        state: Project | None = states.get(stream)
        if state is not None and (state.deleted or state.disabled_at is not None):
            word = "deleted" if state.deleted else "disabled"
            raise FailedPrecondition(f"project {state.name} is {word}: nothing new is made in it")


class CreateProject(Command, frozen=True, kw_only=True):
    """Make a tenant."""

    NAME: ClassVar = "project.create"
    project: ProjectId
    name: str
    parent: ProjectId = ProjectId("")

    def reads(self, states: States) -> list[StreamId]:
        """Read the project, its name, and those above it."""
        streams = [stream_id("project", self.project), names.name_stream("project", self.name)]
        return streams + path_streams(states, self.parent)

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Create it under a free name, below a parent that may be used."""
        require_new(states, "project", self.project)
        if self.parent:
            existing(states, "project", self.parent, Project)
            require_open(states, self.parent)
            if len(path_streams(states, self.parent)) >= MAX_DEPTH:
                raise InvalidArgument(
                    "parent", f"at most {MAX_DEPTH} projects may lie one below the other"
                )
        event = ev.ProjectCreated(project=self.project, name=self.name, parent=self.parent)
        changes = names.assign(states, "project", self.name, self.project)
        return [*changes, Change(stream_id("project", self.project), event)]


class SetProjectDisabled(Command, frozen=True, kw_only=True):
    """Disable or enable a project, and with it those under it."""

    NAME: ClassVar = "project.set_disabled"
    project: ProjectId
    disabled: bool

    def reads(self, states: States) -> list[StreamId]:
        """Read the project."""
        return [stream_id("project", self.project)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Emit a change only where there is one."""
        state = existing(states, "project", self.project, Project)
        if self.disabled == (state.disabled_at is not None):
            return []
        event = ev.ProjectDisabled(at=now) if self.disabled else ev.ProjectEnabled()
        return [Change(stream_id("project", self.project), event)]


class DeleteProject(Command, frozen=True, kw_only=True):
    """Delete a project that holds nothing, which the caller has looked at since it was disabled.

    To be run with the version of the project that was looked at: enabled and disabled again, it is
    another one.
    """

    NAME: ClassVar = "project.delete"
    project: ProjectId

    def reads(self, states: States) -> list[StreamId]:
        """Read the project and its name."""
        streams = [stream_id("project", self.project)]
        state: Project | None = states.get(streams[0])
        return streams + ([] if state is None else [names.name_stream("project", state.name)])

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Give its name back."""
        state = existing(states, "project", self.project, Project)
        require_disabled(state)
        freed = names.free(states, "project", state.name, self.project)
        return [Change(stream_id("project", self.project), ev.ProjectDeleted()), *freed]


def require_disabled(state: Project) -> None:
    """Raise FailedPrecondition while a project could still be used."""
    if state.disabled_at is None:
        raise FailedPrecondition(
            f"project {state.name} is in use: disable it first (mulligan project disable)"
        )
