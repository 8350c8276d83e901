"""Which role grants which permission. Permissions are named on the methods in the protos."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from mulligan.errors import InvalidArgument

SYSTEM_ROLES: Mapping[str, tuple[str, ...]] = {
    "admin": ("*",),
    "operator": (
        "resource.*", "control.*", "meta.*", "log.*", "archive.*", "projections.*",
        "iam.*.read", "system.*",
    ),
    "auditor": ("*.read", "log.*"),
}  # fmt: skip
"""Over every project of the region."""

_READS = (
    "resource.*.read", "control.machines.read", "control.images.read", "meta.names.read",
    "log.read", "meta.metadefs.read", "meta.metadata.read",
)  # fmt: skip
_USES = (
    *_READS, "resource.claims.*", "control.machines.use", "control.userdata.*",
    "meta.metadata.write",
)  # fmt: skip
_OWNS = (
    *_USES, "meta.metadefs.write", "iam.accounts.read", "iam.projects.read", "iam.roles.write",
)  # fmt: skip

PROJECT_ROLES: Mapping[str, tuple[str, ...]] = {
    "owner": _OWNS,
    "member": _USES,
    "reader": _READS,
}
"""Over the objects of one project."""


_LESSER: Mapping[str, tuple[str, ...]] = {
    "admin": ("operator", "auditor", "owner", "member", "reader"),
    "operator": ("auditor", "member", "reader"),
    "owner": ("member", "reader"),
    "member": ("reader",),
}
"""The roles that grant nothing which the role itself does not."""


def with_lesser(held: Iterable[str]) -> frozenset[str]:
    """Return the roles and every lesser one: what who holds them may let another do."""
    roles = frozenset(held)
    return roles.union(*(_LESSER.get(role, ()) for role in roles))


def check(role: str, project: str) -> None:
    """Raise InvalidArgument unless the role exists at this level."""
    known = PROJECT_ROLES if project else SYSTEM_ROLES
    if role not in known:
        raise InvalidArgument("binding.role", f"{role!r} {_misplaced(role, project)}")


def _misplaced(role: str, project: str) -> str:
    if role in PROJECT_ROLES:
        return "is a role on a project: say on which (`mulligan account bind ACCOUNT ROLE --on …`)"
    if role in SYSTEM_ROLES:
        return "is a role in the system: name no project for it"
    known = PROJECT_ROLES if project else SYSTEM_ROLES
    return f"is no {'project' if project else 'system'} role: use {', '.join(known)}"


def grants(roles: Iterable[str], permission: str) -> bool:
    """Tell whether any of the roles grants the permission."""
    patterns = (p for r in roles for p in SYSTEM_ROLES.get(r, PROJECT_ROLES.get(r, ())))
    return any(fnmatchcase(permission, pattern) for pattern in patterns)


def reaches_all(held: Iterable[str], permission: str) -> bool:
    """Tell whether a permission is held over every project: a system role must grant it.

    What a project's role grants is for that project, whatever other roles there are beside it.
    """
    return grants((role for role in held if role in SYSTEM_ROLES), permission)


def is_system(roles: Iterable[str]) -> bool:
    """Tell whether any of the roles reaches over every project."""
    return any(r in SYSTEM_ROLES for r in roles)
