"""Stream ``project/<uuid>``: the tenants, as a tree."""

from typing import ClassVar

import msgspec

from mulligan.model import ProjectId


class ProjectCreated(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant exists; ``parent`` is empty at a root."""

    TYPE: ClassVar = "project.created"
    project: ProjectId
    name: str
    parent: ProjectId = ProjectId("")


Event = ProjectCreated
