"""Stream ``credential/<uuid>``: references to BMC logins; the secret is in the secret store."""

from typing import ClassVar

import msgspec

from mulligan.model import CredentialId


class CredentialCreated(msgspec.Struct, frozen=True, kw_only=True):
    """``version`` names the user name and password in the secret store."""

    TYPE: ClassVar = "credential.created"
    credential: CredentialId
    name: str
    version: str


class CredentialDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """The secret is destroyed; machines that used it cannot be reached."""

    TYPE: ClassVar = "credential.deleted"


class RotationStarted(msgspec.Struct, frozen=True, kw_only=True):
    """The BMCs that use the login are given the password of ``version``, one after the other."""

    TYPE: ClassVar = "credential.rotation_started"
    version: str


class RotationFinished(msgspec.Struct, frozen=True, kw_only=True):
    """Every BMC has the password of ``version``; those before are to be destroyed."""

    TYPE: ClassVar = "credential.rotation_finished"
    version: str


class VersionsDestroyed(msgspec.Struct, frozen=True, kw_only=True):
    """The passwords of these former versions are in the secret store no more."""

    TYPE: ClassVar = "credential.versions_destroyed"
    versions: tuple[str, ...]


Event = (
    CredentialCreated | CredentialDeleted | RotationStarted | RotationFinished | VersionsDestroyed
)
