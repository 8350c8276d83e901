"""mulligan-iam: accounts, projects, roles, and tokens."""

from mulligan.errors import InvalidArgument, NotFound, Unauthenticated
from mulligan.handlers import account as handlers
from mulligan.handlers import project as project_commands
from mulligan.handlers.account import Account, Binding
from mulligan.model import AccountId, ProjectId, stream_id, utc_now
from mulligan.proto import v1
from mulligan.queries import accounts as queries
from mulligan.services import render
from mulligan.services.caller import caller, request_of
from mulligan.services.configure import configure
from mulligan.services.objects import fetch, identify
from mulligan.services.passwords import Passwords
from mulligan.services.reading import page_of, wait_for
from mulligan.services.runtime import Runtime
from mulligan.services.sealing import sealed
from mulligan.services.signing import SigningKeys

_REFUSED = "the account or the secret is wrong"


class Iam(v1.IamBase):
    """``mulligan.v1.Iam``."""

    def __init__(self, runtime: Runtime, signing: SigningKeys) -> None:
        self._rt = runtime
        self._signing = signing
        self._passwords = Passwords()

    async def login(self, message: v1.LoginRequest) -> v1.LoginResponse:
        """Check the secret; an unknown account takes as long, and says the same, as a wrong one."""
        parts = self._rt.parts
        account = await self._login_account(message.account)
        hashed = None
        if account is not None and account.secret_version:
            secret = await parts.secrets.get("account", account.id, account.secret_version)
            hashed = secret.reveal()
        if not await self._passwords.matches(hashed, message.secret):
            raise Unauthenticated(_REFUSED)
        assert account is not None
        if account.disabled_at is not None:
            raise Unauthenticated("this account is disabled")
        project = ""
        if message.project:
            project = await self._login_project(account, message.project)
        return self._tokens(account, project)

    async def refresh(self, message: v1.RefreshRequest) -> v1.LoginResponse:
        """Give new tokens for a refresh token, with the roles of now."""
        claims = await self._rt.verify(message.refresh_token, "refresh")
        account = await self._rt.require_enabled(AccountId(str(claims["sub"])), claims)
        return self._tokens(account, str(claims.get("project", "")))

    async def _login_account(self, name: str) -> Account | None:
        commands = self._rt.parts.commands
        try:
            uuid = await identify(commands, "account", name, "account")
        except NotFound:
            return None
        state: Account | None = (await commands.state(stream_id("account", uuid))).state
        return state

    async def _login_project(self, account: Account, name: str) -> str:
        try:
            project = await identify(self._rt.parts.commands, "project", name, "project")
        except NotFound as error:
            raise Unauthenticated(f"this account has no role in project {name!r}") from error
        if not any(b.project in {"", project} for b in account.bindings):
            raise Unauthenticated(f"this account has no role in project {name!r}")
        return project

    def _tokens(self, account: Account, project: str) -> v1.LoginResponse:
        roles = sorted({b.role for b in account.bindings if b.project in {"", project}})
        now = utc_now()
        signer = self._signing.signer()
        access, expires = signer.access(account.id, project, roles, now)
        return v1.LoginResponse(
            access_token=access,
            refresh_token=signer.refresh(account.id, project, now),
            expires_at=expires,
            account=account.id,
            project=project,
            roles=roles,
        )

    async def get_keys(self, message: v1.GetKeysRequest) -> v1.GetKeysResponse:
        """Return the public keys that verify this region's tokens."""
        await self._signing.ready()
        keys = self._rt.keyring.keys
        return v1.GetKeysResponse(
            keys=[v1.Key(kid=k.kid, x=k.x, active=k.honoured_until is None) for k in keys]
        )

    async def who_am_i(self, message: v1.WhoAmIRequest) -> v1.WhoAmIResponse:
        """Tell the caller who the token says they are."""
        who = caller()
        account = await self._account(who.account)
        return v1.WhoAmIResponse(
            account=who.account,
            account_name=account.name,
            project=who.project,
            roles=list(who.roles),
            expires_at=who.expires_at,
            region=self._rt.region,
        )

    async def create_account(self, message: v1.CreateAccountRequest) -> v1.AccountResponse:
        """Make an account; its hashed secret goes to the secret store first."""
        request = request_of(message)
        secrets, commands = self._rt.parts.secrets, self._rt.parts.commands
        version = ""
        if message.secret:
            hashed = await self._passwords.hash(message.secret)
            version = await secrets.put("account", request.id, hashed)
        command = handlers.CreateAccount(
            account=AccountId(request.id),
            name=message.name,
            kind=message.kind or "user",
            secret_version=version,
        )
        async with sealed(secrets, "account", request.id, version) as kept:
            kept.landed = not (await commands.execute(command, request)).repeat
        return await self._account_response(request.id)

    async def get_account(self, message: v1.GetAccountRequest) -> v1.AccountResponse:
        """Return one account."""
        return await self._account_response(await self._identify("account", message.account))

    async def list_accounts(self, message: v1.ListAccountsRequest) -> v1.ListAccountsResponse:
        """List accounts by age."""
        position = await wait_for(self._rt, message.freshness, "iam")
        page = await queries.list_accounts(self._rt.parts.database, page_of(self._rt, message.page))
        accounts = [render.account(row, self._rt.region) for row in page.items]
        return v1.ListAccountsResponse(
            accounts=accounts, next_page_token=page.next_token, position=position
        )

    async def set_secret(self, message: v1.SetSecretRequest) -> v1.AccountResponse:
        """Give an account another secret; the old one stops working."""
        request = request_of(message)
        uuid = await self._identify("account", message.account)
        before = await self._account(uuid)
        secrets = self._rt.parts.secrets
        hashed = await self._passwords.hash(message.secret)
        version = await secrets.put("account", uuid, hashed)
        command = handlers.SetSecret(account=AccountId(uuid), version=version)
        outcome = await self._rt.parts.commands.execute(command, request)
        gone = version if outcome.repeat else before.secret_version
        if gone:
            await secrets.retire("account", uuid, gone)
        return await self._account_response(uuid)

    async def disable_account(self, message: v1.DisableAccountRequest) -> v1.AccountResponse:
        """Let an account act no more, from now on."""
        return await self._set_disabled(message, True)

    async def enable_account(self, message: v1.EnableAccountRequest) -> v1.AccountResponse:
        """Let an account act again."""
        return await self._set_disabled(message, False)

    async def _set_disabled(
        self, message: v1.DisableAccountRequest | v1.EnableAccountRequest, disabled: bool
    ) -> v1.AccountResponse:
        request = request_of(message)
        uuid = AccountId(await self._identify("account", message.account))
        if disabled and uuid == caller().account:
            raise InvalidArgument("account", "you cannot disable yourself")
        command = handlers.SetDisabled(account=uuid, disabled=disabled)
        await self._rt.parts.commands.execute(command, request)
        return await self._account_response(uuid)

    async def bind_role(self, message: v1.BindRoleRequest) -> v1.AccountResponse:
        """Give an account a role."""
        return await self._bind(message, True)

    async def unbind_role(self, message: v1.UnbindRoleRequest) -> v1.AccountResponse:
        """Take a role from an account."""
        return await self._bind(message, False)

    async def _bind(
        self, message: v1.BindRoleRequest | v1.UnbindRoleRequest, bound: bool
    ) -> v1.AccountResponse:
        request = request_of(message)
        uuid = AccountId(await self._identify("account", message.account))
        if message.binding is None:
            raise InvalidArgument("binding", "name the role")
        project = ""
        if message.binding.project:
            project = await identify(
                self._rt.parts.commands, "project", message.binding.project, "binding.project"
            )
        binding = Binding(message.binding.role, ProjectId(project))
        command = handlers.BindRole(account=uuid, binding=binding, bound=bound)
        await self._rt.parts.commands.execute(command, request)
        return await self._account_response(uuid)

    async def create_project(self, message: v1.CreateProjectRequest) -> v1.ProjectResponse:
        """Make a tenant."""
        request = request_of(message)
        parent = ""
        if message.parent:
            parent = await self._identify("project", message.parent, "parent")
        command = project_commands.CreateProject(
            project=ProjectId(request.id), name=message.name, parent=ProjectId(parent)
        )
        await self._rt.parts.commands.execute(command, request)
        return await self._project_response(request.id)

    async def get_project(self, message: v1.GetProjectRequest) -> v1.ProjectResponse:
        """Return one project."""
        return await self._project_response(await self._identify("project", message.project))

    async def list_projects(self, message: v1.ListProjectsRequest) -> v1.ListProjectsResponse:
        """List projects by age."""
        position = await wait_for(self._rt, message.freshness, "iam")
        page = await queries.list_projects(self._rt.parts.database, page_of(self._rt, message.page))
        projects = [render.project(row, self._rt.region) for row in page.items]
        return v1.ListProjectsResponse(
            projects=projects, next_page_token=page.next_token, position=position
        )

    async def iam_configure(self, message: v1.ConfigureRequest) -> v1.ConfigureResponse:
        """Change settings of this process."""
        return configure(message, self._rt.limits)

    async def _identify(self, kind: str, text: str, field: str = "") -> str:
        return await identify(self._rt.parts.commands, kind, text, field or kind)

    async def _account(self, uuid: str) -> Account:
        state: Account = (await fetch(self._rt.parts.commands, "account", uuid)).state
        return state

    async def _account_response(self, uuid: str) -> v1.AccountResponse:
        commands = self._rt.parts.commands
        account = render.account(await fetch(commands, "account", uuid), self._rt.region)
        return v1.AccountResponse(account=account, position=render.position(commands.position()))

    async def _project_response(self, uuid: str) -> v1.ProjectResponse:
        commands = self._rt.parts.commands
        project = render.project(await fetch(commands, "project", uuid), self._rt.region)
        return v1.ProjectResponse(project=project, position=render.position(commands.position()))
