"""Streams ``account/…``, ``project/…`` and ``key/…``: who may act, where, and how it is proven."""

from datetime import datetime
from typing import ClassVar, assert_never

import msgspec
from msgspec.structs import replace

from mulligan.errors import Conflict, FailedPrecondition, InvalidArgument
from mulligan.events import account as ev
from mulligan.events import key as key_events
from mulligan.events import project as project_events
from mulligan.handlers import names, roles
from mulligan.handlers.decision import Change, Command, States, existing, require_new
from mulligan.model import AccountId, ProjectId, StreamId, stream_id

KINDS = frozenset({"user", "service"})
"""What an account may be made as; the third kind, ``application``, is made by its owner."""

APPLICATION = "application"
ADMIN = "admin"
MAX_BINDINGS = 256
MAX_CERTIFICATES = 32


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
            return replace(state, disabled_at=event.at, revoked_at=event.at, ended=())
        case ev.AccountEnabled():
            return replace(state, disabled_at=None)
        case ev.CertificateBound():
            bound_to = ClientCertificate(event.fingerprint, event.subject, event.expires_at)
            return replace(state, certificates=tuple(sorted({*state.certificates, bound_to})))
        case ev.CertificateUnbound():
            kept = (c for c in state.certificates if c.fingerprint != event.fingerprint)
            return replace(state, certificates=tuple(kept))
        case ev.SessionOpened():
            return state
        case ev.TokensRevoked():
            return replace(state, revoked_at=event.at, ended=())
        case ev.SessionRevoked():
            open_still = {s for s in state.ended if s.until > at}
            ended = {*open_still, EndedSession(event.until, event.session)}
            return replace(state, ended=tuple(sorted(ended)))
        case ev.AccountDeleted():
            return replace(
                state, deleted=True, secret_version="", bindings=(), certificates=(), ended=()
            )
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
    """Let logins check against another secret than the version ``replaces``, None for any."""

    NAME: ClassVar = "account.set_secret"
    account: AccountId
    version: str
    replaces: str | None = None

    def reads(self, states: States) -> list[StreamId]:
        """Read the account."""
        return [stream_id("account", self.account)]

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Point the account at the new secret."""
        state = existing(states, "account", self.account, Account)
        refuse_application(state, "its secret is not changed")
        if self.replaces is not None and self.replaces != state.secret_version:
            raise Conflict("somebody else set this secret at the same time; try again")
        return [Change(stream_id("account", self.account), ev.SecretSet(version=self.version))]


class SetDisabled(Command, frozen=True, kw_only=True):
    """Disable or enable an account; ``by`` is who asks, if that is an account."""

    NAME: ClassVar = "account.set_disabled"
    account: AccountId
    disabled: bool
    by: AccountId = AccountId("")

    def reads(self, states: States) -> list[StreamId]:
        """Read the account, and the one that asks."""
        return with_witness(self.account, self.by)

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Emit a change only where there is one; an administrator is left."""
        state = existing(states, "account", self.account, Account)
        if self.disabled == (state.disabled_at is not None):
            return []
        if self.disabled:
            require_other_admin(states, state, self.by, now)
        event = ev.AccountDisabled(at=now) if self.disabled else ev.AccountEnabled()
        return [Change(stream_id("account", self.account), event)]


class BindRole(Command, frozen=True, kw_only=True):
    """Give an account a role, or take it (``bound`` false); ``by`` is who asks."""

    NAME: ClassVar = "account.bind_role"
    account: AccountId
    binding: Binding
    bound: bool = True
    by: AccountId = AccountId("")

    def reads(self, states: States) -> list[StreamId]:
        """Read the account, the one that asks, and the project."""
        streams = with_witness(self.account, self.by)
        return streams + (
            [stream_id("project", self.binding.project)] if self.binding.project else []
        )

    def decide(self, states: States, now: datetime) -> list[Change]:
        """Refuse a system role in a project and the other way round; an administrator is left."""
        state = existing(states, "account", self.account, Account)
        roles.check(self.binding.role, self.binding.project)
        if self.bound:
            self._check_given(states, state)
        if (self.binding in state.bindings) == self.bound:
            return []
        if not self.bound and self.binding == Binding(ADMIN):
            require_other_admin(states, state, self.by, now)
        make = ev.RoleBound if self.bound else ev.RoleUnbound
        event = make(role=self.binding.role, project=self.binding.project)
        return [Change(stream_id("account", self.account), event)]

    def _check_given(self, states: States, state: Account) -> None:
        refuse_application(state, "its roles are those it was made with")
        if self.binding.project:
            existing(states, "project", self.binding.project, Project)
        if len(state.bindings) >= MAX_BINDINGS and self.binding not in state.bindings:
            raise FailedPrecondition(
                f"the account holds {MAX_BINDINGS} roles, which is the most; take one from it"
                " first, or bind a role on a project above"
            )


def refuse_application(state: Account, why: str) -> None:
    """Raise FailedPrecondition for an application credential."""
    if state.kind == APPLICATION:
        raise FailedPrecondition(
            f"{state.name!r} is an application credential and {why}: delete it and make another"
        )


def with_witness(account: AccountId, by: AccountId) -> list[StreamId]:
    """Name the account and the one that asks for a change of it."""
    return [stream_id("account", one) for one in dict.fromkeys((account, by)) if one]


def require_other_admin(states: States, state: Account, by: AccountId, now: datetime) -> None:
    """Raise FailedPrecondition if no administrator were certain to be left without the account.

    The one that is left is who asks for it. Two that ask for each other's end read each other,
    so that one of them comes too late.
    """
    if Binding(ADMIN) not in state.bindings:
        return
    witness: Account | None = states.get(stream_id("account", by)) if by else None
    if by == state.id:
        raise FailedPrecondition(
            "an administrator does not do this to itself; let another one do it"
        )
    if (
        witness is None
        or witness.deleted
        or witness.disabled_at is not None
        or (witness.expires_at is not None and witness.expires_at <= now)
        or Binding(ADMIN) not in witness.bindings
    ):
        raise FailedPrecondition(
            "this could be the last administrator; only an account that holds the role admin"
            " itself may do this"
        )
