"""Which roles an account holds in a project now: its own, the inherited, its owner's limits."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from mulligan.errors import Unauthenticated
from mulligan.handlers.account import Account, Project
from mulligan.handlers.roles import with_lesser
from mulligan.model import ProjectId

FINGERPRINT_SHOWN = 16
"""So many digits of a certificate's fingerprint name it in a credential."""


class SessionClaims(msgspec.Struct, frozen=True, kw_only=True):
    """What a verified token says of the session that it belongs to.

    ``issued_at`` is when the session began, which a refresh does not move: what was revoked stays
    revoked however often its tokens are renewed. ``credential`` is what proved the account then,
    ``secret:<version>`` or ``cert:<fingerprint>``; it and ``session`` are empty in tokens of
    releases that knew neither. ``project`` is empty for the system.
    """

    issued_at: datetime
    session: str
    credential: str
    roles: frozenset[str]
    project: ProjectId = ProjectId("")


def check_session(
    session: SessionClaims,
    account: Account | None,
    owner: Account | None,
    path: Sequence[Project | None],
    now: datetime,
) -> frozenset[str]:
    """Return the roles that a token may use now: those it was given that are held still.

    ``owner`` is the account that an application credential acts for, and ``path`` the session's
    project and its ancestors, itself first. Raise Unauthenticated when the session is over.
    """
    if account is None or account.deleted:
        raise Unauthenticated("the token's account does not exist here; log in again")
    refusal = refusal_of(account, owner, now)
    if refusal:
        raise Unauthenticated(refusal)
    if _is_over(session, account, owner):
        raise Unauthenticated("this session has ended; log in again")
    if not is_proven(session.credential, account, now):
        raise Unauthenticated("what this token was given for is no longer valid; log in again")
    projects = usable(path)
    if bool(session.project) != bool(path) or projects is None:
        raise Unauthenticated("the project of this token is disabled or gone; log in to another")
    return session.roles & held_by(account, owner, projects, now)


def refusal_of(account: Account, owner: Account | None, now: datetime) -> str:
    """Say why an account that is there may not act now; empty when it may.

    For those who have proven that they are the account.
    """
    if account.disabled_at is not None:
        return "this account is disabled"
    if account.deleted:
        return "this account is deleted"
    if not may_act(account, now):
        return "this account has expired"
    if account.owner and (owner is None or not may_act(owner, now)):
        return "the account that this application credential acts for may not act any more"
    return ""


def credential_of_secret(version: str) -> str:
    """Name the version of a secret as what proved an account."""
    return f"secret:{version}"


def credential_of_certificate(fingerprint: str) -> str:
    """Name a certificate as what proved an account."""
    return f"cert:{fingerprint[:FINGERPRINT_SHOWN]}"


def is_proven(credential: str, account: Account, now: datetime) -> bool:
    """Tell whether the credential would still prove the account; an empty one is not known."""
    kind, _, named = credential.partition(":")
    if kind == "secret":
        return bool(named) and named == account.secret_version
    if kind == "cert":
        return any(
            credential_of_certificate(c.fingerprint) == credential and now < c.expires_at
            for c in account.certificates
        )
    return not credential


def usable(path: Sequence[Project | None]) -> tuple[ProjectId, ...] | None:
    """Return the ids of a project and its ancestors; None when one is disabled or gone."""
    ids = []
    for project in path:
        if project is None or project.deleted or project.disabled_at is not None:
            return None
        ids.append(project.id)
    return tuple(ids)


def _is_over(session: SessionClaims, account: Account, owner: Account | None) -> bool:
    """Tell whether the session was ended, or all of the account's or of its owner's were."""
    for one in (account, owner):
        revoked = one.revoked_at if one is not None else None
        if revoked is not None and session.issued_at <= revoked:
            return True
    return bool(session.session) and any(s.session == session.session for s in account.ended)


def roles_in(account: Account, path: Sequence[ProjectId]) -> frozenset[str]:
    """Return the roles that the account's bindings give it in a project.

    ``path`` is the project and its ancestors, empty for the system. A role on a project holds in
    those under it, and a system role everywhere.
    """
    reaching = {ProjectId(""), *path}
    return frozenset(b.role for b in account.bindings if b.project in reaching)


def held_by(
    account: Account, owner: Account | None, path: Sequence[ProjectId], now: datetime
) -> frozenset[str]:
    """Return the roles that the account may use now; none when it may do nothing.

    An application credential may do no more than its ``owner``, and nothing once that is gone.
    """
    if not may_act(account, now):
        return frozenset()
    roles = roles_in(account, path)
    if not account.owner:
        return roles
    if owner is None or not may_act(owner, now):
        return frozenset()
    return roles & with_lesser(roles_in(owner, path))


def may_act(account: Account, now: datetime) -> bool:
    """Tell whether the account is neither deleted, disabled nor expired."""
    expired = account.expires_at is not None and account.expires_at <= now
    return not (account.deleted or account.disabled_at is not None or expired)
