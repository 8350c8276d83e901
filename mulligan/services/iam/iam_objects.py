"""What the parts of mulligan-iam share: finding accounts and projects, exact states, answers."""

from collections.abc import Sequence

from mulligan.commands.runner import Commands, Request
from mulligan.errors import InvalidArgument, PermissionDenied
from mulligan.handlers.account import APPLICATION, Account, Project, SetSecret
from mulligan.handlers.names import REGION_SCOPE
from mulligan.model import AccountId, ProjectId, is_uuid, stream_id
from mulligan.proto import v1
from mulligan.services import render
from mulligan.services.gate import visibility
from mulligan.services.gate.caller import caller
from mulligan.services.iam.passwords import Passwords
from mulligan.services.objects import fetch, identify, project_path
from mulligan.services.runtime import Runtime
from mulligan.services.secrets.sealing import sealed

SECRET_KIND = "account"


class IamObjects:
    """What the methods of mulligan-iam stand on."""

    _rt: Runtime
    _passwords: Passwords

    @property
    def _commands(self) -> Commands:
        return self._rt.parts.commands

    async def _account(self, uuid: str) -> Account:
        state: Account = (await fetch(self._commands, "account", uuid)).state
        return state

    async def _owner_of(self, account: Account) -> Account | None:
        """Return the account that an application credential acts for."""
        if not account.owner:
            return None
        state: Account | None = (
            await self._commands.state(stream_id("account", account.owner))
        ).state
        return state

    async def _path(self, project: str) -> list[Project | None]:
        """Return a project and those above it, itself first; nothing for the system."""
        return await project_path(self._commands.state, project)

    async def _identify_account(self, text: str, field: str = "account") -> AccountId:
        """Return the UUID of a name, a UUID, or an application credential's owner/name."""
        owner, slash, name = text.partition("/")
        scope = REGION_SCOPE
        if slash:
            scope = await identify(self._commands, "account", owner, field)
        found = await identify(self._commands, "account", name if slash else text, field, scope)
        return AccountId(found)

    async def _identify_seen(self, text: str) -> AccountId:
        """Return an account that the caller names; only those who see all may do so by name."""
        if not caller().is_system and not is_uuid(text):
            raise InvalidArgument(
                "account", "give the account's UUID, which `mulligan whoami` shows to its holder"
            )
        return await self._identify_account(text)

    async def _identify_project(self, text: str, field: str = "project") -> ProjectId:
        return ProjectId(await identify(self._commands, "project", text, field))

    async def _person(self) -> Account:
        """Return the caller's account; raise PermissionDenied for an application credential.

        What gives access for longer than a credential lives is not for the credential to do.
        """
        state = await self._account(caller().account)
        if state.kind == APPLICATION:
            raise PermissionDenied(
                "an application credential may not do this; log in as the account it acts for"
            )
        return state

    async def _acting(self) -> AccountId:
        """Return who is answerable for the call: the caller, or the owner of its credential."""
        state = await self._account(caller().account)
        return state.owner or state.id

    async def _reaches(self, project: str) -> bool:
        """Tell whether a project is the caller's or under it, or the caller sees them all."""
        return await visibility.reaches(self._commands, ProjectId(project))

    async def _seen(self, row: render.Versioned) -> v1.Account:
        """Return an account as the caller may see it: owners see its roles in their project."""
        shown = render.account(row, self._rt.region)
        if caller().is_system:
            return shown
        reached = {p for p in {r.project for r in shown.roles} if p and await self._reaches(p)}
        return v1.Account(
            uuid=shown.uuid,
            name=shown.name,
            kind=shown.kind,
            roles=[role for role in shown.roles if role.project in reached],
            region=shown.region,
        )

    async def _seen_account(self, uuid: str) -> v1.Account | None:
        """Return an account as the caller may see it, None if it has no role in reach."""
        known = await self._commands.state(stream_id("account", uuid))
        if known.state is None or known.state.deleted:
            return None
        shown = await self._seen(known)
        return shown if shown.roles else None

    async def _set_secret(self, command: SetSecret, request: Request) -> None:
        """Point an account at the secret that was sealed for it, and destroy the one before."""
        secrets = self._rt.parts.secrets
        async with sealed(secrets, SECRET_KIND, command.account, command.version) as kept:
            kept.landed = not (await self._commands.execute(command, request)).repeat
        if kept.landed and command.replaces:
            await secrets.retire(SECRET_KIND, command.account, command.replaces)

    async def _account_response(self, uuid: str) -> v1.AccountResponse:
        known = await fetch(self._commands, "account", uuid)
        return v1.AccountResponse(
            account=render.account(known, self._rt.region), position=self._position()
        )

    async def _project_response(self, uuid: str) -> v1.ProjectResponse:
        known = await fetch(self._commands, "project", uuid)
        return v1.ProjectResponse(
            project=render.project(known, self._rt.region), position=self._position()
        )

    def _position(self) -> v1.Position:
        return render.position(self._commands.position())


def ids_of(path: Sequence[Project | None]) -> list[ProjectId]:
    """Return the ids of the projects of a path."""
    return [project.id for project in path if project is not None]
