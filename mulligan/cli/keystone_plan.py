"""What to make here of what Keystone lists: projects, accounts and roles. Pure.

An object keeps its id: Keystone's are UUIDs without dashes. So a second import finds what the
first one made, and makes only what is new.
"""

import re
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from mulligan.cli.keystone_files import Assignment, Listings, Project, User
from mulligan.errors import FieldViolation, InvalidArgument

PROJECT_ROLES: Mapping[str, str] = {
    "admin": "owner",
    "manager": "owner",
    "member": "member",
    "_member_": "member",
    "reader": "reader",
}
"""What roles on a project become unless told otherwise. A project's admin gets no other project."""
SYSTEM_ROLES: Mapping[str, str] = {"admin": "admin", "member": "operator", "reader": "auditor"}
"""What roles on the system become."""
OURS_OF_THE_SYSTEM = frozenset(SYSTEM_ROLES.values())
OURS_OF_A_PROJECT = frozenset(PROJECT_ROLES.values())
NONE = "none"
"""What a role is mapped to that shall be left out."""
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ._-]{0,61}[A-Za-z0-9])?")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How to import.

    ``roles`` maps roles of Keystone to ours. ``tidy`` changes names that do not fit here or that
    two have. ``flat`` makes every project a root. ``adopt`` takes what exists under a name for the
    one of that name. ``without`` names users and projects to leave out.
    """

    roles: Mapping[str, str] = {}
    tidy: bool = False
    flat: bool = False
    adopt: bool = False
    without: frozenset[str] = frozenset()


class Existing(msgspec.Struct, frozen=True, kw_only=True):
    """What is here: names by UUID, roles as (account, role, project), and who is disabled."""

    projects: Mapping[str, str] = {}
    accounts: Mapping[str, str] = {}
    bindings: frozenset[tuple[str, str, str]] = frozenset()
    disabled: frozenset[str] = frozenset()


class NewProject(NamedTuple):
    """A project to make; ``depth`` counts those above it."""

    uuid: str
    name: str
    parent: str
    depth: int


class NewAccount(NamedTuple):
    """An account to make."""

    uuid: str
    name: str


class NewBinding(NamedTuple):
    """A role to give; ``project`` is empty for a system role."""

    account: str
    role: str
    project: str


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to make, parents first, and then to disable; how much is there; what is left out.

    ``names`` are those of every account and project that the plan speaks of, by UUID.
    """

    projects: tuple[NewProject, ...]
    accounts: tuple[NewAccount, ...]
    bindings: tuple[NewBinding, ...]
    disable_accounts: tuple[str, ...]
    disable_projects: tuple[str, ...]
    unchanged: int
    notes: tuple[str, ...]
    names: Mapping[str, str]


def uuid_of(id: str) -> str:
    """Return the UUID of an object here: Keystone's own, or one made of an id that is none."""
    if re.fullmatch(r"[0-9a-f]{32}", id):
        return str(uuid.UUID(id))
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"keystone:{id}"))


def plan(listings: Listings, options: Options, existing: Existing) -> Plan:
    """Return the plan; raise InvalidArgument naming everything that cannot be imported so."""
    return _Planner(listings, options, existing).plan()


