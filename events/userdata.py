"""Stream ``userdata/<uuid>``: what a tenant gives a machine at its first boot, by its hash."""

from typing import ClassVar

import msgspec

from mulligan.model import ProjectId, UserDataId


class UserDataCreated(msgspec.Struct, frozen=True, kw_only=True):
    """``sha256`` (hex) and ``size`` (bytes) are of the content, which is in the secret store.

    ``version`` names it there. The content never changes.
    """

    TYPE: ClassVar = "userdata.created"
    user_data: UserDataId
    name: str
    project: ProjectId
    version: str
    sha256: str
    size: int


class UserDataDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """The content is destroyed; machines that booted with it are not touched."""

    TYPE: ClassVar = "userdata.deleted"


Event = UserDataCreated | UserDataDeleted
