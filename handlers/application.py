"""Stream ``account/…``: application credentials, which are accounts that another one owns."""

from datetime import datetime
from typing import ClassVar

from mulligan.errors import FailedPrecondition, InvalidArgument, PermissionDenied
from mulligan.events import account as ev
from mulligan.handlers import names, roles
from mulligan.handlers.account import APPLICATION, Account
from mulligan.handlers.authority import held_by
from mulligan.handlers.decision import Change, Command, States, existing, require_new
from mulligan.handlers.project import path_streams, require_open
from mulligan.model import AccountId, ProjectId, StreamId, stream_id, stream_key

MAX_APPLICATIONS = 64
"""So many application credentials one account may own."""


class CreateApplication(Command, frozen=True, kw_only=True):
    """Make an account that acts for ``owner`` in ``project``, with these of its roles.

    In an empty ``project`` it acts on the system. Its secret is in the secret store already.
    """

    NAME: ClassVar = "account.create_application"
    account: AccountId
    owner: AccountId
    name: str
    roles: frozenset[str]
    secret_version: str
    project: ProjectId = ProjectId("")
    expires_at: datetime | None = None

    def reads(self, states: States) -> list[StreamId]:
        """Read the account, its name among the owner's, the owner, and the project's path."""
        return [
            stream_id("account", self.account),
            names.name_stream("account", self.name, self.owner),
            stream_id("account", self.owner),
            *path_streams(states, self.project),
        ]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Give it roles that the owner holds there itself, or lesser ones."""
        require_new(states, "account", self.account)
        owner = existing(states, "account", self.owner, Account)
        if owner.kind == APPLICATION:
            raise PermissionDenied("an application credential cannot make another one")
        if self.expires_at is not None and self.expires_at <= now:
            raise InvalidArgument("expires_at", "lies in the past")
        if not self.roles:
            raise FailedPrecondition(
                "your token has no role to give: log in to a project in which you have one"
            )
        require_open(states, self.project)
        path = [ProjectId(stream_key(s)) for s in path_streams(states, self.project)]
        beyond = self.roles - roles.with_lesser(held_by(owner, None, path, now))
        if beyond:
            raise InvalidArgument("roles", f"{sorted(beyond)[0]!r} is more than your roles here")
        stream = stream_id("account", self.account)
        created = ev.AccountCreated(
            account=self.account,
            kind=APPLICATION,
            name=self.name,
            owner=self.owner,
            expires_at=self.expires_at,
        )
        return [
            *names.assign(states, "account", self.name, self.account, self.owner),
            Change(stream, created),
            Change(stream, ev.SecretSet(version=self.secret_version)),
            *(Change(stream, self._bound(role)) for role in sorted(self.roles)),
        ]

    def _bound(self, role: str) -> ev.RoleBound:
        """Bind a system role over the system, where its owner holds it, and others here."""
        project = ProjectId("") if role in roles.SYSTEM_ROLES else self.project
        return ev.RoleBound(role=role, project=project)
