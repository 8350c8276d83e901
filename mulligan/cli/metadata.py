"""``mulligan metadata``: the tags and attributes of objects."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mulligan.cli.jsontext import json_of, json_text, keys_of, parse_values, schema_of
from mulligan.cli.naming import name_fields
from mulligan.cli.output import Column
from mulligan.cli.verbs import Session, verb
from mulligan.errors import NotFound

if TYPE_CHECKING:
    from mulligan.proto.v1 import Metadata, UpdateMetadataRequest

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

KindArgument = Annotated[
    str, typer.Argument(metavar="KIND", help="machine, claim, provider, image, userdata, …")
]
ObjectArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name or UUID.")]
PairsArgument = Annotated[list[str], typer.Argument(metavar="KEY=VALUE...")]


@dataclass
class Decorated:
    """What an object carries, as it is printed: the message's fields, values as plain JSON."""

    kind: str
    uuid: str
    tags: list[str]
    attributes: dict[str, Any]
    etag: str


def _attributes(one: Decorated, between: str = "\n") -> str:
    return between.join(f"{key}={json_text(value)}" for key, value in one.attributes.items())


COLUMNS = (
    Column("KIND", lambda one: one.kind),
    Column("OBJECT", lambda one: one.uuid),
    Column("TAGS", lambda one: ", ".join(one.tags)),
    Column("ATTRIBUTES", lambda one: _attributes(one, " ")),
)
WHOLE = (
    *COLUMNS[:2],
    Column("TAGS", lambda one: "\n".join(one.tags)),
    Column("ATTRIBUTES", _attributes),
)


@verb(app, "show", reads=True)
async def show_metadata(session: Session, kind: KindArgument, name: ObjectArgument) -> None:
    """Show what an object carries, as far as you may read it."""
    from mulligan.proto.v1 import GetMetadataRequest

    answer = await session.client.meta.get_metadata(GetMetadataRequest(kind=kind, object=name))
    session.out.one((await _shown(session, [answer.metadata]))[0], WHOLE)


@verb(app, "set")
async def set_attributes(
    session: Session, kind: KindArgument, name: ObjectArgument, values: PairsArgument
) -> None:
    """Set attributes; a value is JSON, or a text."""
    from mulligan.proto.v1 import UpdateMetadataRequest
    from mulligan.services.structs import struct_of

    found = parse_values(values, await _schemas(session, values), "values")
    request = UpdateMetadataRequest(kind=kind, object=name, set_attributes=struct_of(found))
    await update(session, request)


@verb(app, "remove")
async def remove_attributes(
    session: Session,
    kind: KindArgument,
    name: ObjectArgument,
    keys: Annotated[list[str], typer.Argument(metavar="KEY...")],
) -> None:
    """Take attributes away."""
    from mulligan.proto.v1 import UpdateMetadataRequest

    await update(session, UpdateMetadataRequest(kind=kind, object=name, remove_attributes=keys))


@verb(app, "find", reads=True)
async def find_objects(
    session: Session,
    kind: Annotated[str, typer.Option("--kind", help="Kind of object; none: any.")] = "",
    tag: Annotated[list[str] | None, typer.Option("--tag", help="A tag; repeatable.")] = None,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", metavar="KEY=VALUE", help="An attribute; repeatable."),
    ] = None,
) -> None:
    """Find the objects that carry all of these tags and values."""
    from mulligan.client.paging import every
    from mulligan.proto.v1 import FindObjectsRequest
    from mulligan.services.structs import struct_of

    wanted = parse_values(where or [], await _schemas(session, where or []), "--where")
    request = FindObjectsRequest(kind=kind, tags=tag or [], attributes=struct_of(wanted))
    pages = every(session.client.meta.find_objects, request, lambda page: page.objects)
    found = await _shown(session, [one async for one in pages])
    session.out.rows(found, COLUMNS, "no such objects")


async def update(session: Session, request: "UpdateMetadataRequest") -> None:
    """Send a change and print what the object carries now."""
    answer = await session.client.meta.update_metadata(request)
    session.out.one((await _shown(session, [answer.metadata]))[0], WHOLE)


async def _schemas(session: Session, pairs: list[str]) -> dict[str, Any]:
    """Return the schemas of the attributes that are named; whether there are any is said later."""
    from mulligan.proto.v1 import GetMetadefRequest

    found: dict[str, Any] = {}
    for key in keys_of(pairs):
        try:
            answer = await session.client.meta.get_metadef(GetMetadefRequest(metadef=key))
        except NotFound:
            continue
        if answer.metadef is not None:
            found[key] = schema_of(answer.metadef)
    return found


async def _shown(session: Session, some: "list[Metadata | None]") -> list[Decorated]:
    found = [
        Decorated(one.kind, one.uuid, list(one.tags), json_of(one.attributes), one.etag)
        for one in some
        if one is not None
    ]
    await name_fields(session, found, "uuid")
    return found