class _Planner:
    def __init__(self, listings: Listings, options: Options, existing: Existing) -> None:
        self._from = listings
        self._options = options
        self._existing = existing
        self._problems: list[FieldViolation] = []
        self._notes: Counter[str] = Counter()
        self._uuids: dict[str, str] = {}
        self._names: dict[str, str] = {**existing.projects, **existing.accounts}
        self._children: dict[str, list[str]] = {}

    def plan(self) -> Plan:
        self._check_roles()
        kept = {key: one for key, one in self._from.projects.items() if self._wanted(one.name)}
        for project in kept.values():
            above = project.parent_id or project.domain_id or ""
            self._children.setdefault(above, []).append(project.id)
        projects = self._named("project", kept, self._existing.projects)
        users = {key: one for key, one in self._from.users.items() if self._wanted(one.name)}
        accounts = self._named("user", users, self._existing.accounts)
        made = tuple(
            sorted(
                (self._project(kept[key], name) for key, name in projects.items()),
                key=lambda one: (one.depth, one.name),
            )
        )
        wanted = dict.fromkeys(self._bindings(kept))
        bindings = tuple(b for b in wanted if tuple(b) not in self._existing.bindings)
        if self._problems:
            first, *more = self._problems
            raise InvalidArgument(first.field, first.description, *more)
        there = len(kept) - len(projects) + len(users) - len(accounts)
        return Plan(
            projects=made,
            accounts=tuple(NewAccount(self._uuids[key], name) for key, name in accounts.items()),
            bindings=bindings,
            disable_accounts=self._disabled(users),
            disable_projects=self._disabled(kept),
            unchanged=there + len(wanted) - len(bindings),
            notes=tuple(_counted(text, count) for text, count in self._notes.items()),
            names=self._names,
        )

    def _wanted(self, name: str) -> bool:
        return name not in self._options.without

    def _check_roles(self) -> None:
        known = OURS_OF_A_PROJECT | OURS_OF_THE_SYSTEM | {NONE}
        for theirs, ours in self._options.roles.items():
            if ours not in known:
                self._problem(
                    f"--role {theirs}", f"{ours!r} is not one of {', '.join(sorted(known))}"
                )

    # -- names -------------------------------------------------------------------------------

    def _named(
        self, kind: str, found: Mapping[str, Project] | Mapping[str, User], here: Mapping[str, str]
    ) -> dict[str, str]:
        """Give each object its UUID here; return the names of those that are to be made, by id."""
        new: dict[str, str] = {}
        by_slug = {_slug(name): key for key, name in here.items()}
        same_name = Counter(_slug(one.name) for one in found.values())
        for id, one in found.items():
            self._uuids[id] = uuid_of(id)
            if self._uuids[id] in here:
                continue
            name = self._fitting(kind, one, same_name[_slug(one.name)] > 1)
            if not name:
                continue
            holder = by_slug.get(_slug(name))
            if holder is None:
                new[id] = self._names[self._uuids[id]] = name
                by_slug[_slug(name)] = self._uuids[id]
            elif self._options.adopt and holder in here:
                self._uuids[id] = holder
            else:
                self._problem(
                    f"{kind} {one.name}",
                    "the name is taken here; rename one of them, take it for the same with"
                    f" --adopt, or leave it out with --without {one.name!r}",
                )
        return new

    def _fitting(self, kind: str, one: Project | User, twice: bool) -> str:
        """Return the name that the object gets, empty if there is none that fits."""
        if _NAME.fullmatch(one.name) and not twice:
            return one.name
        if not self._options.tidy:
            why = "two have the name" if twice else "the name has characters that names here lack"
            self._problem(f"{kind} {one.name}", f"{why}; --tidy-names finds another")
            return ""
        domain = self._from.domains.get(one.domain_id or "")
        prefix = f"{domain.name if domain else one.domain_id}-" if twice else ""
        tidy = (
            re.sub(r"[^A-Za-z0-9 ._-]+", "-", prefix + one.name).strip(" ._-")[:63].rstrip(" ._-")
        )
        return tidy or f"{kind}-{one.id[:12]}"

    def _disabled(self, found: Mapping[str, Project] | Mapping[str, User]) -> tuple[str, ...]:
        """Return those that are to be disabled; what was adopted is not touched."""
        ours = {uuid_of(id) for id, one in found.items() if not one.enabled}
        return tuple(sorted((ours & set(self._uuids.values())) - self._existing.disabled))

    # -- projects ----------------------------------------------------------------------------

    def _project(self, project: Project, name: str) -> NewProject:
        above = list(self._above(project))
        parent = self._uuids[above[0].id] if above and not self._options.flat else ""
        depth = 0 if self._options.flat else len(above)
        return NewProject(self._uuids[project.id], name, parent, depth)

    def _above(self, project: Project) -> Iterator[Project]:
        seen = {project.id}
        while True:
            above = self._from.projects.get(project.parent_id or "")
            if above is None or not self._wanted(above.name):
                return
            if above.id in seen:
                self._problem(f"project {project.name}", "is among its own parents")
                return
            seen.add(above.id)
            yield above
            project = above

    # -- roles -------------------------------------------------------------------------------

    def _bindings(self, projects: Mapping[str, Project]) -> Iterator[NewBinding]:
        for one in self._from.assignments:
            for user in self._holders(one):
                account = self._uuids.get(user)
                if account is None:
                    if user not in self._from.users:
                        self._notes["roles of users that no file lists are left out"] += 1
                    continue
                for role, project in self._grants(one, projects):
                    yield NewBinding(account, role, project)

    def _holders(self, one: Assignment) -> tuple[str, ...]:
        if one.user is not None:
            return (one.user.id,)
        if one.group is None:
            return ()
        if one.group.id in self._from.members:
            return self._from.members[one.group.id]
        group = self._from.groups.get(one.group.id, one.group)
        self._notes[
            f"roles of the group {group.name or group.id} are left out: give the answer of"
            f" /v3/groups/{group.id}/users, or list the assignments with ?effective"
        ] += 1
        return ()

    def _grants(
        self, one: Assignment, projects: Mapping[str, Project]
    ) -> Iterator[tuple[str, str]]:
        """Yield (role, project) of what the assignment grants here."""
        name = one.role.name or getattr(self._from.roles.get(one.role.id), "name", one.role.id)
        if one.scope.system is not None:
            if role := self._role(name, SYSTEM_ROLES, OURS_OF_THE_SYSTEM, "on the system"):
                yield role, ""
            return
        targets = self._targets(one, name, projects)
        if not targets:
            return
        if role := self._role(name, PROJECT_ROLES, OURS_OF_A_PROJECT, "on projects"):
            for target in targets:
                yield role, self._uuids[target]

    def _targets(self, one: Assignment, role: str, projects: Mapping[str, Project]) -> list[str]:
        """Return the projects that an assignment is about; here a role holds below them, too."""
        inherited = one.scope.inherited_to == "projects"
        if one.scope.project is not None:
            id = one.scope.project.id
            if id not in projects:
                if id not in self._from.projects:
                    self._notes["roles on projects that no file lists are left out"] += 1
                return []
            below = self._below(id) if self._options.flat else self._children.get(id, [])
            if inherited:
                return list(below)
            if below and not self._options.flat:
                self._notes[
                    "roles hold in the projects under theirs, too, which they did not in Keystone;"
                    " --flat keeps the projects apart"
                ] += 1
            return [id]
        if one.scope.domain is None or not inherited:
            self._notes[f"the role {role} on a domain is left out: domains are not imported"] += 1
            return []
        roots = self._children.get(one.scope.domain.id, [])
        if self._options.flat:
            return [*roots, *(below for root in roots for below in self._below(root))]
        return list(roots)

    def _below(self, id: str) -> list[str]:
        found: list[str] = []
        todo = list(self._children.get(id, []))
        while todo:
            child = todo.pop()
            if child not in found:
                found.append(child)
                todo += self._children.get(child, [])
        return found

    def _role(
        self, theirs: str, usual: Mapping[str, str], known: frozenset[str], where: str
    ) -> str:
        ours = self._options.roles.get(theirs) or usual.get(theirs.lower(), "")
        if ours in known:
            return ours
        if ours != NONE:
            self._notes[
                f"the role {theirs} {where} means nothing here and is left out;"
                f" map it with --role {theirs}={sorted(known)[0]}, or to none"
            ] += 1
        return ""

    def _problem(self, field: str, description: str) -> None:
        self._problems.append(FieldViolation(field, description))


def _slug(name: str) -> str:
    return re.sub(r"[ _]+", "-", name).lower()


def _counted(text: str, count: int) -> str:
    return f"{text} ({count} assignment{'s' if count > 1 else ''})"
