"""Application credentials: accounts that act for the caller's, with some of its roles."""

from mulligan.errors import FailedPrecondition, InvalidArgument, NotFound
from mulligan.handlers import account_ends
from mulligan.handlers.application import MAX_APPLICATIONS, CreateApplication
from mulligan.handlers.roles import with_lesser
from mulligan.model import AccountId, is_uuid, stream_id
from mulligan.proto import v1
from mulligan.queries import accounts as queries
from mulligan.queries.paging import PageRequest
from mulligan.services import render
from mulligan.services.gate.caller import caller, request_of
from mulligan.services.iam.iam_objects import SECRET_KIND, IamObjects
from mulligan.services.objects import identify
from mulligan.services.reading import page_of, wait_for
from mulligan.services.secrets.sealing import sealed

SHORTEST = 16
"""Nobody has to remember such a secret."""


class ApplicationCalls(IamObjects):
    """The methods over the caller's own application credentials."""

    async def create_application_credential(
        self, message: v1.CreateApplicationCredentialRequest
    ) -> v1.AccountResponse:
        """Make one for the project of the token, or the system, with its roles or lesser ones."""
        request, who = request_of(message), caller()
        owner = await self._person()
        if await self._commands.earlier(request) is not None:
            return await self._account_response(request.id)
        roles = frozenset(message.roles or who.roles)
        may_give = with_lesser(who.roles)
        for role in message.roles:
            if role not in may_give:
                known = ", ".join(sorted(may_give)) or "none"
                raise InvalidArgument(
                    "roles", f"{role!r} is none that your token can give: {known}"
                )
        if len(message.secret) < SHORTEST:
            raise InvalidArgument("secret", f"use {SHORTEST} characters or more")
        await self._require_few(owner.id)
        hashed = await self._passwords.hash(message.secret)
        secrets = self._rt.parts.secrets
        version = await secrets.put(SECRET_KIND, request.id, hashed)
        command = CreateApplication(
            account=AccountId(request.id),
            owner=owner.id,
            name=message.name,
            roles=roles,
            secret_version=version,
            project=who.project,
            expires_at=message.expires_at,
        )
        async with sealed(secrets, SECRET_KIND, request.id, version) as kept:
            kept.landed = not (await self._commands.execute(command, request)).repeat
        return await self._account_response(request.id)

    async def list_application_credentials(
        self, message: v1.ListApplicationCredentialsRequest
    ) -> v1.ListAccountsResponse:
        """List those of the caller's account by age."""
        position = await wait_for(self._rt, message.freshness, "iam")
        page = await queries.list_accounts(
            self._rt.parts.database, page_of(self._rt, message.page), owner=caller().account
        )
        return v1.ListAccountsResponse(
            accounts=[render.account(row, self._rt.region) for row in page.items],
            next_page_token=page.next_token,
            position=position,
        )

    async def delete_application_credential(
        self, message: v1.DeleteApplicationCredentialRequest
    ) -> v1.PositionResponse:
        """Delete one of the caller's account, and its secret."""
        request = request_of(message)
        if await self._commands.earlier(request) is None:
            uuid = await self._own(message.credential)
            command = account_ends.DeleteAccount(account=uuid, by=caller().account)
            await self._commands.execute(command, request)
            await self._rt.parts.secrets.delete(SECRET_KIND, uuid)
        return v1.PositionResponse(position=self._position())

    async def _own(self, text: str) -> AccountId:
        """Return the caller's own credential of this name or UUID."""
        owner = caller().account
        if is_uuid(text):
            state = (await self._commands.state(stream_id("account", text))).state
            if state is None or state.deleted or state.owner != owner:
                raise NotFound("application credential", text)
            return AccountId(text)
        try:
            return AccountId(await identify(self._commands, "account", text, "credential", owner))
        except NotFound as error:
            raise NotFound("application credential", text) from error

    async def _require_few(self, owner: AccountId) -> None:
        await wait_for(self._rt, v1.Freshness(at_least=self._position()), "iam")
        owned = await queries.list_accounts(
            self._rt.parts.database, PageRequest(size=MAX_APPLICATIONS), owner=owner
        )
        if len(owned.items) >= MAX_APPLICATIONS:
            raise FailedPrecondition(
                f"you have {MAX_APPLICATIONS} application credentials, which is the most;"
                " delete one first"
            )
