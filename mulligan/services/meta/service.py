"""mulligan-meta: names of objects, both ways; what decorates them; the regions."""

from mulligan.errors import InvalidArgument, PermissionDenied
from mulligan.handlers.metadef import scopes
from mulligan.handlers.names import REGION_SCOPE, NameState, name_stream
from mulligan.handlers.objects import OBJECTS, Sight, sees
from mulligan.model import ProjectId, is_uuid, stream_id
from mulligan.proto import v1
from mulligan.queries import names as queries
from mulligan.queries.holdings import held_of
from mulligan.services.dry_runs import DryRuns
from mulligan.services.gate.caller import caller
from mulligan.services.meta.metadata import Decorations, require_kind
from mulligan.services.meta.metadefs import viewer
from mulligan.services.meta.regions import RegionCalls, RegionView
from mulligan.services.reading import page_of, wait_for
from mulligan.services.runtime import Runtime

MAX_BATCH = 1000


class Meta(DryRuns, Decorations, RegionCalls, v1.MetaBase):
    """``mulligan.v1.Meta``: what is answered by its parents is in their modules."""

    def __init__(self, runtime: Runtime) -> None:
        self._rt = runtime
        self._regions = RegionView(runtime)

    async def resolve(self, message: v1.ResolveRequest) -> v1.ResolveResponse:
        """Find UUIDs by name or slug, exactly at the head."""
        require_kind(message.kind)
        _require_few(message.names, "names")
        streams = [
            name_stream(message.kind, name, scope)
            for name in message.names
            for scope in self._scopes(message.kind, message.project)
        ]
        known = await self._commands.states(streams)
        found = [known[s].state for s in dict.fromkeys(streams)]
        names = await self._visible([_name(s) for s in found if s is not None and s.object])
        return v1.ResolveResponse(names=names, position=self._position())

    async def describe(self, message: v1.DescribeRequest) -> v1.DescribeResponse:
        """Find names by UUID."""
        _require_few(message.uuids, "uuids")
        for index, uuid in enumerate(message.uuids):
            if not is_uuid(uuid):
                raise InvalidArgument(f"uuids[{index}]", f"{uuid!r} is not a UUID in lower case")
        position = await wait_for(self._rt, message.freshness, "names")
        rows = await queries.describe(self._rt.parts.database, list(message.uuids))
        names = await self._visible([_row(r) for r in rows if r.kind in OBJECTS])
        return v1.DescribeResponse(names=names, position=position)

    async def list_names(self, message: v1.ListNamesRequest) -> v1.ListNamesResponse:
        """List the names of a kind."""
        require_kind(message.kind)
        kind = OBJECTS[message.kind]
        open_to_all = kind.sight is Sight.EVERYONE or kind.named_by_project
        if not (open_to_all or caller().is_system):
            raise PermissionDenied(f"only operators may list the names of every {message.kind}")
        position = await wait_for(self._rt, message.freshness, "names")
        page = await queries.list_names(
            self._rt.parts.database,
            message.kind,
            self._scopes(message.kind, "")[0],
            page_of(self._rt, message.page),
        )
        return v1.ListNamesResponse(
            names=[_row(r) for r in page.items],
            next_page_token=page.next_token,
            position=position,
        )

    async def meta_configure(self, message: v1.ConfigureRequest) -> v1.ConfigureResponse:
        """Change settings of this process."""
        return self._rt.settings.configure(message)

    def _scopes(self, kind: str, project: str) -> tuple[str, ...]:
        """Return where names of a kind are looked for, the nearest first."""
        if not OBJECTS[kind].named_by_project:
            return (REGION_SCOPE,)
        who = caller()
        own = is_uuid(project) and (who.is_system or project == who.project)
        if kind == "metadef":
            return scopes(ProjectId(project) if own else who.project)
        return (project if own else who.require_project(),)

    async def _visible(self, names: list[v1.Name]) -> list[v1.Name]:
        """Return the names of objects that the caller may see."""
        who = viewer()
        if who.is_system:
            return names
        closed = [n for n in names if OBJECTS[n.kind].sight is not Sight.EVERYONE]
        known = await self._commands.states([stream_id(n.kind, n.uuid) for n in closed])
        lent = [name.uuid for name in closed if OBJECTS[name.kind].sight is Sight.HELD]
        held = await held_of(self._rt.parts.database, who.project, lent)
        hidden = set()
        for name in closed:
            if OBJECTS[name.kind].sight is Sight.HELD and name.uuid in held:
                continue
            state = known[stream_id(name.kind, name.uuid)].state
            if state is None or not sees(who, name.kind, state):
                hidden.add((name.kind, name.uuid))
        return [name for name in names if (name.kind, name.uuid) not in hidden]


def _require_few(values: list[str], field: str) -> None:
    if len(values) > MAX_BATCH:
        raise InvalidArgument(field, f"at most {MAX_BATCH} at once")


def _name(state: NameState) -> v1.Name:
    return v1.Name(
        kind=state.kind, scope=state.scope, name=state.name, slug=state.slug, uuid=state.object
    )


def _row(row: queries.NameRow) -> v1.Name:
    return v1.Name(kind=row.kind, scope=row.scope, name=row.name, slug=row.slug, uuid=row.uuid)
