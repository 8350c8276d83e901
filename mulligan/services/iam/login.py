"""Login by secret or client certificate, refresh, logout, and one's own secret."""

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta

import anyio

from mulligan.commands.runner import Request
from mulligan.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from mulligan.events.envelope import Actor
from mulligan.handlers import account as handlers
from mulligan.handlers import sessions
from mulligan.handlers.account import APPLICATION, Account, Project
from mulligan.handlers.authority import (
    check_session,
    credential_of_certificate,
    credential_of_secret,
    held_by,
    is_proven,
    refusal_of,
    usable,
)
from mulligan.handlers.certificates import certificate_stream
from mulligan.handlers.names import NameState
from mulligan.model import CommitId, ProjectId, new_id, stream_id, utc_now
from mulligan.proto import v1
from mulligan.services.gate.caller import caller, peer, request_of
from mulligan.services.iam.iam_objects import SECRET_KIND, IamObjects, ids_of
from mulligan.services.iam.signing import SigningKeys
from mulligan.services.iam.tokens import REFRESH_LIFE, Session, begin_session, resumed, session_of

_REFUSED = "the account or the secret is wrong"
_NOT_KNOWN = "this client certificate does not prove the account"
REFUSED_STEP_S = 0.25
"""A wrong secret is refused at a whole multiple of this after it came.

What was looked up for it, and whether in memory, Postgres or etcd, cannot be told from the time.
"""
_TICK = timedelta(microseconds=1)


