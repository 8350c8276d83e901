"""``mulligan name``: names to UUIDs and back."""

from typing import Annotated

import typer

from mulligan.cli.output import Column
from mulligan.cli.verbs import Session, verb
from mulligan.errors import NotFound
from mulligan.model import slug

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

KindArgument = Annotated[
    str, typer.Argument(metavar="KIND", help="machine, provider, group, image, project, …")
]

COLUMNS = (
    Column("KIND", lambda name: name.kind),
    Column("NAME", lambda name: name.name),
    Column("UUID", lambda name: name.uuid),
    Column("SCOPE", lambda name: name.scope, wide=True),
    Column("SLUG", lambda name: name.slug, wide=True),
)


@verb(app, "resolve", reads=True)
async def resolve(
    session: Session, kind: KindArgument, names: Annotated[list[str], typer.Argument()]
) -> None:
    """Find the UUIDs of names or slugs."""
    from mulligan.proto.v1 import ResolveRequest

    request = ResolveRequest(kind=kind, names=names, project=session.chosen.context.project)
    answer = await session.client.meta.resolve(request)
    session.out.rows(answer.names, COLUMNS)
    found = {name.slug for name in answer.names}
    missing = sorted(name for name in set(names) if slug(name) not in found)
    if missing:
        raise NotFound(kind, ", ".join(missing))


@verb(app, "describe", reads=True)
async def describe(session: Session, uuids: Annotated[list[str], typer.Argument()]) -> None:
    """Find the names of UUIDs."""
    from mulligan.proto.v1 import DescribeRequest

    answer = await session.client.meta.describe(DescribeRequest(uuids=uuids))
    session.out.rows(answer.names, COLUMNS)
    missing = sorted(set(uuids) - {found.uuid for found in answer.names})
    if missing:
        raise NotFound("object", ", ".join(missing))


@verb(app, "list", reads=True)
async def list_names(session: Session, kind: KindArgument) -> None:
    """List the names of a kind."""
    from mulligan.client.paging import every
    from mulligan.proto.v1 import ListNamesRequest

    meta = session.client.meta
    pages = every(meta.list_names, ListNamesRequest(kind=kind), lambda page: page.names)
    session.out.rows([name async for name in pages], COLUMNS, f"no names of kind {kind}")
