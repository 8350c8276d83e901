"""Kinds of objects that have UUIDs: how they are named, who sees them, who decorates them.

This table is the one place for these rules: names, tags, attributes and searches go by it.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple

import msgspec

from mulligan.handlers import roles
from mulligan.model import AccountId, ProjectId


class Sight(Enum):
    """Which of a kind's objects tenants see; system roles see all of them."""

    EVERYONE = "every one"
    SHARED = "those of the region and of their project"
    PROJECT = "those of their project"
    ITSELF = "themselves"
    HELD = "the names of those that their project's claims hold"
    NOBODY = "none"


class ObjectKind(NamedTuple):
    """``named_by_project``: names are unique in a project rather than in the region.

    ``lent``: it is a project's for a time only. ``decorated_by_tenants``: members of its project
    tag it and set attributes; otherwise that is for operators.
    """

    sight: Sight
    named_by_project: bool = False
    lent: bool = False
    decorated_by_tenants: bool = False


OBJECTS: Mapping[str, ObjectKind] = {
    "account": ObjectKind(Sight.ITSELF),
    "claim": ObjectKind(Sight.PROJECT, named_by_project=True, decorated_by_tenants=True),
    "credential": ObjectKind(Sight.NOBODY),
    "group": ObjectKind(Sight.EVERYONE),
    "image": ObjectKind(Sight.EVERYONE),
    "machine": ObjectKind(Sight.PROJECT, lent=True),
    "metadef": ObjectKind(Sight.SHARED, named_by_project=True, decorated_by_tenants=True),
    "project": ObjectKind(Sight.ITSELF),
    "provider": ObjectKind(Sight.HELD),
    "userdata": ObjectKind(Sight.PROJECT, named_by_project=True, decorated_by_tenants=True),
}

_OPERATORS = frozenset({"admin", "operator"})
_TENANTS = frozenset({"owner", "member"})


class Viewer(msgspec.Struct, frozen=True, kw_only=True):
    """Who looks: an account, the project it acts in (empty: the system) and its roles there."""

    account: AccountId
    project: ProjectId = ProjectId("")
    roles: tuple[str, ...] = ()

    @property
    def is_system(self) -> bool:
        """Whether it sees the objects of every project."""
        return roles.is_system(self.roles)

    @property
    def operates(self) -> bool:
        """Whether it has a hand in the whole region."""
        return not _OPERATORS.isdisjoint(self.roles)

    def has_any(self, wanted: tuple[str, ...]) -> bool:
        """Tell whether it has one of the roles."""
        return not set(wanted).isdisjoint(self.roles)


def project_of(kind: str, state: Any) -> ProjectId:
    """Return the project that an object belongs to now; empty for one of the region."""
    return ProjectId(getattr(state, "project", ""))


def owner_of(kind: str, state: Any) -> ProjectId:
    """Return the project that an object belongs to for good; empty for what is only lent to it."""
    return ProjectId("") if OBJECTS[kind].lent else project_of(kind, state)


def sees(viewer: Viewer, kind: str, state: Any) -> bool:
    """Tell whether the viewer may know of an object, by its folded state."""
    if viewer.is_system:
        return True
    project = project_of(kind, state)
    match OBJECTS[kind].sight:
        case Sight.EVERYONE:
            return True
        case Sight.SHARED:
            return project in {"", viewer.project}
        case Sight.PROJECT:
            return bool(project) and project == viewer.project
        case Sight.ITSELF:
            return state.id in {viewer.account, viewer.project}
        case Sight.HELD | Sight.NOBODY:  # what is held is in no state of the object's own
            return False


def decorates(viewer: Viewer, kind: str, state: Any) -> bool:
    """Tell whether the viewer may tag an object that it sees."""
    if viewer.operates:
        return True
    own = bool(viewer.project) and project_of(kind, state) == viewer.project
    return own and OBJECTS[kind].decorated_by_tenants and not _TENANTS.isdisjoint(viewer.roles)
