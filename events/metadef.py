"""Stream ``metadef/<uuid>``: attributes that objects may carry."""

from typing import Any, ClassVar

import msgspec

from mulligan.model import MetadefId, ProjectId


class MetadefCreated(msgspec.Struct, frozen=True, kw_only=True):
    """An attribute is defined; its name lives in a name stream, in its owner's scope.

    ``schema`` is JSON Schema. ``project`` is empty for one of the region. Empty ``kinds``,
    ``read_roles`` and ``write_roles`` restrict nothing.
    """

    TYPE: ClassVar = "metadef.created"
    metadef: MetadefId
    name: str
    description: str
    schema: dict[str, Any]
    project: ProjectId = ProjectId("")
    kinds: tuple[str, ...] = ()
    read_roles: tuple[str, ...] = ()
    write_roles: tuple[str, ...] = ()
    protected: bool = False


class MetadefChanged(msgspec.Struct, frozen=True, kw_only=True):
    """The definition is as given from now on; values that were set before stay."""

    TYPE: ClassVar = "metadef.changed"
    description: str
    schema: dict[str, Any]
    kinds: tuple[str, ...] = ()
    read_roles: tuple[str, ...] = ()
    write_roles: tuple[str, ...] = ()
    protected: bool = False


class MetadefDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing may carry the attribute any more; values that were set are not shown."""

    TYPE: ClassVar = "metadef.deleted"


Event = MetadefCreated | MetadefChanged | MetadefDeleted
