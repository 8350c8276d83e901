"""``mulligan metadef``: attributes that objects may carry."""

import json
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mulligan.cli import pushing
from mulligan.cli.deleting import delete_each
from mulligan.cli.jsontext import json_text, schema_of
from mulligan.cli.naming import name_fields
from mulligan.cli.output import Column
from mulligan.cli.verbs import Bundle, QuietOption, Session, YesOption, verb
from mulligan.errors import InvalidArgument
from mulligan.quantities import format_time

if TYPE_CHECKING:
    from mulligan.proto.v1 import Metadef

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

MetadefArgument = Annotated[str, typer.Argument(metavar="METADEF", help="Name or UUID.")]


@dataclass(frozen=True)
class Defining(Bundle):
    """What a definition says; None is not given."""

    file: Annotated[
        str, typer.Option("--file", "-f", help="JSON Schema in a file, JSON or YAML; - reads it.")
    ] = ""
    schema: Annotated[str, typer.Option("--schema", help="JSON Schema, as JSON.")] = ""
    description: Annotated[str | None, typer.Option("--description")] = None
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", help="Kind of objects that may carry it; repeatable; none: all."),
    ] = None
    read_role: Annotated[
        list[str] | None,
        typer.Option("--read-role", help="Role that sees values; repeatable; none: all."),
    ] = None
    write_role: Annotated[
        list[str] | None,
        typer.Option("--write-role", help="Role that sets values; repeatable."),
    ] = None
    protected: Annotated[
        bool | None,
        typer.Option("--protected/--unprotected", help="Keep it, and values once they are set."),
    ] = None


@dataclass(frozen=True)
class Shown:
    """A definition as it is printed: the message's fields, its schema as plain JSON."""

    uuid: str
    name: str
    description: str
    project: str
    schema: dict[str, Any]
    kinds: list[str]
    read_roles: list[str]
    write_roles: list[str]
    protected: bool
    created_at: datetime | None
    etag: str
    region: str


COLUMNS = (
    Column("NAME", lambda one: one.name),
    Column("OF", lambda one: one.project or "region"),
    Column("KINDS", lambda one: ",".join(one.kinds) or "all"),
    Column("PROTECTED", lambda one: "yes" if one.protected else "no"),
    Column("DESCRIPTION", lambda one: one.description),
    Column("READ", lambda one: ",".join(one.read_roles), wide=True),
    Column("WRITE", lambda one: ",".join(one.write_roles), wide=True),
    Column("UUID", lambda one: one.uuid, wide=True),
    Column("CREATED", lambda one: format_time(one.created_at), wide=True),
)
WHOLE = (*COLUMNS, Column("SCHEMA", lambda one: json_text(one.schema)))


@verb(app, "create")
async def create_metadef(
    session: Session,
    name: Annotated[str, typer.Argument()],
    given: Defining,
    quiet: QuietOption = False,
) -> None:
    """Define an attribute: of the project you act in, else of the region."""
    from mulligan.proto.v1 import CreateMetadefRequest

    answer = await session.client.meta.create_metadef(
        CreateMetadefRequest(name=name, **_fields(given))
    )
    session.out.made((await _shown(session, [answer.metadef]))[0], WHOLE)


@verb(app, "list", reads=True, across=True)
async def list_metadefs(session: Session) -> None:
    """List definitions: of the region, and of your project."""
    from mulligan.client.paging import every
    from mulligan.proto.v1 import ListMetadefsRequest

    meta = session.client.meta
    pages = every(meta.list_metadefs, ListMetadefsRequest(), lambda page: page.metadefs)
    found = await _shown(session, [one async for one in pages])
    session.out.rows(found, COLUMNS, "no metadefs")


@verb(app, "show", reads=True)
async def show_metadef(session: Session, metadef: MetadefArgument) -> None:
    """Show a definition and its schema."""
    from mulligan.proto.v1 import GetMetadefRequest

    answer = await session.client.meta.get_metadef(GetMetadefRequest(metadef=metadef))
    session.out.one((await _shown(session, [answer.metadef]))[0], WHOLE)


@verb(app, "update")
async def update_metadef(session: Session, metadef: MetadefArgument, given: Defining) -> None:
    """Change a definition; values that were set before stay."""
    from mulligan.proto.v1 import UpdateMetadefRequest

    wanted = _fields(given)
    if not wanted:
        raise InvalidArgument("options", "say what to change")
    request = UpdateMetadefRequest(metadef=metadef, update_mask=sorted(wanted), **wanted)
    answer = await session.client.meta.update_metadef(request)
    session.out.one((await _shown(session, [answer.metadef]))[0], WHOLE)


@verb(app, "delete")
async def delete_metadef(
    session: Session,
    metadefs: Annotated[list[str], typer.Argument(metavar="METADEF...", help="Names or UUIDs.")],
    yes: YesOption = False,
) -> None:
    """Delete definitions; values that objects carry are gone with them."""
    from mulligan.proto.v1 import DeleteMetadefRequest

    await delete_each(
        session,
        metadefs,
        yes,
        lambda name: session.client.meta.delete_metadef(DeleteMetadefRequest(metadef=name)),
    )


async def _shown(session: Session, metadefs: "list[Metadef | None]") -> list[Shown]:
    found = [one for one in metadefs if one is not None]
    await name_fields(session, found, "project")
    names = [part.name for part in fields(Shown) if part.name != "schema"]
    return [
        Shown(schema=schema_of(one), **{name: getattr(one, name) for name in names})
        for one in found
    ]


def _fields(given: Defining) -> dict[str, Any]:
    """Return the fields of the message that were given."""
    from mulligan.services.structs import struct_of

    schema = _schema(given)
    wanted = {
        "description": given.description,
        "schema": None if schema is None else struct_of(schema),
        "kinds": given.kind,
        "read_roles": given.read_role,
        "write_roles": given.write_role,
        "protected": given.protected,
    }
    return {key: _some(value) for key, value in wanted.items() if value is not None and value != []}


def _some(value: Any) -> Any:
    """Return a list without its empty texts: ``--kind ''`` makes it empty."""
    return [one for one in value if one] if isinstance(value, list) else value


def _schema(given: Defining) -> dict[str, Any] | None:
    from mulligan.cli.yamlfile import read_documents

    if given.file and given.schema:
        raise InvalidArgument("--schema", "give the schema, or its file")
    if given.file:
        documents = [one.value for one in read_documents(given.file, dict[str, Any])]
        if len(documents) != 1:
            raise InvalidArgument("--file", "must hold one schema")
        return documents[0]
    if not given.schema:
        return None
    try:
        schema = json.loads(given.schema)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument("--schema", f"is no JSON: {error}") from error
    if not isinstance(schema, dict):
        raise InvalidArgument("--schema", "is a JSON object")
    return schema


app.add_typer(pushing.metadefs)