class LoginCalls(IamObjects):
    """The methods that give and take tokens."""

    _signing: SigningKeys
    _settled: Callable[[], bool]
    """Whether the first account is there: before that, one that is not known may come yet."""

    async def login(self, message: v1.LoginRequest) -> v1.LoginResponse:
        """Give tokens for a secret, or for the certificate of the connection.

        An unknown account takes as long, and says the same, as a wrong secret; only who has proven
        to be the account is told what is the matter with it.
        """
        if message.secret:
            account = await self._by_secret(message)
            credential = credential_of_secret(account.secret_version)
        else:
            account, fingerprint = await self._by_certificate(message)
            credential = credential_of_certificate(fingerprint)
        owner = await self._owner_of(account)
        refusal = refusal_of(account, owner, utc_now())
        if refusal:
            raise Unauthenticated(refusal)
        project = await self._login_project(account, owner, message.project)
        began = _after_revocations(utc_now(), account, owner)
        session = begin_session(credential, began)
        await self._record(account, project, session)
        return await self._tokens(account, owner, project, session)

    async def refresh(self, message: v1.RefreshRequest) -> v1.LoginResponse:
        """Give new tokens of the same session for a refresh token, with the roles of now."""
        claims = await self._rt.verify(message.refresh_token, "refresh")
        said = session_of(claims)
        known = await self._commands.state(stream_id("account", str(claims["sub"])))
        account: Account | None = known.state
        owner = await self._owner_of(account) if account is not None else None
        check_session(said, account, owner, await self._path(said.project), utc_now())
        assert account is not None, "check_session refuses a session without an account"
        tokens = await self._tokens(account, owner, said.project, resumed(claims))
        if said.project and not tokens.roles:
            raise _no_role(said.project)
        return tokens

    async def who_am_i(self, message: v1.WhoAmIRequest) -> v1.WhoAmIResponse:
        """Tell the caller who the token says they are."""
        who = caller()
        account = await self._account(who.account)
        project: Project | None = None
        if who.project:
            project = (await self._commands.state(stream_id("project", who.project))).state
        return v1.WhoAmIResponse(
            account=who.account,
            account_name=account.name,
            project=who.project,
            roles=list(who.roles),
            expires_at=who.expires_at,
            region=self._rt.region,
            project_name=project.name if project is not None else "",
            credential=who.credential,
        )

    async def logout(self, message: v1.LogoutRequest) -> v1.PositionResponse:
        """End the caller's session, or all of its account's.

        With more ended sessions than are kept in mind, one ends them all.
        """
        request, who = request_of(message), caller()
        command: sessions.RevokeTokens | sessions.EndSession
        if message.everywhere or not who.session:
            command = sessions.RevokeTokens(account=who.account)
        else:
            until = utc_now() + REFRESH_LIFE
            command = sessions.EndSession(account=who.account, session=who.session, until=until)
        await self._commands.execute(command, request)
        return v1.PositionResponse(position=self._position())

    async def change_secret(self, message: v1.ChangeSecretRequest) -> v1.AccountResponse:
        """Give the caller's account another secret.

        Every session that the old one began ends, the caller's too if it was one of them.
        """
        request = request_of(message)
        account = await self._person()
        if await self._commands.earlier(request) is not None:
            return await self._account_response(account.id)
        if not account.secret_version:
            raise FailedPrecondition("this account has no secret; an administrator can set one")
        if not await self._matches(account, message.old_secret):
            raise InvalidArgument("old_secret", "this is not the account's secret")
        secrets = self._rt.parts.secrets
        hashed = await self._passwords.hash(message.new_secret, "new_secret")
        version = await secrets.put(SECRET_KIND, account.id, hashed)
        command = handlers.SetSecret(
            account=account.id, version=version, replaces=account.secret_version
        )
        await self._set_secret(command, request)
        return await self._account_response(account.id)

    async def _record(self, account: Account, project: ProjectId, session: Session) -> None:
        """Put the login on record before there is a token: without a record, there is none."""
        command = sessions.OpenSession(
            account=account.id,
            session=session.id,
            credential=session.credential,
            until=session.ends,
            project=project,
            peer=peer().host,
        )
        actor = Actor(account=account.id, project=project, credential=session.credential)
        await self._commands.execute(command, Request(id=CommitId(new_id()), actor=actor))

    async def _by_secret(self, message: v1.LoginRequest) -> Account:
        came = anyio.current_time()
        account = await self._named(message.account)
        if account is None and not self._settled():
            raise Unavailable("iam is starting: the region has no administrator yet", 1.0)
        if not await self._matches(account, message.secret):
            taken = anyio.current_time() - came
            await anyio.sleep(REFUSED_STEP_S - taken % REFUSED_STEP_S)
            raise Unauthenticated(_REFUSED)
        assert account is not None, "nothing matches the secret of no account"
        return account

    async def _named(self, text: str) -> Account | None:
        try:
            uuid = await self._identify_account(text)
        except NotFound:
            return None
        state: Account | None = (await self._commands.state(stream_id("account", uuid))).state
        return state

    async def _matches(self, account: Account | None, secret: str) -> bool:
        hashed = None
        if account is not None and account.secret_version:
            try:
                sealed = await self._rt.parts.secrets.get(
                    SECRET_KIND, account.id, account.secret_version
                )
            except NotFound:  # it was replaced this moment
                pass
            else:
                hashed = sealed.reveal()
        return await self._passwords.matches(hashed, secret)

    async def _by_certificate(self, message: v1.LoginRequest) -> tuple[Account, str]:
        """Return the account of the connection's certificate, and the fingerprint.

        The named account is looked at only where the certificate is somebody's: without one, there
        is nothing to learn here.
        """
        certificate = peer().certificate
        if not certificate:
            raise Unauthenticated(
                "there is neither a secret nor a client certificate; give one of them"
            )
        fingerprint = hashlib.sha256(certificate).hexdigest()
        known = await self._commands.state(certificate_stream(fingerprint))
        holder: NameState | None = known.state
        if holder is None or not holder.object:
            raise Unauthenticated(_NOT_KNOWN)
        if message.account:
            named = await self._named(message.account)
            if named is None or named.id != holder.object:
                raise Unauthenticated(_NOT_KNOWN)
        account: Account | None = (
            await self._commands.state(stream_id("account", holder.object))
        ).state
        credential = credential_of_certificate(fingerprint)
        if account is None or not is_proven(credential, account, utc_now()):
            raise Unauthenticated(_NOT_KNOWN)
        return account, fingerprint

    async def _login_project(self, account: Account, owner: Account | None, text: str) -> ProjectId:
        """Return the project to log in to; empty for the system.

        An application credential knows the one it was made in.
        """
        if not text:
            made_in = {b.project for b in account.bindings if b.project}
            return made_in.pop() if account.kind == APPLICATION and len(made_in) == 1 else _SYSTEM
        try:
            project = await self._identify_project(text)
        except NotFound as error:
            raise _no_role(text) from error
        path = await self._path(project)
        if None in path or not held_by(account, owner, ids_of(path), utc_now()):
            raise _no_role(text)
        if usable(path) is None:
            raise Unauthenticated(f"project {text!r} is disabled")
        return project

    async def _tokens(
        self, account: Account, owner: Account | None, project: ProjectId, session: Session
    ) -> v1.LoginResponse:
        now = utc_now()
        path = ids_of(await self._path(project))
        roles = sorted(held_by(account, owner, path, now))
        signer = self._signing.signer()
        access, expires = signer.access(account.id, project, roles, now, session)
        return v1.LoginResponse(
            access_token=access,
            refresh_token=signer.refresh(account.id, project, now, session),
            expires_at=expires,
            account=account.id,
            project=project,
            roles=roles,
        )


_SYSTEM = ProjectId("")


def _no_role(project: str) -> Unauthenticated:
    return Unauthenticated(f"this account has no role in project {project!r}")


def _after_revocations(now: datetime, account: Account, owner: Account | None) -> datetime:
    """Return when a session begins: after what was revoked, whatever the clocks say."""
    ends = [one.revoked_at for one in (account, owner) if one is not None]
    return max([now, *(end + _TICK for end in ends if end is not None)])
