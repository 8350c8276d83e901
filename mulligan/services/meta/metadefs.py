"""Definitions of attributes: made, read, changed, deleted."""

from mulligan.commands.runner import Commands
from mulligan.errors import InvalidArgument, NotFound
from mulligan.handlers import metadef as handlers
from mulligan.handlers.metadef import Definition, Metadef
from mulligan.handlers.objects import Viewer, sees
from mulligan.handlers.roles import SYSTEM_ROLES
from mulligan.model import MetadefId, is_uuid, stream_id
from mulligan.proto import v1
from mulligan.queries import metadata as queries
from mulligan.services import parse, render
from mulligan.services.gate.caller import caller, request_of
from mulligan.services.objects import fetch, identify
from mulligan.services.reading import page_of, wait_for
from mulligan.services.runtime import Runtime
from mulligan.services.structs import struct_of, values_of

MAX_LIST = 64


def viewer() -> Viewer:
    """Return who calls, as the handlers know them."""
    who = caller()
    # What a project's role allows is for that project, whatever system role there is beside it.
    held = tuple(role for role in who.roles if who.is_system or role not in SYSTEM_ROLES)
    return Viewer(account=who.account, project=who.project, roles=held)


async def require_visible(commands: Commands, kind: str, uuid: str, called: str) -> None:
    """Raise NotFound, naming what was ``called`` for, unless the caller may see the object.

    The command says so itself; but an etag is held against the object before that, and whether it
    fits would tell that there is one.
    """
    state = (await commands.state(stream_id(kind, uuid))).state
    if state is None or getattr(state, "deleted", False) or not sees(viewer(), kind, state):
        raise NotFound(kind, called)


class Metadefs:
    """Metadefs by name or UUID: a name is one of the caller's project, else of the region."""

    _rt: Runtime

    @property
    def _commands(self) -> Commands:
        return self._rt.parts.commands

    def _position(self) -> v1.Position:
        return render.position(self._commands.position())

    async def create_metadef(self, message: v1.CreateMetadefRequest) -> v1.MetadefResponse:
        """Define an attribute for the caller's project, or for the region."""
        request = request_of(message)
        command = handlers.CreateMetadef(
            metadef=MetadefId(request.id),
            name=message.name,
            definition=_definition(message),
            viewer=viewer(),
        )
        await self._commands.execute(command, request)
        return await self._metadef_response(request.id)

    async def get_metadef(self, message: v1.GetMetadefRequest) -> v1.MetadefResponse:
        """Return one definition."""
        uuid = await self._metadef(message.metadef)
        await require_visible(self._commands, "metadef", uuid, message.metadef)
        return await self._metadef_response(uuid)

    async def list_metadefs(self, message: v1.ListMetadefsRequest) -> v1.ListMetadefsResponse:
        """List the definitions of the region and of the caller's project; operators see all."""
        position = await wait_for(self._rt, message.freshness, "metadata")
        page = await queries.list_metadefs(
            self._rt.parts.database, page_of(self._rt, message.page), viewer()
        )
        return v1.ListMetadefsResponse(
            metadefs=[self._shown(row) for row in page.items],
            next_page_token=page.next_token,
            position=position,
        )

    async def update_metadef(self, message: v1.UpdateMetadefRequest) -> v1.MetadefResponse:
        """Change what the mask names."""
        request = request_of(message)
        fields = Definition.__struct_fields__
        if not message.update_mask or set(message.update_mask) - set(fields):
            raise InvalidArgument("update_mask", f"name some of {', '.join(sorted(fields))}")
        uuid = await self._metadef(message.metadef)
        await require_visible(self._commands, "metadef", uuid, message.metadef)
        command = handlers.UpdateMetadef(
            metadef=MetadefId(uuid),
            called=message.metadef,
            fields=tuple(sorted(set(message.update_mask))),
            definition=_definition(message),
            viewer=viewer(),
        )
        versions = {stream_id("metadef", uuid): parse.version(message.etag)}
        await self._commands.execute(command, request, versions=versions)
        return await self._metadef_response(uuid)

    async def delete_metadef(self, message: v1.DeleteMetadefRequest) -> v1.PositionResponse:
        """Let nothing carry the attribute any more."""
        request = request_of(message)
        uuid = await self._metadef(message.metadef)
        command = handlers.DeleteMetadef(
            metadef=MetadefId(uuid), called=message.metadef, viewer=viewer()
        )
        outcome = await self._commands.execute(command, request)
        return v1.PositionResponse(position=render.position(outcome.position))

    async def _metadef(self, text: str, field: str = "metadef") -> str:
        if is_uuid(text) or not text:
            return await identify(self._commands, "metadef", text, field)
        for scope in handlers.scopes(caller().project):
            try:
                return await identify(self._commands, "metadef", text, field, scope)
            except NotFound:
                continue
        raise NotFound("metadef", text)

    async def _metadef_response(self, uuid: str) -> v1.MetadefResponse:
        known = await fetch(self._commands, "metadef", uuid)
        return v1.MetadefResponse(metadef=self._shown(known), position=self._position())

    def _shown(self, row: render.Versioned) -> v1.Metadef:
        state: Metadef = row.state
        return v1.Metadef(
            uuid=state.id,
            name=state.name,
            description=state.description,
            project=state.project,
            schema=struct_of(state.schema),
            kinds=list(state.kinds),
            read_roles=list(state.read_roles),
            write_roles=list(state.write_roles),
            protected=state.protected,
            created_at=row.created_at,
            etag=render.etag(row),
            region=self._rt.region,
        )


def _definition(message: v1.CreateMetadefRequest | v1.UpdateMetadefRequest) -> Definition:
    return Definition(
        description=message.description,
        schema=values_of(message.schema, "schema"),
        kinds=_sorted(message.kinds, "kinds"),
        read_roles=_sorted(message.read_roles, "read_roles"),
        write_roles=_sorted(message.write_roles, "write_roles"),
        protected=message.protected,
    )


def _sorted(values: list[str], field: str) -> tuple[str, ...]:
    if len(values) > MAX_LIST:
        raise InvalidArgument(field, f"at most {MAX_LIST}")
    return tuple(sorted(set(values)))
