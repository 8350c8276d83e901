"""Streams ``account/…``, ``project/…`` and ``key/…``: who may act, where, and how it is proven."""

from datetime import datetime
from typing import ClassVar, assert_never

import msgspec
from msgspec.structs import replace

from mulligan.errors import FailedPrecondition, InvalidArgument
from mulligan.events import account as ev
from mulligan.events import key as key_events
from mulligan.events import project as project_events
from mulligan.handlers import names, roles
from mulligan.handlers.decision import Change, Command, States, existing, require_new
from mulligan.model import AccountId, ProjectId, StreamId, stream_id

KINDS = frozenset({"user", "service", "application"})


class Binding(msgspec.Struct, frozen=True, order=True):
    """A role in a project, or over the system when ``project`` is empty."""

    role: str
    project: ProjectId = ProjectId("")


class ClientCertificate(msgspec.Struct, frozen=True, order=True):
    """A certificate that proves an account; ``fingerprint`` is its sha256, hex."""

    fingerprint: str
    subject: str
    expires_at: datetime


class EndedSession(msgspec.Struct, frozen=True, order=True):
    """A session that is not honoured; its last token would have ended at ``until``."""

    until: datetime
    session: str


class Account(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An account; ``secret_version`` names its hashed secret, empty while it has none.

    No token issued up to ``revoked_at`` is honoured, nor one of ``ended`` sessions.
    """

    id: AccountId
    kind: str
    name: str
    secret_version: str = ""
    bindings: tuple[Binding, ...] = ()
    disabled_at: datetime | None = None
    owner: AccountId = AccountId("")
    expires_at: datetime | None = None
    certificates: tuple[ClientCertificate, ...] = ()
    revoked_at: datetime | None = None
    ended: tuple[EndedSession, ...] = ()
    deleted: bool = False


class Project(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tenant."""

    id: ProjectId
    name: str
    parent: ProjectId = ProjectId("")
    disabled_at: datetime | None = None
    deleted: bool = False


class SigningKey(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The public half of a signing key; ``honoured_until`` is set once it is retired."""

    kid: str
    x: str
    version: str
    honoured_until: datetime | None = None
    use: str = "token"
    created_at: datetime | None = None


def evolve(state: Account | None, event: ev.Event, at: datetime) -> Account:
    """Return the account as it is after the event."""
    if isinstance(event, ev.AccountCreated):
        return Account(
            id=event.account,
            kind=event.kind,
            name=event.name,
            owner=event.owner,
            expires_at=event.expires_at,
        )
    assert state is not None, "the first event of an account creates it"
    match event:
        case ev.SecretSet():
            return replace(state, secret_version=event.version)
        case ev.RoleBound():
            bound = {*state.bindings, Binding(event.role, event.project)}
            return replace(state, bindings=tuple(sorted(bound)))
        case ev.RoleUnbound():
            left = {*state.bindings} - {Binding(event.role, event.project)}
            return replace(state, bindings=tuple(sorted(left)))
        case ev.AccountDisabled():
            return replace(state, disabled_at=event.at)
        case ev.AccountEnabled():
            return replace(state, disabled_at=None)
        case ev.CertificateBound():
            bound_to = ClientCertificate(event.fingerprint, event.subject, event.expires_at)
            return replace(state, certificates=tuple(sorted({*state.certificates, bound_to})))
        case ev.CertificateUnbound():
            kept = (c for c in state.certificates if c.fingerprint != event.fingerprint)
            return replace(state, certificates=tuple(kept))
        case ev.TokensRevoked():
            return replace(state, revoked_at=event.at, ended=())
        case ev.SessionRevoked():
            open_still = {s for s in state.ended if s.until > at}
            ended = {*open_still, EndedSession(event.until, event.session)}
            return replace(state, ended=tuple(sorted(ended)))
        case ev.AccountDeleted():
            return replace(state, deleted=True, secret_version="", bindings=(), certificates=())
        case _:
            assert_never(event)


def evolve_project(state: Project | None, event: project_events.Event, at: datetime) -> Project:
    """Return the project as it is after the event."""
    if isinstance(event, project_events.ProjectCreated):
        return Project(id=event.project, name=event.name, parent=event.parent)
    assert state is not None, "the first event of a project creates it"
    match event:
        case project_events.ProjectDisabled():
            return replace(state, disabled_at=event.at)
        case project_events.ProjectEnabled():
            return replace(state, disabled_at=None)
        case project_events.ProjectDeleted():
            return replace(state, deleted=True)
        case _:
            assert_never(event)


def evolve_key(state: SigningKey | None, event: key_events.Event, at: datetime) -> SigningKey:
    """Return the key as it is after the event."""
    match event:
        case key_events.KeyCreated():
            return SigningKey(
                kid=event.kid, x=event.x, version=event.version, use=event.use, created_at=at
            )
        case key_events.KeyRetired():
            assert state is not None, "the first event of a key creates it"
            return replace(state, honoured_until=event.honoured_until)
        case _:
            assert_never(event)


class CreateAccount(Command, frozen=True, kw_only=True):
    """Make an account; ``secret_version`` is in the secret store already, or empty."""

    NAME: ClassVar = "account.create"
    account: AccountId
    name: str
    kind: str
    secret_version: str = ""
    bindings: tuple[Binding, ...] = ()

    def reads(self, states: States) -> list[StreamId]:
        """Read the account and its name."""
        return [stream_id("account", self.account), names.name_stream("account", self.name)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Create it under a free name."""
        require_new(states, "account", self.account)
        if self.kind not in KINDS:
            raise InvalidArgument("kind", f"{self.kind!r} is not one of {', '.join(sorted(KINDS))}")
        stream = stream_id("account", self.account)
        created = ev.AccountCreated(account=self.account, kind=self.kind, name=self.name)
        changes = [
            *names.assign(states, "account", self.name, self.account),
            Change(stream, created),
        ]
        if self.secret_version:
            changes.append(Change(stream, ev.SecretSet(version=self.secret_version)))
        return changes + [
            Change(stream, ev.RoleBound(role=b.role, project=b.project)) for b in self.bindings
        ]


class SetSecret(Command, frozen=True, kw_only=True):
    """Let logins check against another secret."""

    NAME: ClassVar = "account.set_secret"
    account: AccountId
    version: str

    def reads(self, states: States) -> list[StreamId]:
        """Read the account."""
        return [stream_id("account", self.account)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Point the account at the new secret."""
        existing(states, "account", self.account, Account)
        return [Change(stream_id("account", self.account), ev.SecretSet(version=self.version))]


class SetDisabled(Command, frozen=True, kw_only=True):
    """Disable or enable an account."""

    NAME: ClassVar = "account.set_disabled"
    account: AccountId
    disabled: bool

    def reads(self, states: States) -> list[StreamId]:
        """Read the account."""
        return [stream_id("account", self.account)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Emit a change only where there is one."""
        state = existing(states, "account", self.account, Account)
        if self.disabled == (state.disabled_at is not None):
            return []
        event = ev.AccountDisabled(at=now) if self.disabled else ev.AccountEnabled()
        return [Change(stream_id("account", self.account), event)]


class BindRole(Command, frozen=True, kw_only=True):
    """Give an account a role, or take it (``bound`` false)."""

    NAME: ClassVar = "account.bind_role"
    account: AccountId
    binding: Binding
    bound: bool = True

    def reads(self, states: States) -> list[StreamId]:
        """Read the account and the project."""
        streams = [stream_id("account", self.account)]
        return streams + (
            [stream_id("project", self.binding.project)] if self.binding.project else []
        )

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Refuse a system role in a project and the other way round."""
        state = existing(states, "account", self.account, Account)
        roles.check(self.binding.role, self.binding.project)
        if self.binding.project:
            existing(states, "project", self.binding.project, Project)
        if (self.binding in state.bindings) == self.bound:
            return []
        make = ev.RoleBound if self.bound else ev.RoleUnbound
        event = make(role=self.binding.role, project=self.binding.project)
        return [Change(stream_id("account", self.account), event)]


class CreateProject(Command, frozen=True, kw_only=True):
    """Make a tenant."""

    NAME: ClassVar = "project.create"
    project: ProjectId
    name: str
    parent: ProjectId = ProjectId("")

    def reads(self, states: States) -> list[StreamId]:
        """Read the project, its name and its parent."""
        streams = [stream_id("project", self.project), names.name_stream("project", self.name)]
        return streams + ([stream_id("project", self.parent)] if self.parent else [])

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Create it under a free name, below an existing parent."""
        require_new(states, "project", self.project)
        if self.parent:
            existing(states, "project", self.parent, Project)
        event = project_events.ProjectCreated(
            project=self.project, name=self.name, parent=self.parent
        )
        changes = names.assign(states, "project", self.name, self.project)
        return [*changes, Change(stream_id("project", self.project), event)]


class CreateKey(Command, frozen=True, kw_only=True):
    """Announce a signing key, whose private half is in the secret store."""

    NAME: ClassVar = "key.create"
    kid: str
    x: str
    version: str

    def reads(self, states: States) -> list[StreamId]:
        """Read the key."""
        return [stream_id("key", self.kid)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Announce it once."""
        state: SigningKey | None = states.get(stream_id("key", self.kid))
        if state is None:
            event = key_events.KeyCreated(kid=self.kid, x=self.x, version=self.version)
            return [Change(stream_id("key", self.kid), event)]
        if state.x != self.x:
            raise FailedPrecondition(f"key {self.kid} exists with another public half")
        return []
