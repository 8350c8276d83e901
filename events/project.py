"""Stream ``project/<uuid>``: the tenants, as a tree."""

from datetime import datetime
from typing import ClassVar

import msgspec

from mulligan.model import ProjectId


class ProjectCreated(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant exists; ``parent`` is empty at a root."""

    TYPE: ClassVar = "project.created"
    project: ProjectId
    name: str
    parent: ProjectId = ProjectId("")


class ProjectDisabled(msgspec.Struct, frozen=True, kw_only=True):
    """No login to the project, and no token of it is honoured."""

    TYPE: ClassVar = "project.disabled"
    at: datetime


class ProjectEnabled(msgspec.Struct, frozen=True, kw_only=True):
    """The project may be used again."""

    TYPE: ClassVar = "project.enabled"


class ProjectDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """The project is gone; it held nothing any more."""

    TYPE: ClassVar = "project.deleted"


Event = ProjectCreated | ProjectDisabled | ProjectEnabled | ProjectDeleted
