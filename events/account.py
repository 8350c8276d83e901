"""Stream ``account/<uuid>``: who may log in and in which roles."""

from datetime import datetime
from typing import ClassVar

import msgspec

from mulligan.model import AccountId, ProjectId


class AccountCreated(msgspec.Struct, frozen=True, kw_only=True):
    """``kind`` is ``user`` or ``service``; its name lives in a name stream."""

    TYPE: ClassVar = "account.created"
    account: AccountId
    kind: str
    name: str


class SecretSet(msgspec.Struct, frozen=True, kw_only=True):
    """Login now checks against ``version`` of the account's hashed secret in the secret store."""

    TYPE: ClassVar = "account.secret_set"
    version: str


class RoleBound(msgspec.Struct, frozen=True, kw_only=True):
    """The account holds ``role`` in ``project``, or over the system when ``project`` is empty."""

    TYPE: ClassVar = "account.role_bound"
    role: str
    project: ProjectId = ProjectId("")


class RoleUnbound(msgspec.Struct, frozen=True, kw_only=True):
    """The account no longer holds ``role`` in ``project``."""

    TYPE: ClassVar = "account.role_unbound"
    role: str
    project: ProjectId = ProjectId("")


class AccountDisabled(msgspec.Struct, frozen=True, kw_only=True):
    """No login, and no token issued before ``at`` is honoured."""

    TYPE: ClassVar = "account.disabled"
    at: datetime


class AccountEnabled(msgspec.Struct, frozen=True, kw_only=True):
    """The account may log in again."""

    TYPE: ClassVar = "account.enabled"


Event = AccountCreated | SecretSet | RoleBound | RoleUnbound | AccountDisabled | AccountEnabled
