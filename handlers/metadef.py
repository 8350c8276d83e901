"""Streams ``metadef/…``: attributes that objects may carry, and who may read and write them."""

from datetime import datetime
from typing import Any, ClassVar, assert_never

import msgspec
from msgspec.structs import replace

from mulligan.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
)
from mulligan.events import metadef as ev
from mulligan.handlers import names, roles, schemas
from mulligan.handlers.decision import Change, Command, States, require_new
from mulligan.handlers.objects import OBJECTS, Viewer, sees
from mulligan.model import MetadefId, ProjectId, StreamId, stream_id

MAX_DESCRIPTION = 1000
_ROLES = frozenset({*roles.SYSTEM_ROLES, *roles.PROJECT_ROLES})


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


def manages(viewer: Viewer, project: ProjectId) -> bool:
    """Tell whether the viewer defines attributes of the project, or of the region for none."""
    if viewer.operates:
        return True
    return bool(project) and project == viewer.project and "owner" in viewer.roles


def readable(viewer: Viewer, metadef: Metadef) -> bool:
    """Tell whether the viewer may read values of the attribute on objects that it sees."""
    return not metadef.read_roles or viewer.has_any(metadef.read_roles)


def known(states: States, reference: str, project: ProjectId) -> Metadef | None:
    """Return the attribute of that UUID or name that objects of ``project`` may carry.

    ``project`` is empty for objects of the region. Of two of one name the project's own counts.
    """
    found: list[Metadef | None] = []
    if (stream := stream_id("metadef", reference)) in states:
        found.append(states[stream])
    for scope in scopes(project):
        named: names.NameState | None = states.get(name_in(reference, scope))
        if named is not None and named.object:
            found.append(states.get(stream_id("metadef", named.object)))
    live = (m for m in found if m is not None and not m.deleted and m.project in {"", project})
    return next(live, None)


def scopes(project: ProjectId) -> tuple[str, ...]:
    """Return where names of attributes are looked for, the nearest first."""
    return (project, names.REGION_SCOPE) if project else (names.REGION_SCOPE,)


def name_in(name: str, scope: str) -> StreamId:
    """Name the stream of an attribute's name."""
    return names.name_stream("metadef", name, scope)


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """What can be changed of a metadef; ``schema`` is plain JSON."""

    description: str = ""
    schema: dict[str, Any] = {}
    kinds: tuple[str, ...] = ()
    read_roles: tuple[str, ...] = ()
    write_roles: tuple[str, ...] = ()
    protected: bool = False

    def check(self) -> None:
        """Raise InvalidArgument, naming the field, unless it makes sense."""
        if len(self.description) > MAX_DESCRIPTION:
            raise InvalidArgument("description", f"at most {MAX_DESCRIPTION} characters")
        for field, given, allowed in (
            ("kinds", self.kinds, OBJECTS),
            ("read_roles", self.read_roles, _ROLES),
            ("write_roles", self.write_roles, _ROLES),
        ):
            for index, one in enumerate(given):
                if one not in allowed:
                    raise InvalidArgument(
                        f"{field}[{index}]", f"{one!r} is none of {', '.join(sorted(allowed))}"
                    )
        schemas.check(self.schema)


def definition_of(metadef: Metadef) -> Definition:
    """Return what can be changed of it, as it is."""
    return Definition(**{f: getattr(metadef, f) for f in Definition.__struct_fields__})


class CreateMetadef(Command, frozen=True, kw_only=True):
    """Define an attribute, for the project that ``viewer`` acts in or else for the region."""

    NAME: ClassVar = "metadef.create"
    metadef: MetadefId
    name: str
    definition: Definition
    viewer: Viewer

    def reads(self, states: States) -> list[StreamId]:
        """Read the metadef, and its name in the project and in the region."""
        scoped = [name_in(self.name, scope) for scope in scopes(self.viewer.project)]
        return [stream_id("metadef", self.metadef), *scoped]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Create it under a name that neither the project nor the region has."""
        require_new(states, "metadef", self.metadef)
        project = self.viewer.project
        if not manages(self.viewer, project):
            whose = "an owner of the project defines" if project else "operators define"
            raise PermissionDenied(f"{whose} its attributes")
        self.definition.check()
        region: names.NameState | None = states.get(name_in(self.name, names.REGION_SCOPE))
        if project and region is not None and region.object:
            raise AlreadyExists(f"the region has a metadef {self.name!r}; choose another name")
        scope = project or names.REGION_SCOPE
        given = {f: getattr(self.definition, f) for f in Definition.__struct_fields__}
        event = ev.MetadefCreated(metadef=self.metadef, name=self.name, project=project, **given)
        changes = names.assign(states, "metadef", self.name, self.metadef, scope)
        return [*changes, Change(stream_id("metadef", self.metadef), event)]


class UpdateMetadef(Command, frozen=True, kw_only=True):
    """Change what ``fields`` names to what ``definition`` has; ``called`` is for errors."""

    NAME: ClassVar = "metadef.update"
    metadef: MetadefId
    called: str
    fields: tuple[str, ...]
    definition: Definition
    viewer: Viewer

    def reads(self, states: States) -> list[StreamId]:
        """Read the metadef."""
        return [stream_id("metadef", self.metadef)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Change it; of a protected one nothing but that, and only by who may."""
        state = _managed(states, self.metadef, self.called, self.viewer)
        before = definition_of(state)
        given = {field: getattr(self.definition, field) for field in self.fields}
        after = replace(before, **given)
        if state.protected:
            self._require_unprotecting(state, before, after)
        if after == before:
            return []
        after.check()
        event = ev.MetadefChanged(**{f: getattr(after, f) for f in Definition.__struct_fields__})
        return [Change(stream_id("metadef", self.metadef), event)]

    def _require_unprotecting(self, state: Metadef, before: Definition, after: Definition) -> None:
        if after not in (before, replace(before, protected=False)):
            raise FailedPrecondition(_protected(state))
        if after != before and not state.project and "admin" not in self.viewer.roles:
            raise PermissionDenied(
                "only an admin takes the protection from a metadef of the region"
            )


class DeleteMetadef(Command, frozen=True, kw_only=True):
    """Let nothing carry the attribute any more."""

    NAME: ClassVar = "metadef.delete"
    metadef: MetadefId
    called: str
    viewer: Viewer

    def reads(self, states: States) -> list[StreamId]:
        """Read the metadef, then its name."""
        stream = stream_id("metadef", self.metadef)
        state: Metadef | None = states.get(stream)
        return [stream] if state is None else [stream, name_in(state.name, _scope(state))]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Delete it and free its name, unless it is protected."""
        state = _managed(states, self.metadef, self.called, self.viewer)
        if state.protected:
            raise FailedPrecondition(_protected(state))
        changes = [Change(stream_id("metadef", self.metadef), ev.MetadefDeleted())]
        return changes + names.free(states, "metadef", state.name, state.id, _scope(state))


def _scope(state: Metadef) -> str:
    return state.project or names.REGION_SCOPE


def _managed(states: States, metadef: MetadefId, called: str, viewer: Viewer) -> Metadef:
    state: Metadef | None = states.get(stream_id("metadef", metadef))
    if state is None or state.deleted or not sees(viewer, "metadef", state):
        raise NotFound("metadef", called)
    if not manages(viewer, state.project):
        whose = "an owner of its project" if state.project else "operators"
        raise PermissionDenied(f"metadef {state.name!r} is changed by {whose}")
    return state


def _protected(state: Metadef) -> str:
    return f"metadef {state.name!r} is protected; unprotect it first, in an update of its own"
