"""``mulligan tag``: free words on objects."""

from typing import Annotated

import typer

from mulligan.cli.metadata import KindArgument, ObjectArgument, update
from mulligan.cli.output import Column
from mulligan.cli.verbs import Session, verb

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

TagsArgument = Annotated[list[str], typer.Argument(metavar="TAG...")]


@verb(app, "add")
async def add_tags(
    session: Session, kind: KindArgument, name: ObjectArgument, tags: TagsArgument
) -> None:
    """Tag an object."""
    from mulligan.proto.v1 import UpdateMetadataRequest

    await update(session, UpdateMetadataRequest(kind=kind, object=name, add_tags=tags))


@verb(app, "remove")
async def remove_tags(
    session: Session, kind: KindArgument, name: ObjectArgument, tags: TagsArgument
) -> None:
    """Take tags away."""
    from mulligan.proto.v1 import UpdateMetadataRequest

    await update(session, UpdateMetadataRequest(kind=kind, object=name, remove_tags=tags))


@verb(app, "list", reads=True)
async def list_tags(session: Session, kind: KindArgument, name: ObjectArgument) -> None:
    """List the tags of an object."""
    from mulligan.proto.v1 import GetMetadataRequest

    answer = await session.client.meta.get_metadata(GetMetadataRequest(kind=kind, object=name))
    tags = list(answer.metadata.tags) if answer.metadata is not None else []
    session.out.rows(tags, (Column("TAG", str),), "no tags")
