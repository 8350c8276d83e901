"""Stream ``account/<uuid>``: who may log in and in which roles."""

from datetime import datetime
from typing import ClassVar

import msgspec

from mulligan.model import AccountId, ProjectId


class AccountCreated(msgspec.Struct, frozen=True, kw_only=True):
    """``kind`` is ``user``, ``service`` or ``application``; its name lives in a name stream.

    An application credential acts for its ``owner``, until ``expires_at`` if that is given.
    """

    TYPE: ClassVar = "account.created"
    account: AccountId
    kind: str
    name: str
    owner: AccountId = AccountId("")
    expires_at: datetime | None = None


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


class CertificateBound(msgspec.Struct, frozen=True, kw_only=True):
    """The account may log in with the client certificate of this ``fingerprint`` (sha256, hex)."""

    TYPE: ClassVar = "account.certificate_bound"
    fingerprint: str
    subject: str
    expires_at: datetime


class CertificateUnbound(msgspec.Struct, frozen=True, kw_only=True):
    """The account may no longer log in with the certificate; what it was given for it is void."""

    TYPE: ClassVar = "account.certificate_unbound"
    fingerprint: str


class SessionOpened(msgspec.Struct, frozen=True, kw_only=True):
    """The account logged in from the address ``peer``, proven by ``credential``.

    ``project`` is empty for the system; no token of the session outlives ``until``.
    """

    TYPE: ClassVar = "account.session_opened"
    session: str
    credential: str
    until: datetime
    project: ProjectId = ProjectId("")
    peer: str = ""


class TokensRevoked(msgspec.Struct, frozen=True, kw_only=True):
    """No token issued up to ``at`` is honoured."""

    TYPE: ClassVar = "account.tokens_revoked"
    at: datetime


class SessionRevoked(msgspec.Struct, frozen=True, kw_only=True):
    """No token of the session is honoured; the last of them would have ended at ``until``."""

    TYPE: ClassVar = "account.session_revoked"
    session: str
    until: datetime


class AccountDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """The account is gone, and so is its secret."""

    TYPE: ClassVar = "account.deleted"


Event = (
    AccountCreated
    | SecretSet
    | RoleBound
    | RoleUnbound
    | AccountDisabled
    | AccountEnabled
    | CertificateBound
    | CertificateUnbound
    | SessionOpened
    | TokensRevoked
    | SessionRevoked
    | AccountDeleted
)
