"""mulligan-meta: names of objects, both ways."""

from mulligan.errors import InvalidArgument, PermissionDenied
from mulligan.handlers.names import REGION_SCOPE, NameState, name_stream
from mulligan.model import is_uuid
from mulligan.proto import v1
from mulligan.queries import names as queries
from mulligan.services import render
from mulligan.services.caller import caller
from mulligan.services.configure import configure
from mulligan.services.reading import page_of, wait_for
from mulligan.services.runtime import Runtime

PROJECT_SCOPED = frozenset({"claim"})
KINDS = frozenset(
    {"account", "claim", "credential", "group", "image", "machine", "project", "provider"}
)
TENANTS_SEE = frozenset({"claim", "group", "image", "provider"})
"""Kinds whose names are not only for operators; of claims, a tenant sees its own project's."""

MAX_BATCH = 1000


class Meta(v1.MetaBase):
    """``mulligan.v1.Meta``."""

    def __init__(self, runtime: Runtime) -> None:
        self._rt = runtime

    async def resolve(self, message: v1.ResolveRequest) -> v1.ResolveResponse:
        """Find UUIDs by name, exactly at the head."""
        _require_kind(message.kind)
        _require_few(message.names, "names")
        if not _may_see_kind(message.kind):
            position = render.position(self._rt.parts.commands.position())
            return v1.ResolveResponse(position=position)
        scope = self._scope(message.kind, message.project)
        commands = self._rt.parts.commands
        streams = [name_stream(message.kind, name, scope) for name in message.names]
        known = await commands.states(streams)
        found = [known[s].state for s in dict.fromkeys(streams)]
        names = [_name(s) for s in found if s is not None and s.object]
        return v1.ResolveResponse(names=names, position=render.position(commands.position()))

    async def describe(self, message: v1.DescribeRequest) -> v1.DescribeResponse:
        """Find names by UUID."""
        _require_few(message.uuids, "uuids")
        for index, uuid in enumerate(message.uuids):
            if not is_uuid(uuid):
                raise InvalidArgument(f"uuids[{index}]", f"{uuid!r} is not a UUID in lower case")
        position = await wait_for(self._rt, message.freshness, "names")
        rows = await queries.describe(self._rt.parts.database, list(message.uuids))
        visible = [_row(r) for r in rows if _may_see_kind(r.kind) and self._may_see(r.scope)]
        return v1.DescribeResponse(names=visible, position=position)

    async def list_names(self, message: v1.ListNamesRequest) -> v1.ListNamesResponse:
        """List the names of a kind."""
        _require_kind(message.kind)
        if not _may_see_kind(message.kind):
            raise PermissionDenied(f"only operators may list the names of every {message.kind}")
        position = await wait_for(self._rt, message.freshness, "names")
        page = await queries.list_names(
            self._rt.parts.database,
            message.kind,
            self._scope(message.kind, ""),
            page_of(self._rt, message.page),
        )
        return v1.ListNamesResponse(
            names=[_row(r) for r in page.items],
            next_page_token=page.next_token,
            position=position,
        )

    async def meta_configure(self, message: v1.ConfigureRequest) -> v1.ConfigureResponse:
        """Change settings of this process."""
        return configure(message)

    def _scope(self, kind: str, project: str) -> str:
        if kind not in PROJECT_SCOPED:
            return REGION_SCOPE
        who = caller()
        if project and is_uuid(project) and (who.is_system or project == who.project):
            return project
        return who.require_project()

    def _may_see(self, scope: str) -> bool:
        who = caller()
        return scope == REGION_SCOPE or who.is_system or scope == who.project


def _may_see_kind(kind: str) -> bool:
    return kind in TENANTS_SEE or caller().is_system


def _require_kind(kind: str) -> None:
    if kind not in KINDS:
        raise InvalidArgument("kind", f"{kind!r} is not one of {', '.join(sorted(KINDS))}")


def _require_few(values: list[str], field: str) -> None:
    if len(values) > MAX_BATCH:
        raise InvalidArgument(field, f"at most {MAX_BATCH} at once")


def _name(state: NameState) -> v1.Name:
    return v1.Name(
        kind=state.kind, scope=state.scope, name=state.name, slug=state.slug, uuid=state.object
    )


def _row(row: queries.NameRow) -> v1.Name:
    return v1.Name(kind=row.kind, scope=row.scope, name=row.name, slug=row.slug, uuid=row.uuid)
