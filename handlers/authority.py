"""Which roles an account holds in a project now: its own, the inherited, its owner's limits."""

from collections.abc import Sequence
from datetime import datetime

from mulligan.handlers.account import Account
from mulligan.model import ProjectId


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

    An application credential has no more than its ``owner`` has, and nothing once that is gone.
    """
    if not may_act(account, now):
        return frozenset()
    roles = roles_in(account, path)
    if not account.owner:
        return roles
    if owner is None or not may_act(owner, now):
        return frozenset()
    return roles & roles_in(owner, path)


def may_act(account: Account, now: datetime) -> bool:
    """Tell whether the account is neither deleted, disabled nor expired."""
    expired = account.expires_at is not None and account.expires_at <= now
    return not (account.deleted or account.disabled_at is not None or expired)
