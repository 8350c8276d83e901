"""Roles: what there are, and who holds which where."""

from mulligan.errors import InvalidArgument, NotFound
from mulligan.handlers import account as handlers
from mulligan.handlers.account import Binding
from mulligan.handlers.roles import PROJECT_ROLES, SYSTEM_ROLES
from mulligan.model import AccountId, ProjectId
from mulligan.proto import v1
from mulligan.services.gate.caller import caller, request_of
from mulligan.services.iam.iam_objects import IamObjects


class RoleCalls(IamObjects):
    """The methods over roles."""

    async def list_roles(self, message: v1.ListRolesRequest) -> v1.ListRolesResponse:
        """Return every role and what it grants."""
        levels = (("system", SYSTEM_ROLES), ("project", PROJECT_ROLES))
        return v1.ListRolesResponse(
            roles=[
                v1.Role(name=name, level=level, permissions=list(permissions))
                for level, roles in levels
                for name, permissions in roles.items()
            ]
        )

    async def bind_role(self, message: v1.BindRoleRequest) -> v1.AccountResponse:
        """Give an account a role; owners may in their project and those under it."""
        return await self._bind(message, True)

    async def unbind_role(self, message: v1.UnbindRoleRequest) -> v1.AccountResponse:
        """Take a role from an account; owners may in their project and those under it."""
        return await self._bind(message, False)

    async def _bind(
        self, message: v1.BindRoleRequest | v1.UnbindRoleRequest, bound: bool
    ) -> v1.AccountResponse:
        request = request_of(message)
        person = await self._person()
        if message.binding is None:
            raise InvalidArgument("binding", "name the role")
        project = await self._binding_project(message.binding.project)
        account = await self._identify_seen(message.account)
        binding = Binding(message.binding.role, project)
        if not bound and await self._commands.earlier(request) is None:
            await self._require_seen(account, message.account)
        command = handlers.BindRole(account=account, binding=binding, bound=bound, by=person.id)
        await self._commands.execute(command, request)
        if caller().is_system:
            return await self._account_response(account)
        return v1.AccountResponse(
            account=await self._seen_account(account) or v1.Account(uuid=account),
            position=self._position(),
        )

    async def _require_seen(self, account: AccountId, called: str) -> None:
        """Raise NotFound for an account that an owner does not see: it holds nothing to take."""
        if not caller().is_system and await self._seen_account(account) is None:
            raise NotFound("account", called)

    async def _binding_project(self, text: str) -> ProjectId:
        """Return the project to bind in, empty for the system; NotFound out of reach."""
        if not text:
            if not caller().is_system:
                raise InvalidArgument(
                    "binding.project", "name a project: your role is over a project only"
                )
            return ProjectId("")
        project = await self._identify_project(text, "binding.project")
        if not await self._reaches(project):
            raise NotFound("project", text)
        return project
