"""Accounts: making, changing and ending them, and what they log in with."""

from contextlib import suppress

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtensionOID

from mulligan.commands.runner import Outcome, Request
from mulligan.errors import InvalidArgument, NotFound
from mulligan.handlers import account as handlers
from mulligan.handlers import account_ends, certificates, sessions
from mulligan.handlers.account import APPLICATION, ClientCertificate
from mulligan.handlers.decision import Command
from mulligan.model import AccountId, CommitId, new_id, stream_key, stream_kind
from mulligan.proto import v1
from mulligan.queries import accounts as queries
from mulligan.queries.paging import PageRequest
from mulligan.services.gate.caller import Mutation, caller, request_of
from mulligan.services.iam.iam_objects import SECRET_KIND, IamObjects
from mulligan.services.reading import page_of, wait_for
from mulligan.services.secrets.sealing import sealed
from mulligan.trial import is_trial

MAX_PEM = 16 * 1024
_MAX_SUBJECT = 256
_BASIC = ExtensionOID.BASIC_CONSTRAINTS
_UNREADABLE = (
    ValueError,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


class AccountCalls(IamObjects):
    """The methods over accounts."""

    async def create_account(self, message: v1.CreateAccountRequest) -> v1.AccountResponse:
        """Make an account; its hashed secret goes to the secret store first."""
        request = request_of(message)
        secrets = self._rt.parts.secrets
        if message.kind == APPLICATION:
            raise InvalidArgument(
                "kind", "log in as its owner and use CreateApplicationCredential for one of those"
            )
        version = ""
        if message.secret:
            await self._person()
            hashed = await self._passwords.hash(message.secret)
            version = await secrets.put(SECRET_KIND, request.id, hashed)
        command = handlers.CreateAccount(
            account=AccountId(request.id),
            name=message.name,
            kind=message.kind or "user",
            secret_version=version,
        )
        async with sealed(secrets, SECRET_KIND, request.id, version) as kept:
            kept.landed = not (await self._commands.execute(command, request)).repeat
        return await self._account_response(request.id)

    async def get_account(self, message: v1.GetAccountRequest) -> v1.AccountResponse:
        """Return one account; owners of a project see those that hold a role in it or below."""
        uuid = await self._identify_seen(message.account)
        if caller().is_system:
            return await self._account_response(uuid)
        shown = await self._seen_account(uuid)
        if shown is None:
            raise NotFound("account", message.account)
        return v1.AccountResponse(account=shown, position=self._position())

    async def list_accounts(self, message: v1.ListAccountsRequest) -> v1.ListAccountsResponse:
        """List accounts by age; owners of a project see those that hold a role in it or below."""
        who = caller()
        position = await wait_for(self._rt, message.freshness, "iam")
        page = await queries.list_accounts(
            self._rt.parts.database,
            page_of(self._rt, message.page),
            below=None if who.is_system else who.require_project(),
        )
        accounts = [await self._seen(row) for row in page.items]
        return v1.ListAccountsResponse(
            accounts=accounts, next_page_token=page.next_token, position=position
        )

    async def set_secret(self, message: v1.SetSecretRequest) -> v1.AccountResponse:
        """Give an account another secret; the old one, and what it began, is void."""
        request = request_of(message)
        await self._person()
        before = await self._account(await self._identify_account(message.account))
        handlers.refuse_application(before, "its secret is not changed")
        hashed = await self._passwords.hash(message.secret)
        version = await self._rt.parts.secrets.put(SECRET_KIND, before.id, hashed)
        command = handlers.SetSecret(
            account=before.id, version=version, replaces=before.secret_version
        )
        await self._set_secret(command, request)
        return await self._account_response(before.id)

    async def disable_account(self, message: v1.DisableAccountRequest) -> v1.AccountResponse:
        """Let an account act no more, from now on."""
        uuid = await self._identify_other(message.account, "disable")
        command = handlers.SetDisabled(account=uuid, disabled=True, by=await self._acting())
        return await self._changed(command, message, uuid)

    async def enable_account(self, message: v1.EnableAccountRequest) -> v1.AccountResponse:
        """Let an account log in again."""
        uuid = await self._identify_account(message.account)
        return await self._changed(
            handlers.SetDisabled(account=uuid, disabled=False), message, uuid
        )

    async def revoke_tokens(self, message: v1.RevokeTokensRequest) -> v1.AccountResponse:
        """End every session of an account, and those of its application credentials."""
        uuid = await self._identify_account(message.account)
        return await self._changed(sessions.RevokeTokens(account=uuid), message, uuid)

    async def add_certificate(self, message: v1.AddCertificateRequest) -> v1.AccountResponse:
        """Let an account log in with a client certificate of the region's CA."""
        await self._person()
        uuid = await self._identify_account(message.account)
        command = certificates.AddCertificate(account=uuid, certificate=read_pem(message.pem))
        return await self._changed(command, message, uuid)

    async def remove_certificate(self, message: v1.RemoveCertificateRequest) -> v1.AccountResponse:
        """Let an account log in with a certificate no more; what it began ends."""
        await self._person()
        uuid = await self._identify_account(message.account)
        fingerprint = message.fingerprint.replace(":", "").lower()
        if len(fingerprint) != 64 or not set(fingerprint) <= set("0123456789abcdef"):
            raise InvalidArgument("fingerprint", "write the sha256 as 64 hex digits")
        command = certificates.RemoveCertificate(account=uuid, fingerprint=fingerprint)
        return await self._changed(command, message, uuid)

    async def delete_account(self, message: v1.DeleteAccountRequest) -> v1.PositionResponse:
        """Delete an account with its secret, certificates and application credentials."""
        request = request_of(message)
        earlier = await self._commands.earlier(request)
        if earlier is None:
            uuid = await self._identify_other(message.account, "delete")
            by = await self._acting()
            command = account_ends.DeleteAccount(account=uuid, by=by)
            if is_trial():  # what follows it, too
                owned = await self._applications_of(uuid)
                follow = [account_ends.DeleteAccount(account=one, by=by) for one in owned]
                await self._commands.try_out([command, *follow], request)
            await self._commands.execute(command, request)
        else:  # the name is free by now, and what follows may not have been done
            uuid = deleted_by(earlier)
        if uuid:
            await self._destroy(uuid, request)
        return v1.PositionResponse(position=self._position())

    async def _destroy(self, uuid: AccountId, request: Request) -> None:
        """Destroy what a deleted account leaves: its secret, and the credentials that it owned."""
        secrets, by = self._rt.parts.secrets, await self._acting()
        await secrets.delete(SECRET_KIND, uuid)
        for owned in await self._applications_of(uuid):
            command = account_ends.DeleteAccount(account=owned, by=by)
            with suppress(NotFound):  # another call does the same
                await self._commands.execute(command, caused_by(request))
            await secrets.delete(SECRET_KIND, owned)

    async def _applications_of(self, owner: AccountId) -> list[AccountId]:
        """Return every application credential of an account, as of now."""
        await wait_for(self._rt, v1.Freshness(at_least=self._position()), "iam")
        page = await queries.list_accounts(
            self._rt.parts.database, PageRequest(size=1000), owner=owner
        )
        return [row.state.id for row in page.items]

    async def _identify_other(self, text: str, verb: str) -> AccountId:
        """Return an account that the caller is not, nor acts for."""
        uuid = await self._identify_account(text)
        if uuid in {caller().account, await self._acting()}:
            raise InvalidArgument("account", f"you cannot {verb} yourself")
        return uuid

    async def _changed(
        self, command: Command, message: Mutation, uuid: AccountId
    ) -> v1.AccountResponse:
        await self._commands.execute(command, request_of(message))
        return await self._account_response(uuid)


def deleted_by(outcome: Outcome) -> AccountId:
    """Return the account that an earlier commit deleted; empty where that is long ago."""
    events = outcome.commit.events if outcome.commit is not None else ()
    keys = (stream_key(e.stream) for e in events if stream_kind(e.stream) == "account")
    return AccountId(next(keys, ""))


def caused_by(request: Request) -> Request:
    """Return a request of its own for a commit that another one entails."""
    return Request(
        id=CommitId(new_id()),
        actor=request.actor,
        causation=request.id,
        correlation=request.id,
        traceparent=request.traceparent,
    )


def read_pem(text: str) -> ClientCertificate:
    """Read the client certificate that a PEM text begins with; raise InvalidArgument if unfit."""
    if len(text) > MAX_PEM:
        raise InvalidArgument("pem", f"is longer than {MAX_PEM} characters")
    if "PRIVATE KEY" in text:
        raise InvalidArgument("pem", "holds a private key, which is for nobody else to see")
    try:
        found = x509.load_pem_x509_certificates(text.encode())
        certificate = found[0]
        subject = certificate.subject.rfc4514_string()
        basic = [e.value for e in certificate.extensions if e.oid == _BASIC]
    except _UNREADABLE as error:
        raise InvalidArgument("pem", "is no certificate in PEM form") from error
    is_ca = any(isinstance(one, x509.BasicConstraints) and one.ca for one in basic)
    if is_ca:
        raise InvalidArgument("pem", "is the certificate of a CA; give one that it has signed")
    shown = "".join(c if c.isprintable() else "?" for c in subject)
    return ClientCertificate(
        fingerprint=certificate.fingerprint(SHA256()).hex(),
        subject=shown[:_MAX_SUBJECT],
        expires_at=certificate.not_valid_after_utc,
    )
