"""Listings of OpenStack Keystone's Identity API v3, as files: who and what there is.

A file holds one answer of the API, such as ``GET /v3/users``: a JSON object with the key ``users``,
``projects``, ``domains``, ``roles``, ``groups`` or ``role_assignments``. Members of a group are
told by ``GET /v3/groups/<id>/users``, whose own link names the group.
"""

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from mulligan.errors import InvalidArgument

LARGEST = 256 * 2**20
"""Bytes of one file."""
_GROUP = re.compile(r"/v3/groups/([^/?]+)/users\b")


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """A domain, role or group."""

    id: str
    name: str = ""


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """A project; its parent is a project, or the domain."""

    id: str
    name: str
    domain_id: str | None = None
    parent_id: str | None = None
    enabled: bool = True
    is_domain: bool = False


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A user of a domain."""

    id: str
    name: str
    domain_id: str | None = None
    enabled: bool = True


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """Where an assignment holds; ``inherited_to`` is ``projects`` when only below that."""

    project: Named | None = None
    domain: Named | None = None
    system: dict[str, Any] | None = None
    inherited_to: str = msgspec.field(default="", name="OS-INHERIT:inherited_to")


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """A role of a user or group, somewhere."""

    role: Named
    scope: Scope
    user: Named | None = None
    group: Named | None = None


class Listings(msgspec.Struct, frozen=True, kw_only=True):
    """All that was read, by id; ``members`` are the users of each group whose file was given."""

    domains: dict[str, Named]
    projects: dict[str, Project]
    users: dict[str, User]
    roles: dict[str, Named]
    groups: dict[str, Named]
    members: dict[str, tuple[str, ...]]
    assignments: tuple[Assignment, ...]


class _Links(msgspec.Struct, frozen=True, kw_only=True):
    this: str | None = msgspec.field(default=None, name="self")
    next: str | None = None


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    links: _Links | None = None
    domains: tuple[Named, ...] = ()
    projects: tuple[Project, ...] = ()
    users: tuple[User, ...] = ()
    roles: tuple[Named, ...] = ()
    groups: tuple[Named, ...] = ()
    role_assignments: tuple[Assignment, ...] = ()

    @property
    def group(self) -> str:
        """The group whose members these users are; empty for a listing of users."""
        found = _GROUP.search(self.links.this or "") if self.links else None
        return found[1] if found else ""


_KEYS = ("users", "projects", "domains", "roles", "groups", "role_assignments")


def read_listings(files: Sequence[str]) -> Listings:
    """Read the files, ``-`` being standard input; raise InvalidArgument naming a bad one.

    A page of a listing whose next page was not given is refused: half a listing would be
    imported as if it were all.
    """
    answers = [_answer(file) for file in files]
    _require_every_page(answers, files)
    members: dict[str, tuple[str, ...]] = {}
    for answer in answers:
        if answer.group:
            ids = tuple(user.id for user in answer.users)
            members[answer.group] = members.get(answer.group, ()) + ids
    projects = _by_id(project for answer in answers for project in answer.projects)
    domains = _by_id(domain for answer in answers for domain in answer.domains)
    for project in projects.values():
        if project.is_domain:
            domains.setdefault(project.id, Named(id=project.id, name=project.name))
    return Listings(
        domains=domains,
        projects={key: one for key, one in projects.items() if not one.is_domain},
        users=_by_id(user for answer in answers for user in answer.users),
        roles=_by_id(role for answer in answers for role in answer.roles),
        groups=_by_id(group for answer in answers for group in answer.groups),
        members=members,
        assignments=tuple(one for answer in answers for one in answer.role_assignments),
    )


def _answer(file: str) -> _Answer:
    raw = _bytes(file)
    try:
        answer = msgspec.json.decode(raw, type=_Answer)
        keys = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError as error:
        problem = f"is no answer of the Identity API: {error}"
        if raw.lstrip()[:1] == b"[":
            problem = (
                "is a JSON array, as `openstack … list -f json` prints; save the API's own answer"
                " instead, such as `curl -H X-Auth-Token:… $OS_AUTH_URL/v3/users`"
            )
        raise InvalidArgument(file, problem) from error
    if not any(key in keys for key in _KEYS):
        raise InvalidArgument(file, f"holds none of {', '.join(_KEYS)}")
    return answer


def _bytes(file: str) -> bytes:
    if file == "-":
        raw = sys.stdin.buffer.read(LARGEST + 1)
    else:
        try:
            with Path(file).expanduser().open("rb") as opened:
                raw = opened.read(LARGEST + 1)
        except OSError as error:
            raise InvalidArgument(file, f"cannot be read: {error.strerror}") from error
    if len(raw) > LARGEST:
        raise InvalidArgument(file, f"is longer than {LARGEST // 2**20} MiB")
    return raw


def _require_every_page(answers: Sequence[_Answer], files: Sequence[str]) -> None:
    given = {answer.links.this for answer in answers if answer.links}
    for answer, file in zip(answers, files, strict=True):
        following = answer.links.next if answer.links else None
        if following and following not in given:
            raise InvalidArgument(
                file, f"is one page of a listing; give the file of the next one, {following}, too"
            )


def _by_id(found: Iterable[Any]) -> dict[str, Any]:
    return {one.id: one for one in found}
